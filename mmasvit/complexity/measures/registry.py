"""The decorator that makes a function a measure."""
import math
from dataclasses import dataclass
from typing import Callable, Dict, Union

from mmasvit.complexity.supernet_path import SupernetPath
from mmasvit.complexity.untrained import UntrainedNetwork

Probe = Union[UntrainedNetwork, SupernetPath, Dict[str, float]]

MEASURES: Dict[str, 'Measure'] = {}  # of untrained networks
PATH_MEASURES: Dict[str, 'Measure'] = {}  # of paths in a trained supernet
COST_MEASURES: Dict[str, 'Measure'] = {}  # of a detector around a topology


@dataclass(frozen=True)
class Measure:
    """A number that says something about a network before it is trained.

    Attributes:
        name: Its name.
        function: A probe to the number.
        higher_is_better: Whether large values are meant to predict high accuracy.
        drawn: Whether it depends on the initialisation.
        sized: Whether it depends on the setting's image size, though not drawn.
    """
    name: str
    function: Callable[[Probe], float]
    higher_is_better: bool
    drawn: bool
    sized: bool = False

    def __call__(self, probe: Probe) -> float:
        """The number; the worst one there is if it comes out not finite."""
        value = float(self.function(probe))
        if math.isfinite(value):
            return value
        return -math.inf if self.higher_is_better else math.inf


def measure(higher_is_better: bool, drawn: bool = True, sized: bool = False,
            registry: Dict[str, Measure] = MEASURES) -> Callable:
    """Register a function from a probe to a number under its own name.

    Args:
        higher_is_better: Whether large values are meant to predict high accuracy.
        drawn: Whether it depends on the initialisation. Defaults to True.
        sized: Whether it depends on the setting's image size, though not drawn. Defaults
            to False.
        registry: Measures of its kind of probe: of an :class:`UntrainedNetwork`
            (default), of a :class:`SupernetPath` or of a dict of costs.
    """
    def register(function: Callable[[Probe], float]) -> Callable[[Probe], float]:
        name = function.__name__
        registry[name] = Measure(name, function, higher_is_better, drawn, sized)
        return function

    return register
