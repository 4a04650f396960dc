"""Measure topologies."""
import time
from statistics import fmean
from typing import Dict, List, NamedTuple, Optional, Sequence

from torch import Tensor

from mmasvit.complexity.measures import COST_MEASURES, MEASURES, PATH_MEASURES
from mmasvit.complexity.setting import Setting
from mmasvit.complexity.untrained import UntrainedNetwork
from mmasvit.errors import InputError
from mmasvit.topology import Topology

# What section 3 ranks topologies by.
SEARCH_MEASURES = ('length_distortion', 'ntk_condition_number')


class Measured(NamedTuple):
    """One measure at one initialisation.

    Attributes:
        value: The number; the worst one, an infinity, if it came out not finite.
        seconds: What it took, with whatever it was the first of its repeat to need
            (network, circle, derivatives).
    """
    value: float
    seconds: float


class Summary(NamedTuple):
    """One measure over all repeats.

    Attributes:
        mean: Mean of the values.
        values: One value per repeat.
        seconds: Seconds of all repeats together.
    """
    mean: float
    values: List[float]
    seconds: float


def check_measures(names: Sequence[str], supernet: bool = False,
                   costs: Sequence[str] = ()) -> None:
    """Raise :class:`InputError` for a measure that cannot be taken.

    Args:
        names: The measures.
        supernet: Whether there is a trained supernet. Defaults to False.
        costs: The costs that are known. Defaults to none.
    """
    of_path = [name for name in names if name in PATH_MEASURES]
    if of_path and not supernet:
        raise InputError(f"{', '.join(of_path)}: there is no trained supernet to look "
                         "at; name one by measure=dict(type='SupernetMeasures', "
                         'config=..., checkpoint=...)')
    of_detector = [name for name in names if name in COST_MEASURES and name not in costs]
    if of_detector:
        raise InputError(f"{', '.join(of_detector)}: nothing tells of it; name a device's "
                         "profile or a detector by measure=dict(type="
                         "'DetectorMeasures', profile=..., detector=...)")
    known = {**MEASURES, **(PATH_MEASURES if supernet else {}), **dict.fromkeys(costs)}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f'measures must be some of {sorted(known)}, got '
                         f'{", ".join(unknown) or "none"}')


def measure_repeat(topology: Topology, setting: Setting, repeat: int,
                   names: Sequence[str] = SEARCH_MEASURES,
                   images: Optional[Tensor] = None,
                   device: str = 'cpu') -> Dict[str, Measured]:
    """Measure a topology at one initialisation.

    The result depends on the arguments alone, and on the number of threads of torch in
    its last digits.

    Args:
        topology: What to measure.
        setting: How.
        repeat: Which initialisation, from 0.
        names: Which measures.
        images: See :class:`~mmasvit.complexity.untrained.UntrainedNetwork`.
        device: Where to compute. Defaults to the CPU.

    Raises:
        InputError: If a measure does not exist or the images do not fit.
    """
    check_measures(names)
    probe = UntrainedNetwork(topology, setting, repeat, images, device)
    results = {}
    for name in names:
        start = time.perf_counter()
        value = MEASURES[name](probe)
        results[name] = Measured(value, time.perf_counter() - start)
    return results


def summarise(repeats: Sequence[Dict[str, Measured]]) -> Dict[str, Summary]:
    """Put the repeats of one topology together, whatever order they came in."""
    return {name: Summary(fmean(measured[name].value for measured in repeats),
                          [measured[name].value for measured in repeats],
                          sum(measured[name].seconds for measured in repeats))
            for name in repeats[0]}


def measure_topology(topology: Topology, setting: Setting = Setting(),
                     names: Sequence[str] = SEARCH_MEASURES,
                     images: Optional[Tensor] = None,
                     device: str = 'cpu') -> Dict[str, Summary]:
    """Measure a topology at all initialisations; see :func:`measure_repeat`."""
    return summarise([measure_repeat(topology, setting, repeat, names, images, device)
                      for repeat in range(setting.repeats)])
