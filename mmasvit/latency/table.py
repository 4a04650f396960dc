"""A device's times of parts, and what they come to for a whole backbone."""
from bisect import bisect_left
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple, Union

from mmasvit.arguments import check_shape, number, one_of, whole_number
from mmasvit.benchmarking import Timing
from mmasvit.errors import InputError
from mmasvit.files import read_json, write_json
from mmasvit.geometry import lay_windows, token_grids
from mmasvit.latency.parts import OPTIONS, Part, parts_of
from mmasvit.latency.conditions import Conditions
from mmasvit.topology import NUM_STAGES, Topology
from mmasvit.version import __version__


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of one image through any As-ViT backbone, by the sum of its parts.

    Between two widths C that were timed, the logarithm of a part's time is linear in the
    logarithm of C. Nothing else is interpolated: what the table does not hold is refused.

    Args:
        conditions: What was timed on.
        times: For each part its time at each width C.
        factor: Of the sum: what whole networks take over their parts. Defaults to 1.
        references: Other backbones that were timed: ``milliseconds``, ``params``,
            ``macs`` by name. Defaults to none.
        path: Where it was read from, for errors.
    """
    conditions: Conditions
    times: Mapping[Part, Mapping[int, Timing]]
    factor: float = 1.
    references: Optional[Mapping[str, dict]] = None
    path: Union[str, Path] = 'the table'

    @property
    def widths(self) -> List[int]:
        """Widths C at which every part was timed."""
        return sorted(set.intersection(*map(set, self.times.values())))

    def milliseconds(self, topology: Topology) -> float:
        """Time of a backbone with four outputs.

        Raises:
            InputError: If the table does not hold one of its parts, or not its width.
        """
        return self.factor * sum(count * self._of_part(part, topology.embed_dims)
                                 for part, count in parts_of(topology).items())

    def _of_part(self, part: Part, embed_dims: int) -> float:
        times = self.times.get(part)
        if times is None:
            raise InputError(f'{self.path} holds no {part}; profile the device with it')
        if embed_dims in times:
            return times[embed_dims].median
        widths = sorted(times)
        place = bisect_left(widths, embed_dims)
        if place in (0, len(widths)):
            raise InputError(f'{self.path} holds widths from C = {widths[0]} to '
                             f'{widths[-1]}, not {embed_dims}; profile the device with '
                             '--widths')
        low, high = widths[place - 1:place + 1]
        share = log(embed_dims / low) / log(high / low)
        return exp((1 - share) * log(times[low].median) + share * log(times[high].median))

    def check(self, wanted: Dict[str, object]) -> None:
        """Raise :class:`InputError` unless it was made under some conditions.

        Args:
            wanted: Values of :class:`Conditions` by name.
        """
        for name, value in wanted.items():
            found = getattr(self.conditions, name)
            if found != value:
                what = _WORDS.get(name, name)
                raise InputError(f'{self.path} is of the {what} {_say(found)}, not '
                                 f'{_say(value)}; profile the device anew with '
                                 'tools/profile_device.py')

    def save(self, path: Union[str, Path]) -> None:
        """Write it as json, whole or not at all."""
        shape, splits_at = self.conditions.shape, self.conditions.pretrain_img_size
        parts = []
        for part, times in self.times.items():
            row = dict(part=part.kind, stage=part.stage,
                       **dict(zip(OPTIONS[part.kind], part.option)))
            row['grid'] = token_grids(shape)[part.stage - 1]
            if 'splits' in row:
                row['window'] = [lay_windows(*side, row['splits'], splits_at).edge
                                 for side in zip(row['grid'], shape)]
            parts.append(dict(row, milliseconds={
                width: timing._asdict() for width, timing in sorted(times.items())}))
        write_json(path, dict(
            kind=KIND, mmasvit=__version__, conditions=self.conditions._asdict(),
            interpolated='embed_dims', factor=self.factor, parts=parts,
            references=dict(self.references or {})))

    @classmethod
    def read(cls, path: Union[str, Path]) -> 'LatencyTable':
        """Read what :meth:`save` wrote.

        Raises:
            InputError: If it cannot be read, or is no such table.
        """
        content = read_json(path)
        if content.get('kind') != KIND:
            raise InputError(f'{path} is no device profile; tools/profile_device.py '
                             'writes one')
        check_shape(f'{path} is damaged:', content, _FORM)
        given = content['conditions']
        conditions = Conditions(*map(given.get, Conditions._fields))._replace(
            shape=tuple(given['shape']))
        table = cls(conditions, dict(map(_read_part, content['parts'])),
                    content['factor'], content['references'], path)
        if not table.times or not table.widths:
            raise InputError(f'{path} is damaged: there is no width with all parts')
        return table


KIND = 'mmasvit device profile'
_WORDS = dict(shape='image size', pretrain_img_size='pre-training size')


def _positive(value: object) -> None:
    number('a time', value, above=0)


def _part(row: dict) -> None:
    """A shape: a row of the table with all that its kind of part depends on."""
    check_shape('it', row, dict(part=str, stage=int, milliseconds={str: dict}))
    one_of('part', row['part'], OPTIONS)
    whole_number('stage', row['stage'], 1, NUM_STAGES)
    for name in OPTIONS[row['part']]:
        whole_number(name, row.get(name), 1)
    for width, timing in row['milliseconds'].items():
        whole_number('width', int(width), 1)
        for name in Timing._fields:
            _positive(timing.get(name))


def _read_part(row: dict) -> Tuple[Part, Dict[int, Timing]]:
    option = tuple(row[name] for name in OPTIONS[row['part']])
    return Part(row['part'], row['stage'], option), {
        int(width): Timing(*map(timing.get, Timing._fields))
        for width, timing in row['milliseconds'].items()}


_FORM = dict(
    conditions=dict(device=str, type=str, threads=int, shape=[int], pretrain_img_size=int,
                    dtype=str, compiled=bool, torch=str),
    factor=_positive,
    parts=[_part],
    references={str: dict(milliseconds=_positive, params=_positive, macs=_positive)})


def _say(value: object) -> str:
    if isinstance(value, tuple):
        return ' x '.join(map(str, value)) + ' px'
    return str(value)
