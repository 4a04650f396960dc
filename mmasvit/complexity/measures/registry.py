"""The decorator that makes a function a measure."""
import math
from dataclasses import dataclass
from typing import Callable, Dict, Union

from mmasvit.complexity.supernet_path import SupernetPath
from mmasvit.complexity.untrained import UntrainedNetwork

Probe = Union[UntrainedNetwork, SupernetPath]

MEASURES: Dict[str, 'Measure'] = {}  # of untrained networks
PATH_MEASURES: Dict[str, 'Measure'] = {}  # of paths in a trained supernet


@dataclass(frozen=True)
class Measure:
    """A number that says something about a network before it is trained.

    Attributes:
        name: Its name.
        function: A probe to the number.
        higher_is_better: Whether large values are meant to predict high accuracy.
        drawn: Whether it depends on the initialisation.
    """
    name: str
    function: Callable[[Probe], float]
    higher_is_better: bool
    drawn: bool

    def __call__(self, probe: Probe) -> float:
        """The number; the worst one there is if it comes out not finite."""
        value = float(self.function(probe))
        if math.isfinite(value):
            return value
        return -math.inf if self.higher_is_better else math.inf


def measure(higher_is_better: bool, drawn: bool = True, of_path: bool = False
            ) -> Callable:
    """Register a function from a probe to a number under its own name.

    Args:
        higher_is_better: Whether large values are meant to predict high accuracy.
        drawn: Whether it depends on the initialisation. Defaults to True.
        of_path: Whether the probe is a :class:`SupernetPath` and not an
            :class:`UntrainedNetwork`. Defaults to False.
    """
    def register(function: Callable[[Probe], float]) -> Callable[[Probe], float]:
        name = function.__name__
        registry = PATH_MEASURES if of_path else MEASURES
        registry[name] = Measure(name, function, higher_is_better, drawn)
        return function

    return register
