"""Files that are either whole or not there."""
import csv
import io
import json
import math
import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Dict, Iterator, Sequence, Union

from mmasvit.errors import InputError


@contextmanager
def replacing(path: Union[str, Path]) -> Iterator[str]:
    """Write a file under a temporary name that becomes ``path`` when all is written.

    A reader, or a run that was killed and goes on, never meets half a file.

    Args:
        path: The file to write; one that exists is replaced, behind a link that one
            which it leads to. A pipe or a device, ``/dev/stdout`` for one, is written
            to as it is.

    Yields:
        The temporary name, in the same folder and with the same ending.

    Raises:
        InputError: If the file cannot be written.
    """
    in_place = os.path.exists(path) and not os.path.isfile(path)
    target = os.fspath(path) if in_place else os.path.realpath(path)
    folder, name = os.path.split(target)
    temporary = target if in_place else os.path.join(folder, f'.{os.getpid()}.{name}')
    try:
        yield temporary
        if not in_place:
            # renamed before its content is on the disk, a power cut would leave it empty
            sync(temporary)
            os.replace(temporary, target)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror or error}') from None
    finally:
        if not in_place and os.path.exists(temporary):
            os.remove(temporary)


def sync(file: Union[str, Path, IO]) -> None:
    """Have the disk keep what was written to an open file, a file or a folder."""
    if isinstance(file, (str, Path)):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    else:
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Union[str, Path], value: dict) -> None:
    """Write a json file; numbers that json has no sign for become text.

    Raises:
        InputError: If the file cannot be written.
    """
    with replacing(path) as temporary:
        Path(temporary).write_text(json.dumps(_finite(value), indent=2) + '\n',
                                   encoding='utf-8')


def read_result(path: Path, what: str, needed: Sequence[str]) -> dict:
    """Read the json file that a finished run of a kind leaves.

    Args:
        path: The file.
        what: The kind of run, for the error.
        needed: Entries that it must have.

    Raises:
        InputError: If it is not there, or has not all of them.
    """
    try:
        result = json.loads(path.read_text(encoding='utf-8'))
        for name in needed:
            result[name]
    except OSError as error:
        raise InputError(f'{path.parent} holds no finished {what}: {error.strerror} '
                         f'({path.name})') from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} is damaged: {error}') from None
    return result


def _finite(value):
    """A copy in which numbers that json has no sign for are text."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


class TableFile:
    """A csv file that grows.

    Args:
        path: The file; it is written anew.
        columns: Names of the columns.
        rows: Rows to begin with, each with a value per column.
    """

    def __init__(self, path: Union[str, Path], columns: Sequence[str],
                 rows: Sequence[Dict[str, object]] = ()):
        self._path, self._columns = path, columns
        with replacing(path) as temporary, open(temporary, 'w', encoding='utf-8') as file:
            file.write(','.join(columns) + '\n' + self._lines(rows))

    def append(self, rows: Sequence[Dict[str, object]]) -> None:
        """Add rows at the end.

        Raises:
            InputError: If the file cannot be written.
        """
        try:
            with open(self._path, 'a', encoding='utf-8') as file:
                file.write(self._lines(rows))
        except OSError as error:
            raise InputError(f'{self._path} cannot be written: {error.strerror}') from None

    def _lines(self, rows: Sequence[Dict[str, object]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, lineterminator='\n').writerows(rows)
        return text.getvalue()
