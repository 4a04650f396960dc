"""A page: sections of plain data, and the template that makes html of them.

Everything that comes from a work directory reaches the template as text and is escaped
there; the only markup that passes through is the charts', made in
:mod:`mmasvit.report.charts`.
"""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, Optional, Sequence, Tuple, Union

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Tile:
    """A number to see first."""
    label: str
    value: str
    note: str = ''


@dataclass(frozen=True)
class Bar:
    """A table's cell with a bar behind it, as long as ``share`` of the cell (0 to 1)."""
    text: str
    share: float


Cell = Union[str, Bar]


@dataclass(frozen=True)
class Tiles:
    """Numbers side by side."""
    tiles: Sequence[Tile]
    kind: str = 'tiles'


@dataclass(frozen=True)
class Text:
    """A paragraph; a warning stands out."""
    text: str
    warning: bool = False
    kind: str = 'text'


@dataclass(frozen=True)
class Table:
    """Rows under a header: the first column is text, the others are set to the right.

    Beyond ``shown`` rows the rest is folded away.
    """
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ''
    shown: int = 30
    text_columns: int = 1
    kind: str = 'table'


@dataclass(frozen=True)
class Chart:
    """A drawing with its title and what it says."""
    title: str
    svg: Markup
    note: str = ''


@dataclass(frozen=True)
class Charts:
    """Charts in as many columns as fit, more of them if they are small."""
    charts: Sequence[Chart]
    small: bool = False
    kind: str = 'charts'


@dataclass(frozen=True)
class Matrix:
    """Counts, a row per truth and a column per prediction; shares (0 to 1) shade them."""
    rows: Sequence[str]
    columns: Sequence[str]
    counts: Sequence[Sequence[int]]
    shares: Sequence[Sequence[float]]
    caption: str = ''
    kind: str = 'matrix'


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""
    lines: Sequence[str]
    caption: str = ''
    kind: str = 'commands'


@dataclass(frozen=True)
class Shape:
    """Something marked in a picture.

    Args:
        box: x, y, width, height in pixels of the image.
        outcome: ``'right'``, ``'wrong'``, ``'missed'``, ``'found'`` or ``'crowd'``;
            decides the colour.
        title: What the pointer shows over it.
        label: Text drawn at the box, if any.
        outline: Polygons of its mask, each as SVG's ``points``.
    """
    box: Tuple[float, float, float, float]
    outcome: str
    title: str
    label: str = ''
    outline: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """One copy of a picture and what is marked in it."""
    title: str
    shapes: Sequence[Shape]


@dataclass(frozen=True)
class Picture:
    """An image, once, shown in one or more panels.

    Args:
        name: The file's name.
        note: What there is to see.
        uri: The image as a data URI.
        width: Its width in the pixels that the shapes are in.
        height: Its height.
        panels: What is drawn over it.
    """
    name: str
    note: str
    uri: str
    width: int
    height: int
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side: ``size`` is ``'small'``, ``'medium'`` or ``'wide'``."""
    pictures: Sequence[Picture]
    caption: str = ''
    size: str = 'medium'
    legend: bool = False
    kind: str = 'gallery'


Block = Union[Tiles, Text, Table, Charts, Matrix, Commands, Gallery]


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""
    title: str
    blocks: Sequence[Block]
    lead: str = ''

    @property
    def anchor(self) -> str:
        """Where the page's contents lead to."""
        return '-'.join(self.title.lower().split())


@dataclass(frozen=True)
class Page:
    """All of a page.

    Args:
        title: What the work directory is called.
        kind: What it holds, in a word or two.
        facts: Names and values under the title.
        tiles: Numbers of the first screen.
        sections: The rest, in order.
        notes: What is wrong or absent, told before everything else.
    """
    title: str
    kind: str
    facts: Dict[str, str]
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    notes: Sequence[str] = field(default_factory=list)


def render(page: Page) -> str:
    """Html of a page: whole, with nothing to fetch from elsewhere."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True)
    style = Markup((folder / 'page.css').read_text(encoding='utf-8'))
    return environment.get_template('page.html').render(page=page, style=style)


def table_of(values: Dict[str, object], header: Sequence[str] = ('', ''),
             caption: str = '') -> Table:
    """A table of two columns."""
    return Table(header, [(name, str(value)) for name, value in values.items()], caption,
                 text_columns=2)


def number(value: Optional[float], digits: int = 3) -> str:
    """A number for people: a dash where there is none."""
    if value is None or value != value:
        return '–'
    return f'{value:.{digits}f}'


def duration(seconds: float) -> str:
    """Seconds as ``'45 s'``, ``'12 min'`` or ``'3.4 h'``."""
    if seconds < 100:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 6000 else f'{seconds / 3600:.1f} h'
