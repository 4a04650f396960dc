"""Measuring many topologies: shared over processes, kept on disk, never done twice."""
import json
import os
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple, TypeVar

import torch
from mmengine import dist

from mmasvit.complexity import Measured, Summary, summarise
from mmasvit.errors import InputError
from mmasvit.topology import Topology

Item = Tuple[Topology, int]  # a topology and a repeat
Repeat = Dict[str, Measured]  # measures at one initialisation
Result = TypeVar('Result')
MEASUREMENTS = 'measurements.jsonl'  # of a work directory


def on_main_process(function: Callable[[], Result]) -> Result:
    """Call a function on rank 0 and give every rank its result or its InputError."""
    outcome = [None, None]
    if dist.is_main_process():
        try:
            outcome[0] = function()
        except InputError as error:
            outcome[1] = str(error)
    dist.broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise InputError(outcome[1])
    return outcome[0]


def first_difference(saved: dict, current: dict, prefix: str = '') -> str:
    """``'a.b=1 instead of 2'`` for the first entry that differs, or ``''``."""
    for name in [*current, *(name for name in saved if name not in current)]:
        old, new = saved.get(name), current.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            difference = first_difference(old, new, f'{prefix}{name}.')
            if difference:
                return difference
        elif old != new:
            return f'{prefix}{name}={old} instead of {new}'
    return ''


@contextmanager
def intra_op_threads(number: int) -> Iterator[None]:
    """Run with so many threads of torch: sums depend on them in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def share(items: Sequence[Item], function: Callable[[Item], Result],
          threads: int = 1) -> List[Result]:
    """Call a function on every item, each on one of the processes.

    Args:
        items: The same on all processes; rank r takes items r, r + world size, ...
        function: Its result may depend on the item alone, and is plain Python.
        threads: Intra-op threads of each call. Defaults to 1.

    Returns:
        The results in the order of the items, on every process.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    with intra_op_threads(threads):
        mine = [function(item) for item in items[rank::world]]
    parts = dist.all_gather_object(mine)
    return [parts[i % world][i // world] for i in range(len(items))]


class MeasurementFile:
    """What was measured, a line of json per item, as it comes in.

    Args:
        path: The file.
        origin: What the numbers depend on; the first line. It must be the same when the
            file is used again.
    """

    def __init__(self, path: str, origin: dict):
        self.path = path
        self.origin = json.loads(json.dumps(origin))  # as it will be read back

    def read(self) -> Dict[Item, Repeat]:
        """Read what is there; a last line that was cut short is cut off.

        Raises:
            InputError: If the numbers have another origin, or a line is damaged.
        """
        try:
            with open(self.path, 'rb') as file:
                content = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InputError(f'{self.path} cannot be read: {error.strerror}') from None
        whole = content.rfind(b'\n') + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        known = {}
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                row = json.loads(line)
                if number == 1:
                    self._compare(row)
                    continue
                known[Topology.parse(row['topology']), row['repeat']] = {
                    name: Measured(*map(float, numbers))
                    for name, numbers in row['measures'].items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                if number == 1 and isinstance(error, InputError):
                    raise
                raise InputError(f'{self.path} is damaged in line {number}') from None
        return known

    def _compare(self, origin: dict) -> None:
        difference = first_difference(origin, self.origin)
        if difference:
            raise InputError(f'{self.path} was measured with {difference}; choose another '
                             'work directory')

    def append(self, items: Sequence[Item], repeats: Sequence[Repeat]) -> None:
        """Add items at the end.

        Raises:
            InputError: If the file cannot be written.
        """
        try:
            with open(self.path, 'a', encoding='utf-8') as file:
                if not file.tell():
                    file.write(json.dumps(self.origin) + '\n')
                for (topology, repeat), measures in zip(items, repeats):
                    file.write(json.dumps(dict(topology=str(topology), repeat=repeat,
                                               measures=measures)) + '\n')
        except OSError as error:
            raise InputError(f'{self.path} cannot be written: {error.strerror}') from None


class Evaluator:
    """Measures topologies; on several processes it is called on all of them alike.

    Args:
        measure: Measures an item; depends on it alone.
        repeats: Initialisations per topology.
        file: Where measurements are kept and found again. Defaults to memory alone.
        threads: Intra-op threads of one item. Defaults to 1.

    Attributes:
        known: All items measured, those found in the file included.
        measured: Number of items measured in this run.
    """

    def __init__(self, measure: Callable[[Topology, int], Repeat], repeats: int,
                 file: Optional[MeasurementFile] = None, threads: int = 1):
        if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
            raise InputError(f'threads must be a positive whole number, got {threads!r}')
        self._measure, self._repeats = measure, repeats
        self._file, self._threads = file, threads
        self.known: Dict[Item, Repeat] = on_main_process(file.read) if file else {}
        self.measured = 0

    def __call__(self, topologies: Sequence[Topology],
                 watch: Optional[Callable[[int, int], None]] = None
                 ) -> List[Dict[str, Summary]]:
        """Summaries of the measures, in the order of the topologies.

        An item is in the file as soon as every process has done one more.

        Args:
            topologies: What to measure, unless it is known.
            watch: Called with the items done and the items there are to do.
        """
        items = [(topology, repeat) for topology in dict.fromkeys(topologies)
                 for repeat in range(self._repeats)]
        new = [item for item in items if item not in self.known]
        world = dist.get_world_size()
        for start in range(0, len(new), world):
            if watch:
                watch(start, len(new))
            some = new[start:start + world]
            results = share(some, lambda item: self._measure(*item), self._threads)
            if self._file and dist.is_main_process():
                self._file.append(some, results)
            self.known.update(zip(some, results))
            self.measured += len(some)
        return [summarise([self.known[topology, repeat]
                           for repeat in range(self._repeats)])
                for topology in topologies]
