"""Write a directory in parallel, and all of it or nothing."""
import glob
import multiprocessing
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Sequence, TypeVar

import cv2

from mmasvit.errors import InputError
from mmasvit.lock import locked

Item, Result = TypeVar('Item'), TypeVar('Result')
Progress = Optional[Callable[[int, int], None]]


@contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """Give a temporary directory that becomes the target at the end of the block.

    It lies beside the target, so that one rename publishes it, and is removed if the
    block is left by any exception, an interrupt included.

    Args:
        target (Path): Absolute path of a directory that is absent or empty.

    Yields:
        Path: The directory to write into.

    Raises:
        InputError: If the directory cannot be made, or the target is a mount point,
            which no rename can replace.
    """
    if os.path.ismount(target):
        raise InputError(f'{target} is a mount point; choose a directory inside it')
    start, end = f'.{target.name}.', '.tmp'
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f'{glob.escape(start)}*{end}'):
            with suppress(InputError), locked(left):  # whoever made it was killed
                shutil.rmtree(left)
        staging = Path(tempfile.mkdtemp(end, start, target.parent))
        staging.chmod(0o777 & ~_umask())
    except OSError as error:
        raise InputError(f'cannot write {target}: {error.strerror}') from error
    try:
        with locked(staging):
            yield staging
            staging.rename(target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _umask() -> int:
    """The bits that new files of this process do not get."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def map_in_processes(function: Callable[[Item], Result], items: Sequence[Item],
                     workers: Optional[int] = None,
                     progress: Progress = None) -> List[Result]:
    """Apply a function to every item, in several processes.

    Args:
        function (Callable): Function that pickles.
        items (Sequence): Its arguments.
        workers (int, optional): Processes; the CPUs of this process by default.
        progress (Callable[[int, int], None], optional): Called with the items done and
            the items in all.

    Returns:
        list: The results in the order of the items.
    """
    workers = min(workers or len(os.sched_getaffinity(0)), len(items))
    if workers <= 1:
        return _collect(map(function, items), len(items), progress)
    with multiprocessing.Pool(workers, _prepare_worker) as pool:
        # Chunks spare messages; small ones keep the progress and the end smooth.
        chunk = max(1, min(16, len(items) // (4 * workers)))
        return _collect(pool.imap(function, items, chunk), len(items), progress)


def _collect(results: Iterator[Result], total: int, progress: Progress) -> List[Result]:
    collected = []
    for result in results:
        collected.append(result)
        if progress is not None:
            progress(len(collected), total)
    return collected


def _prepare_worker() -> None:
    # An interrupt reaches all processes of a terminal: the parent alone acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def describe_content(directory: Path) -> str:
    """Name the first things in a directory, for a message."""
    names = sorted(path.name for path in directory.iterdir())
    rest = f' and {len(names) - 3} more' if len(names) > 3 else ''
    return ', '.join(names[:3]) + rest
