"""What a cascade's thresholds choose for images that they were not found on."""
from typing import Callable, List, Sequence

import numpy as np
import torch

from mmasvit.adaptive.budgets import Chosen
from mmasvit.adaptive.thresholds import best_thresholds, choose_exits, solve_thresholds
from mmasvit.errors import InputError
from mmasvit.random import Purpose, generator

QS = tuple(float(q) for q in np.geomspace(0.05, 20, 13))
BUDGETS = 13


def cascaded(confidences: np.ndarray, right: np.ndarray, costs: np.ndarray,
             qs: Sequence[float] = QS, budgets: int = BUDGETS, seed: int = 0
             ) -> List[Chosen]:
    """The exits at which images leave, by both ways to find thresholds.

    The images are halved at random: the thresholds of each half are those of the other.

    Args:
        confidences: Of each image at each exit ``(images, exits)``.
        right: Whether each exit is right ``(images, exits)``.
        costs: Mean cost of an image that leaves at each exit ``(exits,)``.
        qs: For the released rule.
        budgets: How many mean costs, from the first exit's to the last one's.
        seed: Of the halves.

    Returns:
        A ``'cascade'`` per q, by the released rule, and a ``'best'`` per budget.

    Raises:
        InputError: If there are fewer than two images.
    """
    if len(confidences) < 2:
        raise InputError('thresholds need two held-out images at least: those of one '
                         'half are tried on the other')

    def choice(solve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Where images leave; ``solve`` finds thresholds on some of them."""
        exits = np.empty(len(confidences), int)
        for own, other in (halves, halves[::-1]):
            exits[own] = choose_exits(confidences[own], solve(other))
        return exits

    order = torch.randperm(len(confidences), generator=generator(
        Purpose.ASSIGNMENT, seed)).numpy()
    halves = order[::2], order[1::2]
    chosen = [Chosen('cascade', q, choice(
        lambda half: solve_thresholds(confidences[half], q))) for q in qs]
    for budget in np.geomspace(costs[0], costs[-1], budgets):
        budget = max(float(budget), costs[0])  # the root of a power may round below
        chosen.append(Chosen('best', budget / 1e9, choice(lambda half: best_thresholds(
            confidences[half], right[half], costs, budget))))
    return chosen
