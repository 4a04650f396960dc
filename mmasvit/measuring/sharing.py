"""One job on several processes, and the same on any number of them."""
from contextlib import contextmanager
from typing import Callable, Iterator, List, Optional, Sequence, Tuple, TypeVar

import torch
from mmengine import dist

from mmasvit.errors import InputError

Item, Result = TypeVar('Item'), TypeVar('Result')


def on_main_process(function: Callable[[], Result]) -> Result:
    """Call a function on rank 0 and give every rank its result or its InputError."""
    outcome = [None, None]
    if dist.is_main_process():
        outcome = list(_outcome(function))
    dist.broadcast_object_list(outcome)
    return _result(*outcome)


def share(items: Sequence[Item], function: Callable[[Item], Result],
          threads: int = 1) -> List[Result]:
    """Call a function on every item, each on one of the processes.

    Args:
        items: The same on all processes; rank r takes items r, r + world size, ...
        function: Its result may depend on the item alone, and is plain Python.
        threads: Intra-op threads of each call. Defaults to 1.

    Returns:
        The results in the order of the items, on every process.

    Raises:
        InputError: On every process, if the function raises one on any.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    with intra_op_threads(threads):
        mine = _outcome(lambda: [function(item) for item in items[rank::world]])
    parts = [_result(*outcome) for outcome in dist.all_gather_object(mine)]
    return [parts[i % world][i // world] for i in range(len(items))]


def _outcome(function: Callable[[], Result]) -> Tuple[Optional[Result], Optional[str]]:
    """What a function returns, or the line of its InputError."""
    try:
        return function(), None
    except InputError as error:
        return None, str(error)


def _result(value: Result, line: Optional[str]) -> Result:
    if line is not None:
        raise InputError(line)
    return value


@contextmanager
def intra_op_threads(number: int) -> Iterator[None]:
    """Run with so many threads of torch: sums depend on them in their last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
