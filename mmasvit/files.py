"""Files that are either whole or not there."""
import csv
import errno
import fcntl
import io
import json
import math
import os
import secrets
import stat
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from mmasvit.arguments import check_shape
from mmasvit.errors import InputError

_TEMPORARY = '.mmasvit-'  # what names of unfinished files begin with
_CHECKSUM = ', "crc32": '


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
    temporary, descriptor = target, None
    try:
        if not in_place:
            temporary, descriptor = _make_temporary(target)
        yield temporary
        if not in_place:
            # renamed before its content is on the disk, a power cut would leave it empty
            sync(temporary)
            os.replace(temporary, target)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror or error}') from None
    finally:
        if descriptor is not None:
            os.close(descriptor)
            with suppress(FileNotFoundError):
                os.remove(temporary)


def _make_temporary(target: str) -> Tuple[str, int]:
    """A new file beside a target, which nobody could foresee, and the hold on it.

    What writers left behind that were killed is swept up: who lives holds its file.
    """
    folder, name = os.path.split(target)
    with os.scandir(folder) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(_TEMPORARY)
                and entry.is_file(follow_symlinks=False)]
    for path in left:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.remove(path)
            finally:
                os.close(descriptor)
    temporary = os.path.join(folder, f'{_TEMPORARY}{secrets.token_hex(8)}'
                             f'{os.path.splitext(name)[1]}')
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with suppress(OSError):  # some networks' disks know no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return temporary, descriptor


def read_bytes(path: Union[str, Path]) -> bytes:
    """Read a file that is one: no pipe, which never ends, and no device.

    Raises:
        OSError: If it is none, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, 'rb') as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, 'it is no file')
        return file.read()


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


def read_json(path: Union[str, Path], shape: Any = dict) -> Any:
    """Read a json file of a declared form.

    Args:
        path: The file.
        shape: What it must hold; see :func:`~mmasvit.arguments.check_shape`.

    Raises:
        InputError: If it cannot be read, is no json, or of another form.
    """
    try:
        content = json.loads(read_bytes(path).decode('utf-8'))
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path} is damaged: {error}') from None
    check_shape(f'{path} is damaged:', content, shape)
    return content


def read_result(path: Path, what: str, shape: dict) -> dict:
    """Read the json file that a finished run of a kind leaves.

    Args:
        path: The file.
        what: The kind of run, for the error.
        shape: What it must hold; see :func:`~mmasvit.arguments.check_shape`.

    Raises:
        InputError: If it is not there, or has not all of it.
    """
    if not path.is_file():
        reason = 'is no file' if path.exists() else 'does not exist'
        raise InputError(f'{path.parent} holds no finished {what}: {path.name} {reason}')
    return read_json(path, shape)


def read_table(path: Path, columns: Sequence[str], texts: Sequence[str] = ()
               ) -> List[Dict[str, Any]]:
    """Read a csv file that a run leaves: a dict for each row.

    Args:
        path: The file.
        columns: Columns that it must have.
        texts: Those of all columns that hold no numbers. With none, all stays text.

    Raises:
        InputError: If it cannot be read, or has no rows or not all columns.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode('utf-8'),
                                               newline='')))
        if not rows:
            raise ValueError('it has no rows')
        missing = [name for name in columns if name not in rows[0]]
        if missing:
            raise ValueError(f'it has no column {missing[0]}')
        for number, row in enumerate(rows, 1):
            if None in row or None in row.values():
                raise ValueError(f'row {number} has more or fewer values than columns')
        return [{name: value if not texts or name in texts else float(value)
                 for name, value in row.items()} for row in rows]
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}') from None
    except (ValueError, csv.Error) as error:
        raise InputError(f'{path} is damaged: {error}') from None


def with_checksum(line: str) -> str:
    """The text of a json dict with a checksum of itself as its last entry."""
    return f'{line[:-1]}{_CHECKSUM}{zlib.crc32(line.encode())}}}'


def without_checksum(line: str) -> Tuple[str, Optional[bool]]:
    """The text before :func:`with_checksum`, and whether it is that; None if it has no
    checksum."""
    before, mark, after = line.rpartition(_CHECKSUM)
    if not mark:
        return line, None
    return before + '}', after == f'{zlib.crc32((before + "}").encode())}}}'


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
