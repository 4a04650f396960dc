"""When a cascade of growing token numbers stops."""
from typing import List, Optional, Tuple

import numpy as np

from mmasvit.arguments import number
from mmasvit.errors import InputError

NEVER = 1e8  # nobody's confidence reaches it
ALWAYS = -NEVER


def exit_shares(q: float, exits: int) -> np.ndarray:
    """Share of images that is meant to leave at each exit: q, q^2, ... over their sum.

    Args:
        q: Above 0; small for early exits, 1 for as many at each.
        exits: How many there are.

    Returns:
        ``(exits,)``, of sum 1.
    """
    number('q', q, above=0)
    logs = np.arange(1, exits + 1) * np.log(q)
    powers = np.exp(logs - logs.max())  # a large q would overflow
    return powers / powers.sum()


def solve_thresholds(confidences: np.ndarray, q: float) -> np.ndarray:
    """The released rule for a cascade's thresholds.

    Exit k takes ``m = floor(n * share)`` images: its threshold is the m-th largest
    confidence there among those not yet out; all that reach it are out. With equal
    confidences that is more than m.

    Args:
        confidences: Largest probability of each image at each exit ``(n, exits)``.
        q: See :func:`exit_shares`.

    Returns:
        Threshold of each exit ``(exits,)``: :data:`NEVER` where nobody leaves,
        :data:`ALWAYS` at the last.

    Raises:
        InputError: If there are no images or no exits, or a value is not finite.
    """
    confidences = _checked(confidences)
    images, exits = confidences.shape
    thresholds = np.full(exits, NEVER)
    thresholds[-1] = ALWAYS
    left = np.ones(images, bool)
    for k, share in enumerate(exit_shares(q, exits)[:-1]):
        # a share such as 0.3 of 10 must not come out as 2.9999
        wanted = int(np.floor(images * share + 1e-9))
        if 0 < wanted <= left.sum():
            thresholds[k] = np.sort(confidences[left, k])[-wanted]
        left &= confidences[:, k] < thresholds[k]
    return thresholds


def choose_exits(confidences: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The first exit whose threshold each image reaches, ``(n,)``."""
    return (np.asarray(confidences) >= thresholds).argmax(1)


def best_thresholds(confidences: np.ndarray, right: np.ndarray, costs: np.ndarray,
                    budget: float) -> np.ndarray:
    """The thresholds that answer most images right at a mean cost within a budget.

    Exact for the images given: no other thresholds do better there. Of several that do
    as well, the cheapest. They lie :func:`halfway`.

    Args:
        confidences: Largest probability of each image at each exit ``(n, exits)``.
        right: Whether each exit is right ``(n, exits)``.
        costs: Of an image that leaves at each exit, all before it counted ``(exits,)``.
        budget: What an image may cost on average.

    Returns:
        As :func:`solve_thresholds`.

    Raises:
        InputError: If the budget is below the first exit's cost, or the arrays do not
            fit.
    """
    confidences = _checked(confidences)
    right, costs = np.asarray(right, float), np.asarray(costs, float)
    if right.shape != confidences.shape or costs.shape != right.shape[1:]:
        raise InputError(f'confidences {confidences.shape}, right {right.shape} and '
                         f'costs {costs.shape} do not fit')
    number('budget', budget)
    if budget < costs[0]:
        raise InputError(f'the budget of {budget:g} is below the {costs[0]:g} that the '
                         'first exit costs')
    orders = [np.argsort(-column, kind='stable') for column in confidences.T[:-1]]
    total = budget * len(right) * (1 + 1e-12)  # sums of floats
    cuts = _best_cuts(confidences, right, costs, total, orders)[2]
    return halfway(confidences, np.array([*cuts, ALWAYS]))


def halfway(confidences: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Thresholds by which the same images leave, as far from all of them as can be.

    Each goes halfway to the largest confidence that stays: what computes in batches of
    another size is off by a rounding error, and decides alike. Where none stays, none
    will.

    Args:
        confidences: What the thresholds were found with ``(n, exits)``.
        thresholds: Of each exit ``(exits,)``.
    """
    exits, moved = choose_exits(confidences, thresholds), np.array(thresholds, float)
    for k in range(len(moved) - 1):
        own = confidences[exits >= k, k]
        leave, stay = own[own >= moved[k]], own[own < moved[k]]
        if not len(leave):
            continue
        moved[k] = ALWAYS
        if len(stay):
            low, high = stay.max(), leave.min()
            middle = float(np.float32((low + high) / 2))  # as a checkpoint keeps it
            moved[k] = middle if low < middle <= high else high
    return moved


def remarks(confidences: np.ndarray, thresholds: np.ndarray) -> List[str]:
    """What limits how well thresholds are known: few images, and equal confidences.

    Args:
        confidences: What they were found with.
        thresholds: Of each exit.
    """
    images = len(confidences)
    lines = [f'{images} images calibrate: shares and accuracies are known to about '
             f'{0.5 / images**.5:.1%} (one standard deviation)']
    exits = choose_exits(confidences, thresholds)
    for k in range(len(thresholds) - 1):
        own = confidences[exits >= k, k]
        leaving = own[own >= thresholds[k]]
        same = np.count_nonzero(own == leaving.min()) if len(leaving) else 0
        if same > 1:
            lines.append(f'exit {k + 1}: {same} images have the same confidence '
                         f'{leaving.min():g} at its threshold and leave together')
    return lines


def _best_cuts(confidences: np.ndarray, right: np.ndarray, costs: np.ndarray,
               budget: float, orders: List[np.ndarray]
               ) -> Optional[Tuple[float, float, List[float]]]:
    """Images answered right, minus what all cost, and the thresholds of all exits but
    the last; None if nothing is within the budget.

    Args:
        confidences: Of all images at these exits.
        right: Likewise.
        costs: Of these exits.
        budget: For all images that are left.
        orders: For each exit but the last these images, the surest first.
    """
    order = orders[0]
    own = confidences[order, 0]
    # how many can leave: equal confidences leave together
    ends = np.append(0, np.flatnonzero(np.diff(own, append=-np.inf)) + 1)
    hits = np.append(0, right[order, 0].cumsum())[ends]
    cuts = np.append(NEVER, own)[ends]
    if len(orders) == 1:
        last = np.append(0, right[order, 1].cumsum())
        hits += last[-1] - last[ends]
        spent = ends * costs[0] + (len(order) - ends) * costs[1]
        within = np.flatnonzero(spent <= budget)
        if not len(within):
            return None
        found = within[np.lexsort((-spent[within], hits[within]))[-1]]
        return hits[found], -spent[found], [cuts[found]]
    best, stays = None, np.ones(len(confidences), bool)
    for end, hit, cut in zip(ends, hits, cuts):
        stays[order[:end]] = False
        left = [one[stays[one]] for one in orders[1:]]
        rest = _best_cuts(confidences[:, 1:], right[:, 1:], costs[1:],
                          budget - end * costs[0], left)
        if rest is not None:
            found = (hit + rest[0], rest[1] - end * costs[0], [cut, *rest[2]])
            best = found if best is None else max(best, found, key=lambda one: one[:2])
    return best


def _checked(confidences: np.ndarray) -> np.ndarray:
    confidences = np.asarray(confidences, float)
    if confidences.ndim != 2 or not confidences.size or (
            not np.isfinite(confidences).all()):
        raise InputError('confidences must be finite numbers, a row per image and a '
                         f'column per exit, got shape {confidences.shape}')
    return confidences
