"""Numbers about numbers."""
import math
from statistics import fmean, stdev
from typing import NamedTuple, Sequence


class Spread(NamedTuple):
    """Mean and standard deviation; the latter is 0 of a single value.

    Measures may be infinite; values that are not all finite have no deviation (NaN).
    """
    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> 'Spread':
        """Of a sample, one value per seed."""
        if not all(map(math.isfinite, values)):
            return cls(fmean(values), math.nan)
        return cls(fmean(values), stdev(values) if len(values) > 1 else 0.)
