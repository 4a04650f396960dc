"""The decorator that makes a function a measure."""
import math
from dataclasses import dataclass
from typing import Callable, Dict

from mmasvit.complexity.untrained import UntrainedNetwork

MEASURES: Dict[str, 'Measure'] = {}


@dataclass(frozen=True)
class Measure:
    """A number that says something about an untrained network.

    Attributes:
        name: Its name.
        function: A probe to the number.
        higher_is_better: Whether large values are meant to predict high accuracy.
        drawn: Whether it depends on the initialisation.
    """
    name: str
    function: Callable[[UntrainedNetwork], float]
    higher_is_better: bool
    drawn: bool

    def __call__(self, probe: UntrainedNetwork) -> float:
        """The number; the worst one there is if it comes out not finite."""
        value = float(self.function(probe))
        if math.isfinite(value):
            return value
        return -math.inf if self.higher_is_better else math.inf


def measure(higher_is_better: bool, drawn: bool = True) -> Callable:
    """Register a function from a :class:`UntrainedNetwork` to a number under its own name.

    Args:
        higher_is_better: Whether large values are meant to predict high accuracy.
        drawn: Whether it depends on the initialisation. Defaults to True.
    """
    def register(function: Callable[[UntrainedNetwork], float]) -> Callable[[UntrainedNetwork], float]:
        name = function.__name__
        MEASURES[name] = Measure(name, function, higher_is_better, drawn)
        return function

    return register
