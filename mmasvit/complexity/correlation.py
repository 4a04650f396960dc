"""Does a measure rank networks as their accuracies do?"""
from typing import NamedTuple, Sequence, Tuple

import numpy as np
from scipy import stats


class Correlation(NamedTuple):
    """Kendall's tau-b and its uncertainty.

    Attributes:
        tau: The coefficient, -1 to 1; NaN if a side is constant.
        interval: 95 % confidence interval by bootstrap over the networks.
    """
    tau: float
    interval: Tuple[float, float]

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        low, high = self.interval
        return low > 0 or high < 0


def kendall_tau(scores: Sequence[float], accuracies: Sequence[float], *,
                resamples: int = 2000, seed: int = 0) -> Correlation:
    """Kendall's tau-b with a percentile bootstrap interval.

    Args:
        scores: A measure's values; infinities rank at the ends.
        accuracies: Of the same networks.
        resamples: Bootstrap samples. Defaults to 2000.
        seed: Seed of the bootstrap. Defaults to 0.
    """
    def tau(x: np.ndarray, y: np.ndarray) -> float:
        return stats.kendalltau(x, y).statistic

    # ranks say all that tau needs, and infinities do not disturb them
    pair = stats.rankdata(scores), stats.rankdata(accuracies)
    value = float(tau(*pair))
    if np.isnan(value):
        return Correlation(value, (value, value))
    rng = np.random.default_rng(seed)
    count = len(pair[0])
    draws = rng.integers(count, size=(resamples, count))
    taus = [tau(pair[0][draw], pair[1][draw]) for draw in draws]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return Correlation(value, (float(low), float(high)))
