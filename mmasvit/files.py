"""Files that are either whole or not there."""
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union

from mmasvit.errors import InputError


@contextmanager
def replacing(path: Union[str, Path]) -> Iterator[str]:
    """Write a file under a temporary name that becomes ``path`` when all is written.

    A reader, or a run that was killed and goes on, never meets half a file.

    Args:
        path: The file to write; one that exists is replaced.

    Yields:
        The temporary name, in the same folder and with the same ending.

    Raises:
        InputError: If the file cannot be written.
    """
    folder, name = os.path.split(os.fspath(path))
    temporary = os.path.join(folder, f'.{os.getpid()}.{name}')
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror or error}') from None
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
