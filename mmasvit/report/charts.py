"""Charts as inline SVG whose colours are the page's, light or dark."""
import io
import re
from contextlib import contextmanager
from typing import Dict, Iterator, Optional, Sequence, Tuple

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

Points = Tuple[Sequence[float], Sequence[float]]  # x and y

# matplotlib is given colours that nobody draws with, and the page's variables take
# their place in what it writes: so one drawing serves both colour schemes.
_VARIABLES = ('ink', 'soft', 'line', 'c0', 'c1', 'c2', 'c3', 'c4', 'c5')
_COLOURS = {name: f'#0a0b{number:02x}' for number, name in enumerate(_VARIABLES, 1)}
SERIES = [_COLOURS[f'c{number}'] for number in range(6)]
SOFT = _COLOURS['soft']
_SETTINGS = {
    'svg.fonttype': 'none', 'svg.hashsalt': 'mmasvit', 'text.parse_math': False,
    'font.size': 9, 'text.color': _COLOURS['ink'], 'axes.edgecolor': _COLOURS['line'],
    'axes.labelcolor': _COLOURS['soft'], 'xtick.color': _COLOURS['line'],
    'ytick.color': _COLOURS['line'], 'xtick.labelcolor': _COLOURS['soft'],
    'ytick.labelcolor': _COLOURS['soft'], 'grid.color': _COLOURS['line'],
    'axes.grid': True, 'grid.linewidth': 0.6, 'axes.spines.top': False,
    'axes.spines.right': False, 'axes.axisbelow': True, 'legend.frameon': False,
    'legend.fontsize': 8, 'lines.linewidth': 1.6, 'figure.constrained_layout.use': True,
}
_UNWANTED = {'Date': None, 'Creator': None, 'Format': None, 'Type': None}
MAX_POINTS = 600  # of a line: as many as can be seen


@contextmanager
def drawing(width: float = 4.6, height: float = 2.7) -> Iterator[Tuple[Axes, list]]:
    """Axes to draw into, and a list that gets the SVG when they are left.

    Args:
        width: In inches; the page scales the drawing to its column.
        height: In inches.
    """
    result = []
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width, height))
        yield figure.add_subplot(), result
        file = io.BytesIO()
        figure.savefig(file, format='svg', transparent=True, metadata=_UNWANTED)
    result.append(_inline(file.getvalue().decode('utf-8')))


def _inline(svg: str) -> Markup:
    """An SVG file as part of a page: its size, fonts and colours the page's."""
    svg = svg[svg.index('<svg'):]
    svg = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">',
                 svg, count=1)
    svg = re.sub(r'<(metadata|style)\b.*?</\1>', '', svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;", '', svg)
    svg = re.sub(r'<g id="[^"]*">', '<g>', svg).replace('xlink:href', 'href')
    for name, colour in _COLOURS.items():
        svg = svg.replace(colour, f'var(--{name})')
    return Markup(re.sub(r'\s*\n\s*', ' ', svg))


def lines(series: Dict[str, Points], x_label: str = '', y_label: str = '',
          y_limits: Tuple[Optional[float], Optional[float]] = (None, None),
          log: bool = False, markers: bool = False, faint: Sequence[str] = (),
          x_limits: Optional[Tuple[float, float]] = None) -> Markup:
    """Lines over a common axis.

    Args:
        series: Points by label; a label that begins with ``_`` has no entry in the
            legend.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical one.
        y_limits: Lowest and highest value shown; None for what the points ask for.
        log: Whether the vertical axis is logarithmic.
        markers: Whether each point is marked.
        faint: Labels of series that stand back.
        x_limits: Range of the horizontal axis.
    """
    with drawing() as (axes, result):
        colours = iter(SERIES * (len(series) // len(SERIES) + 1))
        for label, (x, y) in series.items():
            step = max(1, len(x) // MAX_POINTS)
            style = (dict(color=SOFT, alpha=0.35, linewidth=0.9, zorder=1)
                     if label in faint else dict(color=next(colours)))
            axes.plot(x[::step], y[::step], marker='o' if markers else None,
                      markersize=3.5, label=label, **style)
        axes.set(xlabel=x_label, ylabel=y_label, ylim=y_limits)
        if x_limits:
            axes.set_xlim(x_limits)
        if log:
            axes.set_yscale('log')
            plain_numbers(axes.yaxis)
        _legend(axes)
    return result[0]


def points(x: Sequence[float], y: Sequence[float], x_label: str, y_label: str,
           log: bool = False) -> Markup:
    """A cloud of points."""
    with drawing(3.6, 2.7) as (axes, result):
        axes.scatter(x, y, s=14, color=SERIES[0], alpha=0.75, linewidths=0)
        axes.set(xlabel=x_label, ylabel=y_label)
        if log:
            axes.set_xscale('log')
            plain_numbers(axes.xaxis)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
    return result[0]


def bars(values: Dict[str, float], highlight: str = '', limit: Optional[float] = None,
         line: Optional[float] = None) -> Markup:
    """Upright bars, one of them in the page's colour.

    Args:
        values: Heights by name.
        highlight: Name of the one that matters.
        limit: Height of the axis.
        line: Height of a dashed line to compare with.
    """
    with drawing(2.6, 1.9) as (axes, result):
        colours = [SERIES[0] if name == highlight else SOFT for name in values]
        axes.bar(list(values), list(values.values()), color=colours, width=0.7)
        axes.set_ylim(0, limit)
        axes.grid(visible=False, axis='x')
        if line is not None:
            axes.axhline(line, color=SOFT, linewidth=0.9, linestyle='--')
    return result[0]


def _legend(axes: Axes) -> None:
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(loc='best')


def plain_numbers(axis: Axis) -> None:
    """Numbers at a logarithmic axis without the formulas that nothing here would set."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_formatter(NullFormatter())
