"""When a cascade of growing token numbers stops."""
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
    confidences = np.asarray(confidences, float)
    if confidences.ndim != 2 or not confidences.size or (
            not np.isfinite(confidences).all()):
        raise InputError('confidences must be finite numbers, a row per image and a '
                         f'column per exit, got shape {confidences.shape}')
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
