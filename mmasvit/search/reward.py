"""What a topology is worth during a search (algorithm 1 of the paper)."""
from collections import deque
from math import inf, isfinite, isnan
from statistics import fmean
from typing import Deque, List, NamedTuple, Optional, Sequence

from scipy.stats import rankdata

from mmasvit.arguments import number, whole_number
from mmasvit.measuring.objective import Objective, Values


class Range(NamedTuple):
    """Smallest and largest finite value of a measure, and which of them is worse."""
    low: float
    high: float
    worst: float

    @classmethod
    def of(cls, values: Sequence[float], sign: int) -> 'Range':
        """The range of some values; an empty one at 0 if none is finite."""
        finite = [value for value in values if isfinite(value)] or [0.]
        low, high = min(finite), max(finite)
        return cls(low, high, low if sign > 0 else high)

    def clip(self, value: float) -> float:
        """The value, or the worst of the range for one that is not finite."""
        return value if isfinite(value) else self.worst

    def relative(self, difference: float) -> float:
        """A difference in units of the range; 0 where the range is a point."""
        if not difference or self.high == self.low:
            return 0.  # and not -0.
        return difference / (self.high - self.low)


class RelativeReward:
    """The reward of algorithm 1: progress since the previous step over the range so far.

    ``r_t = (L_t - L_{t-1}) / (max L - min L) - (k_t - k_{t-1}) / (max k - min k)`` with
    the paper's objective, the extremes over the steps up to and with t. The first step
    has no previous one and is worth 0. A value that is not finite counts as the worst
    finite one of the range, and does not widen the range.

    Args:
        objective: Which measures, and how they weigh. Defaults to the paper's.
        window: Steps that the range is taken over; None for all (algorithm 1).

    Raises:
        InputError: If the window is less than two steps.
    """

    def __init__(self, objective: Objective = Objective(), window: Optional[int] = None):
        if window is not None:
            whole_number('reward_window', window, 2)
        self._objective = objective
        self._steps: Deque[List[Values]] = deque(maxlen=window)

    def __call__(self, step: List[Values]) -> List[Values]:
        """Reward the topologies of one step, usually one.

        Args:
            step: Their measures. With several (which the paper has not), each is
                compared with the mean of the previous step.

        Returns:
            For each the parts by measure, signed so that they add up to ``'reward'``.
        """
        previous = self._steps[-1] if self._steps else None
        self._steps.append(step)
        rewards = [{} for _ in step]
        for name, sign, weight in self._objective.parts:
            seen = Range.of([values[name] for past in self._steps for values in past],
                            sign)
            for reward, values in zip(rewards, step):
                before = fmean(seen.clip(past[name]) for past in previous or [values])
                progress = sign * (seen.clip(values[name]) - before)
                reward[name] = weight * seen.relative(progress)
        return [dict(reward, reward=sum(reward.values())) for reward in rewards]


class MovingAverage:
    """Exponential moving average without bias towards its start.

    Args:
        momentum: Weight of the past, between 0 and 1.

    Raises:
        InputError: If it is not.
    """

    def __init__(self, momentum: float = 0.9):
        self.momentum = number('baseline_momentum', momentum, above=0, below=1)
        self._sum = self._weight = 0.

    def update(self, value: float) -> float:
        """Take in a value; return the average, which holds it already."""
        self._sum = self.momentum * self._sum + (1 - self.momentum) * value
        self._weight = self.momentum * self._weight + (1 - self.momentum)
        return self._sum / self._weight


def scores(measured: Sequence[Values], objective: Objective = Objective(),
           reference: Optional[Sequence[Values]] = None) -> List[float]:
    """Place topologies on one scale that does not depend on the order of a search.

    By rank, a measure counts the share of the others that a topology beats, ties half:
    what is not a number comes last, and how far values are apart does not matter.

    By range, each measure counts from 0 to 1 over the range, times its weight. With a
    range that stays the same, the rewards of algorithm 1 add up along a search to the
    difference of this score.

    Args:
        measured: Measures of the topologies.
        objective: Which measures, and how they weigh. Defaults to the paper's.
        reference: Measures that span the range. Defaults to ``measured``; ranks are
            always among these.

    Returns:
        A number each, with the paper's objective from -1 to 1 (if the reference holds
        them); more is better.
    """
    totals = [0.] * len(measured)
    for name, sign, weight in objective.parts:
        if objective.by == 'rank':
            ranks = rankdata([_goodness(values[name], sign) for values in measured])
            for i, rank in enumerate(ranks.tolist()):
                totals[i] += weight * (rank - 1) / max(1, len(measured) - 1)
            continue
        seen = Range.of([values[name] for values in reference or measured], sign)
        for i, values in enumerate(measured):
            totals[i] += sign * weight * seen.relative(seen.clip(values[name]) - seen.low)
    return totals


def _goodness(value: float, sign: int) -> float:
    """A measure's value, turned so that more is better."""
    return -inf if isnan(value) else sign * value
