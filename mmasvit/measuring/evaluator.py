"""Measures of topologies: asked for by search and scaling, made once."""
import os
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import torch
from mmengine import dist
from mmengine.device import get_device
from mmengine.registry import FUNCTIONS

from mmasvit.arguments import whole_number
from mmasvit.complexity import Setting, Summary, check_measures, measure_repeat, summarise
from mmasvit.datasets import ProbeImages
from mmasvit.errors import InputError
from mmasvit.genotypes import Genotype
from mmasvit.limits import OWN_COSTS, Costs, own_costs
from mmasvit.measuring.ledger import MEASUREMENTS, Item, Ledger, Repeat
from mmasvit.measuring.sharing import on_main_process, share

MOST_THREADS = max(16, os.cpu_count() or 1)  # more only take each other's time
DEFAULT_MEASURE = 'measure_repeat'


class Evaluator:
    """Measures topologies; on several processes it is called on all of them alike.

    Args:
        measure: Measures an item, ``topology`` and ``repeat``; depends on it alone.
        repeats: Initialisations per topology.
        names: The measures wanted.
        ledger: Where measurements are kept and found again. Defaults to memory alone.
        threads: Intra-op threads of one item. Defaults to 1.

    Attributes:
        known: All items measured, those found in the ledger included.
        measured: Number of items measured in this run.
        check: Refuses, by an InputError, a topology that cannot be measured.
        check_growth: Refuses a limit that a seed could grow to beyond what is known.
        costs: What a topology costs, by name: its own ``costs()``, or what the measure
            tells.
        cost_names: These names.
        detector_shape: Height and width in pixels that a detector is for; None if
            nothing says so.
        references: What other backbones cost on the device, by name.
    """

    def __init__(self, measure: Callable[..., Repeat], repeats: int,
                 names: Sequence[str], ledger: Optional[Ledger] = None, threads: int = 1):
        self._threads = whole_number('threads', threads, 1, MOST_THREADS)
        self._measure, self._repeats, self._names = measure, repeats, tuple(names)
        self._ledger = ledger
        self.known: Dict[Item, Repeat] = on_main_process(ledger.read) if ledger else {}
        self.measured = 0
        told_by = getattr(measure, 'func', measure)
        self.check: Callable[[Genotype], None] = getattr(
            told_by, 'check', lambda topology: None)
        self.check_growth: Callable[[Genotype, str, str, float], None] = getattr(
            told_by, 'check_growth', lambda *arguments: None)
        self.costs: Costs = getattr(told_by, 'costs', own_costs)
        self.cost_names: Tuple[str, ...] = getattr(told_by, 'cost_names', OWN_COSTS)
        self.detector_shape: Optional[Tuple[int, int]] = getattr(told_by, 'shape', None)
        self.references: Dict[str, dict] = getattr(told_by, 'references', {})

    def unknown(self, topologies: Iterable[Genotype]) -> List[Item]:
        """The items of topologies that are still to be measured."""
        return [(topology, repeat) for topology in dict.fromkeys(topologies)
                for repeat in range(self._repeats)
                if not set(self._names) <= set(self.known.get((topology, repeat), ()))]

    def __call__(self, topologies: Sequence[Genotype],
                 watch: Optional[Callable[[int, int], None]] = None
                 ) -> List[Dict[str, Summary]]:
        """Summaries of the measures, in the order of the topologies.

        An item is in the ledger as soon as every process has done one more.

        Args:
            topologies: What to measure, unless it is known.
            watch: Called with the items done and the items there are to do.
        """
        new = self.unknown(topologies)
        world = dist.get_world_size()
        for start in range(0, len(new), world):
            if watch:
                watch(start, len(new))
            some = new[start:start + world]
            results = share(some, lambda item: self._measure(
                topology=item[0], repeat=item[1]), self._threads)
            self._check_names(results)
            if self._ledger and dist.is_main_process():
                self._ledger.append(some, results)
            for item, repeat in zip(some, results):
                self.known.setdefault(item, {}).update(repeat)
            self.measured += len(some)
        return [summarise([{name: self.known[topology, repeat][name]
                            for name in self._names} for repeat in range(self._repeats)])
                for topology in topologies]

    def seconds(self, topologies: Iterable[Genotype]) -> Dict[str, float]:
        """Seconds that the measures of some topologies took, whenever that was.

        Summed over the processes, by measure.
        """
        chosen, total = set(topologies), dict.fromkeys(self._names, 0.)
        for (topology, _), repeat in self.known.items():
            if topology in chosen:
                for name in self._names:
                    total[name] += repeat[name].seconds if name in repeat else 0.
        return total

    def _check_names(self, repeats: Sequence[Repeat]) -> None:
        for repeat in repeats:
            missing = [name for name in self._names if name not in repeat]
            if missing:
                raise InputError(f'objective: {", ".join(missing)} is not measured; there '
                                 f'is {", ".join(repeat)}')


def build_evaluator(work_dir: str, setting: Setting, images: ProbeImages,
                    names: Sequence[str], measure: Union[str, dict, None] = None,
                    threads: int = 1) -> Tuple[Evaluator, dict]:
    """An evaluator that keeps the ledger of a work directory.

    Args:
        work_dir: The folder.
        setting: How to measure.
        images: What to measure on.
        names: The measures wanted.
        measure: Name in mmengine's ``FUNCTIONS`` of a function that is called like
            :func:`~mmasvit.complexity.measure_repeat`, or the config of a class there
            whose objects are. Of these ``origin``, a dict, tells what the numbers depend
            on (the hash of a checkpoint), ``check`` refuses topologies, ``for_setting``
            is the object at a setting, and ``costs`` with ``cost_names`` tell what a
            topology costs, all if they have it. Defaults to that function.
        threads: Intra-op threads per item.

    Returns:
        The evaluator, and all that its numbers depend on, for the results.

    Raises:
        InputError: If the measure is unknown, or the folder's measurements depend on
            something else.
    """
    function, own = _measure_function(measure, names, setting)
    device = torch.cuda.get_device_name() if get_device() == 'cuda' else 'cpu'
    origin = dict(measure=measure or DEFAULT_MEASURE, threads=threads,
                  setting=setting.to_dict(), data=images.description,
                  torch=str(torch.__version__), device=device, **own)
    ledger = Ledger(Path(work_dir, MEASUREMENTS), origin)
    item = partial(function, setting=setting, names=tuple(names), images=images.images,
                   device=get_device())
    return Evaluator(item, setting.repeats, names, ledger, threads), origin


def _measure_function(measure: Union[str, dict, None], names: Sequence[str],
                      setting: Setting) -> Tuple[Callable[..., Repeat], dict]:
    """What measures an item, and what its numbers depend on beside the setting."""
    if measure is None:
        check_measures(names)
        return measure_repeat, {}
    name = measure.get('type') if isinstance(measure, dict) else measure
    if not isinstance(name, str) or FUNCTIONS.get(name) is None:
        raise InputError(f'measure {name!r} is not in the registry of functions')
    if not isinstance(measure, dict):
        return FUNCTIONS.get(name), {}
    try:
        function = FUNCTIONS.build(measure)
    except TypeError as error:
        raise InputError(f'measure: {error}') from error
    function = getattr(function, 'for_setting', lambda setting: function)(setting)
    return function, dict(measure_origin=getattr(function, 'origin', {}))
