"""One run at a time in a folder."""
import errno
import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Set, Union

from mmasvit.errors import InputError

_held: Set[int] = set()  # descriptors


@contextmanager
def locked(folder: Union[str, Path], patience: float = 0) -> Iterator[None]:
    """Hold a folder; a second process that wants it is refused.

    The lock lies on the folder itself: it ends with the process that holds it, however
    that ends, and leaves nothing behind. Processes that it forks do not hold it. File
    systems that know no such locks (some of networks) hold nobody up.

    Args:
        folder: An existing folder.
        patience: Seconds to wait for whoever holds it: one that was killed takes a
            moment to be gone. Defaults to none.

    Raises:
        InputError: If another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    latest = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                if time.monotonic() < latest:
                    time.sleep(0.05)
                    continue
                os.close(descriptor)
                raise InputError(f'another run works in {folder}; wait for its end, or '
                                 'choose another work directory') from None
        break
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:  # and not a forked child, where it is closed
            _held.remove(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # for forked children too, at once
            os.close(descriptor)


def _release_in_child() -> None:
    """A data worker that outlives a killed run must not hold the folder."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_release_in_child)
