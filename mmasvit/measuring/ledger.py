"""The record of a work directory: all that was measured, and what else a run depends on.

``measurements.jsonl`` holds a line per item, ``run.json`` what the run was asked to do.
Together they are all the state of a search, a scaling and a study: a run that is started
again is replayed from them, and everything else in the folder is written anew.

What is promised: once :meth:`Ledger.append` returns, its lines survive a kill and a power
cut. What was being written at that moment may be lost, and is measured again; a line is
never read that is not whole, or that has changed: each ends in a checksum of itself.
Files beside these two are whole or not there.
"""
import json
import os
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Hashable, Sequence, Tuple, Union

from mmasvit.arguments import check_shape, numeric, whole_number
from mmasvit.complexity import Measured
from mmasvit.errors import InputError
from mmasvit.files import (read_bytes, read_json, sync, with_checksum, without_checksum,
                           write_json)
from mmasvit.genotypes import parse

Item = Tuple[Hashable, int]  # a topology and a repeat
Repeat = Dict[str, Measured]  # measures at one initialisation
_ROW = dict(topology=str, repeat=partial(whole_number, 'repeat', least=0),
            measures={str: [numeric]})  # a line
MEASUREMENTS, RUN = 'measurements.jsonl', 'run.json'  # in a work directory


class Ledger:
    """What was measured, a line of json per item, as it comes in.

    Args:
        path: The file.
        origin: What the numbers depend on; the first line. It must be the same when the
            file is used again.
        parse: From the text of a topology to what it stands for. Defaults to
            :func:`mmasvit.genotypes.parse`.
    """

    def __init__(self, path: Union[str, Path], origin: dict,
                 parse: Callable[[str], Hashable] = parse):
        self.path, self._parse = Path(path), parse
        self.origin = as_read_back(origin)

    def read(self) -> Dict[Item, Repeat]:
        """Read what is there; an end that was not written whole is cut off.

        A kill leaves part of a line, a power cut zeros: both end what counts.

        Raises:
            InputError: If the numbers have another origin, or a line is damaged; then
                nothing is cut off.
        """
        try:
            content = read_bytes(self.path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InputError(f'{self.path} cannot be read: {error.strerror}') from None
        whole = content.partition(b'\0')[0]
        whole = whole[:whole.rfind(b'\n') + 1]
        first = with_checksum(json.dumps(self.origin)).encode()
        if not whole and not first.startswith(content.partition(b'\0')[0]):
            raise InputError(f'{self.path} is no record of measurements')
        known: Dict[Item, Repeat] = {}
        summed = False
        for number, line in enumerate(whole.split(b'\n')[:-1], 1):
            try:
                text, fits = without_checksum(line.decode())
                # a ledger of an earlier version has none
                if fits is False or summed and fits is None:
                    raise ValueError('its checksum is wrong')
                row = json.loads(text)
                if number == 1:
                    check_shape('', row, dict)
                    check_same(row, self.origin, self.path)
                    summed = fits is not None
                    continue
                check_shape('', row, _ROW)
                item = self._parse(row['topology']), row['repeat']
                known.setdefault(item, {}).update(
                    {name: Measured(*map(float, numbers))
                     for name, numbers in row['measures'].items()})
            except _Difference:
                raise
            except (ValueError, TypeError, OverflowError, RecursionError):
                raise InputError(f'{self.path} is damaged in line {number}') from None
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        return known

    def append(self, items: Sequence[Item], repeats: Sequence[Repeat]) -> None:
        """Add items at the end, and have the disk keep them.

        Raises:
            InputError: If the file cannot be written.
        """
        lines = [with_checksum(json.dumps(dict(topology=str(topology), repeat=repeat,
                                               measures=measures)))
                 for (topology, repeat), measures in zip(items, repeats)]
        try:
            with open(self.path, 'a', encoding='utf-8') as file:
                is_new = not file.tell()
                if is_new:
                    lines.insert(0, with_checksum(json.dumps(self.origin)))
                file.write('\n'.join(lines) + '\n')
                sync(file)
            if is_new:
                sync(self.path.parent)
        except OSError as error:
            raise InputError(f'{self.path} cannot be written: {error.strerror}') from None


def check_run(work_dir: Union[str, Path], run: dict) -> None:
    """Check that a work directory holds no other run than one.

    Raises:
        InputError: If it does; the line names the first difference.
    """
    path = Path(work_dir, RUN)
    if path.exists():
        check_same(read_json(path), run, path)


def write_run(work_dir: Union[str, Path], run: dict) -> None:
    """Write what a run was asked to do, if it is not there.

    Raises:
        InputError: If the file cannot be written.
    """
    path = Path(work_dir, RUN)
    if not path.exists():
        write_json(path, run)


class _Difference(InputError):
    """A file is of another run."""


def check_same(saved: dict, current: dict, path: Path) -> None:
    """Raise :class:`InputError` if what a file was written with is not what is now."""
    difference = first_difference(saved, as_read_back(current))
    if difference:
        raise _Difference(f'{path} is of a run with {difference}; go on with its own '
                         'config, or choose another work directory')


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


def as_read_back(value: dict) -> dict:
    """A value as it comes back from a json file: lists for tuples, text for keys."""
    return json.loads(json.dumps(value))
