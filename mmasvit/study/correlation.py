"""Does a measure rank networks as their accuracies do?"""
import math
from typing import NamedTuple, Sequence, Tuple

import numpy as np
from scipy import stats


class Correlation(NamedTuple):
    """Kendall's tau-b and its uncertainty.

    Attributes:
        tau: The coefficient, -1 to 1; NaN if a side is constant.
        interval: 95 % confidence interval by bootstrap over the networks.
        p_value: Of the hypothesis that the two rankings have nothing to do with each
            other. Few networks can agree by chance in every bootstrap sample.
    """
    tau: float
    interval: Tuple[float, float]
    p_value: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out, and chance is no explanation (5 %)."""
        low, high = self.interval
        return (low > 0 or high < 0) and self.p_value < 0.05


def kendall_tau(scores: Sequence[float], accuracies: Sequence[float], *,
                resamples: int = 2000, seed: int = 0) -> Correlation:
    """Kendall's tau-b with a percentile bootstrap interval.

    Args:
        scores: A measure's values; infinities rank at the ends.
        accuracies: Of the same networks.
        resamples: Bootstrap samples. Defaults to 2000.
        seed: Seed of the bootstrap. Defaults to 0.
    """
    # ranks say all that tau needs, and infinities do not disturb them
    x, y = stats.rankdata(scores), stats.rankdata(accuracies)
    whole = stats.kendalltau(x, y)
    if np.isnan(whole.statistic):
        return Correlation(math.nan, (math.nan, math.nan), math.nan)
    draws = np.random.default_rng(seed).integers(len(x), size=(resamples, len(x)))
    taus = [stats.kendalltau(x[draw], y[draw]).statistic for draw in draws]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return Correlation(float(whole.statistic), (float(low), float(high)),
                       float(whole.pvalue))
