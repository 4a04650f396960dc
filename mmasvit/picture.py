"""The architecture of a topology as one picture."""
import itertools
from pathlib import Path
from typing import List, NamedTuple, Tuple, Union

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle

from mmasvit.errors import InputError
from mmasvit.files import replacing
from mmasvit.geometry import PRETRAIN_IMG_SIZE, TOKEN_STRIDE, lay_windows, token_grids
from mmasvit.topology import Topology

PAPER, INK, GREY = '#fcfcfa', '#20303c', '#6b7a86'
ACCENT = '#e2642c'  # kernels: what one token is made of
ATTENTION = ('#5fa8b8', '#3f8fa6', '#2b7390', '#1f5878')  # deeper with the stage
FFN = ('#cfe5e8', '#bfdbe2', '#aecfdb', '#9cc2d2')

# In inches.
WIDTH, HEIGHT = 13.6, 7.0
SIDE, GAP, LEFT = 1.9, 0.8, 0.45  # of the maps
MAPS, STACKS, FOOT = 3.75, 2.55, 0.4  # foot of the maps, top and foot of the blocks
LEGEND = 0.95  # foot of the legend
SIZES = (32, 2048)
UNIT = 0.07  # height of one weight per channel squared, where there is room


class _Stage(NamedTuple):
    """What is drawn of one stage; tokens, windows and kernel along one side."""
    tokens: int
    edge: int  # of a window, in tokens
    windows: int
    kernel: int  # that its tokens are made with, in pixels or tokens of the map before
    stride: int
    depth: int
    width: int
    heads: int
    head_dims: int
    expansion: int


def draw_topology(topology: Topology, title: str = '',
                  image_size: int = PRETRAIN_IMG_SIZE) -> Figure:
    """Draw maps, windows, kernels and blocks of a backbone.

    Every map shows the whole image, in as many tokens as the stage has and in the windows
    that attention stays in. The small squares are two neighbouring kernels, and lead to
    the token that the first one makes. Below each map hang the stage's blocks: as wide as
    their channels, as high as their weights per channel squared (4 for attention, 2E for
    the FFN).

    Args:
        topology: What to draw.
        title: Name that stands before the genotype.
        image_size: Side of a square image in pixels.

    Returns:
        A figure on a light ground of its own, which belongs to no backend.

    Raises:
        InputError: If the image is smaller than a token of the last stage, or so large
            that its tokens could not be seen.
    """
    if not SIZES[0] <= image_size <= SIZES[1]:
        raise InputError(f'image size must be from {SIZES[0]} to {SIZES[1]} pixels, got '
                         f'{image_size}')
    stages = _stages(topology, image_size)
    unit = _block_unit(stages)
    foot = min(LEGEND, STACKS - unit * _highest(stages)) - FOOT
    figure = Figure(figsize=(WIDTH, HEIGHT - foot), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(foot, HEIGHT), aspect='equal')
    axes.set_axis_off()
    _write_title(axes, topology, title, image_size)
    _draw_image(axes, image_size)
    for number, stage in enumerate(stages):
        _draw_map(axes, number, stage)
        _draw_blocks(axes, number, stage, max(topology.widths), unit)
    sides = [image_size, *(stage.tokens for stage in stages)]
    for number, stage in enumerate(stages):
        _draw_kernel(axes, number, stage, sides[number])
    _draw_legend(axes)
    return figure


def save_picture(figure: Figure, path: Union[str, Path]) -> None:
    """Write a figure as its name says, the same bytes each time; whole or not at all.

    Raises:
        InputError: If the name ends in neither .svg nor .png, or cannot be written.
    """
    kind = Path(path).suffix.lower()
    if kind not in ('.svg', '.png'):
        raise InputError(f'a picture ends in .svg or .png, not {path}')
    with replacing(path) as temporary, rc_context({'svg.hashsalt': 'mmasvit'}):
        figure.savefig(temporary, format=kind[1:], dpi=150,
                       metadata={'Date': None} if kind == '.svg' else None)


def _stages(topology: Topology, image_size: int) -> List[_Stage]:
    """What the topology makes of a square image."""
    stages = []
    for i, (tokens, _) in enumerate(token_grids((image_size, image_size))):
        window = lay_windows(tokens, image_size, topology.splits[i])
        stages.append(_Stage(
            tokens, window.edge, window.count, topology.kernels[i],
            2 if i else TOKEN_STRIDE, topology.depths[i], topology.widths[i],
            topology.heads[i], topology.head_dims[i], topology.expansions[i]))
    return stages


def _highest(stages: List[_Stage]) -> int:
    """Height of the highest stack: its blocks, with a gap of one unit after each."""
    return max(stage.depth * (5 + 2 * stage.expansion) for stage in stages)


def _block_unit(stages: List[_Stage]) -> float:
    """Height of one weight per channel squared, in inches."""
    return min(UNIT, (STACKS - FOOT) / _highest(stages))


def _left(column: int) -> float:
    """Left edge of a column: 0 is the image, 1 to 4 are the stages."""
    return LEFT + column * (SIDE + GAP)


def _text(axes: Axes, x: float, y: float, text: str, size: float = 9,
          **options) -> None:
    axes.text(x, y, text, **dict(dict(fontsize=size, color=INK, va='center'), **options))


def _write_title(axes: Axes, topology: Topology, title: str, image_size: int) -> None:
    macs = topology.count_macs((image_size, image_size))
    size = f'{topology.count_params() / 1e6:.1f} M parameters, {macs / 1e9:.1f} GMACs'
    _text(axes, LEFT, HEIGHT - 0.5, title or 'As-ViT', 17, weight='bold')
    _text(axes, _left(1), HEIGHT - 0.5, str(topology), 11.5, family='monospace')
    _text(axes, WIDTH - LEFT, HEIGHT - 0.5, f'backbone: {size} at {image_size} px', 11.5,
          ha='right')


def _draw_image(axes: Axes, image_size: int) -> None:
    """A picture that stands for any, and its size."""
    x, y = _left(0), MAPS
    frame = Rectangle((x, y), SIDE, SIDE, facecolor='#dcebf2', edgecolor='none')
    axes.add_patch(frame)
    sun = Circle((x + 0.68 * SIDE, y + 0.72 * SIDE), 0.1 * SIDE, color='#f6d488')
    far = Polygon([(x, y), (x, y + 0.38 * SIDE), (x + 0.3 * SIDE, y + 0.66 * SIDE),
                   (x + 0.62 * SIDE, y + 0.3 * SIDE), (x + SIDE, y + 0.52 * SIDE),
                   (x + SIDE, y)], color='#b4cdbf')
    near = Polygon([(x, y), (x, y + 0.16 * SIDE), (x + 0.45 * SIDE, y + 0.34 * SIDE),
                    (x + SIDE, y + 0.1 * SIDE), (x + SIDE, y)], color='#93b5a2')
    for shape in (sun, far, near):
        axes.add_patch(shape)
        shape.set_clip_path(frame)
    _text(axes, x, y + SIDE + 0.2, 'Image', 11, weight='bold')
    _text(axes, x, y - 0.2, f'{image_size} × {image_size} pixels', 9)


def _draw_map(axes: Axes, number: int, stage: _Stage) -> None:
    """Tokens in their windows, with what is said about them."""
    x, y, token = _left(number + 1), MAPS, SIDE / stage.tokens
    gap = min(0.035, token / 2) if stage.windows > 1 else 0
    starts = range(0, stage.tokens, stage.edge)
    for column, row in itertools.product(starts, starts):
        width, height = (token * (min(start + stage.edge, stage.tokens) - start) - gap
                         for start in (column, row))
        # rows are counted from the top, where a smaller last window comes last
        corner = (x + column * token + gap / 2,
                  y + SIDE - row * token - gap / 2 - height)
        axes.add_patch(Rectangle(corner, width, height, color=FFN[number], linewidth=0))
        axes.add_patch(Rectangle(corner, width, height, fill=False, zorder=2.5,
                                 edgecolor=ATTENTION[number],
                                 linewidth=0.9 if stage.windows < 8 else 0.5))
    lines = [i * token for i in range(1, stage.tokens) if i % stage.edge]
    axes.add_collection(LineCollection(
        [[(x + at, y), (x + at, y + SIDE)] for at in lines]
        + [[(x, y + SIDE - at), (x + SIDE, y + SIDE - at)] for at in lines],
        colors=PAPER, linewidths=min(0.9, 12 * token), zorder=1.5))
    for at in (start * token for start in starts if start and gap):
        axes.add_patch(Rectangle((x + at - gap / 2, y), gap, SIDE, color=PAPER, zorder=2))
        axes.add_patch(Rectangle((x, y + SIDE - at - gap / 2), SIDE, gap, color=PAPER,
                                 zorder=2))
    pixels = TOKEN_STRIDE * 2**number
    _text(axes, x, y + SIDE + 0.2, f'Stage {number + 1}', 11, weight='bold')
    _text(axes, x + SIDE, y + SIDE + 0.2, f'stride {pixels}', 9, color=GREY, ha='right')
    _text(axes, x, y - 0.2, f'{stage.tokens} × {stage.tokens} tokens', 9)
    windows = ('one window' if stage.windows == 1 else
               f'{stage.windows} × {stage.windows} windows of {stage.edge} × {stage.edge}')
    _text(axes, x, y - 0.42, windows, 9, weight='bold' if stage.windows > 1 else 'normal')


def _draw_kernel(axes: Axes, number: int, stage: _Stage, side: int) -> None:
    """Two neighbouring kernels on a map of ``side``, and the token that one makes."""
    cell, token = SIDE / side, SIDE / stage.tokens
    row, column = stage.tokens * 2 // 5, stage.tokens * 7 // 10
    before, after = _left(number), _left(number + 1)

    def square(row: int) -> Tuple[float, float, float]:
        """Left, foot and edge of the kernel of a token of that row."""
        first = [place * stage.stride - (stage.kernel - stage.stride) // 2
                 for place in (column, row)]
        edge = stage.kernel * cell
        return before + first[0] * cell, MAPS + SIDE - first[1] * cell - edge, edge

    x, y, edge = square(row)
    target = after + column * token, MAPS + SIDE - (row + 1) * token
    axes.add_patch(Polygon(
        [(x + edge, y + edge), (target[0], target[1] + token), target, (x + edge, y)],
        facecolor=ACCENT, edgecolor='none', alpha=0.2, zorder=3))
    axes.add_patch(Rectangle(target, token, token, color=ACCENT, zorder=4))
    below = square(row + 1)
    axes.add_patch(Rectangle(below[:2], edge, edge, fill=False, edgecolor=ACCENT,
                             linewidth=0.9, linestyle=(0, (2, 1.2)), zorder=4))
    axes.add_patch(Rectangle((x, y), edge, edge, facecolor=ACCENT + '40',
                             edgecolor=ACCENT, linewidth=1.2, zorder=4))
    middle = after - GAP / 2
    _text(axes, middle, MAPS + 0.42, f'{stage.kernel} × {stage.kernel}', 11, ha='center',
          color=ACCENT, weight='bold')
    unit = ' px' if number == 0 else ''
    _text(axes, middle, MAPS + 0.22, f'every {stage.stride}{unit}', 8, ha='center',
          color=GREY)


def _draw_blocks(axes: Axes, number: int, stage: _Stage, widest: int,
                 unit: float) -> None:
    """The stage's blocks, hanging under its map."""
    x, y = _left(number + 1), STACKS
    plural = 's' * (stage.depth > 1)
    _text(axes, x, STACKS + 0.45, f'{stage.depth} block{plural}', 11, weight='bold')
    _text(axes, x + SIDE, STACKS + 0.45, f'{stage.width} channels', 9, ha='right')
    _text(axes, x, STACKS + 0.21, f'{stage.heads} heads of {stage.head_dims}', 9)
    _text(axes, x + SIDE, STACKS + 0.21, f'FFN × {stage.expansion}', 9, ha='right')
    for _ in range(stage.depth):
        y = _draw_block(axes, (x, y), SIDE * stage.width / widest, unit, stage,
                        (ATTENTION[number], FFN[number])) - unit


def _draw_block(axes: Axes, corner: Tuple[float, float], width: float, unit: float,
                stage: _Stage, colours: Tuple[str, str]) -> float:
    """One block below its upper left corner; returns where it ends."""
    (x, y), (attention, ffn) = corner, colours
    y -= 4 * unit
    axes.add_patch(Rectangle((x, y), width, 4 * unit, color=attention, linewidth=0))
    # a head's share of the width; what the heads leave over is left over here too
    head = width * stage.head_dims / stage.width
    if head > 0.02:
        axes.add_collection(LineCollection(
            [[(x + i * head, y), (x + i * head, y + 4 * unit)]
             for i in range(1, stage.heads)], colors=PAPER, linewidths=0.5))
    y -= 2 * stage.expansion * unit
    axes.add_patch(Rectangle((x, y), width, 2 * stage.expansion * unit, color=ffn,
                             linewidth=0))
    return y


def _draw_legend(axes: Axes) -> None:
    """How to read the blocks and the squares."""
    x, y = _left(0), STACKS
    example = _Stage(1, 1, 1, 1, 1, 1, width=4, heads=4, head_dims=1, expansion=4)
    _text(axes, x, y + 0.45, 'How to read it', 9, weight='bold', color=GREY)
    _draw_block(axes, (x, y + 0.2), 0.5, 0.05, example, (ATTENTION[1], FFN[1]))
    _text(axes, x + 0.62, y + 0.1, 'attention, a cell a head', 7.5, color=GREY)
    _text(axes, x + 0.62, y - 0.2, 'FFN', 7.5, color=GREY)
    for line, text in enumerate(('as wide as its channels,',
                                 'as high as weights / channels²')):
        _text(axes, x, y - 0.58 - 0.17 * line, text, 7.5, color=GREY)
    axes.add_patch(Rectangle((x, y - 1.36), 0.24, 0.24, facecolor=ACCENT + '40',
                             edgecolor=ACCENT, linewidth=1.2))
    _text(axes, x + 0.36, y - 1.15, 'kernel: what one token', 7.5, color=GREY)
    _text(axes, x + 0.36, y - 1.32, 'is made of; the next one', 7.5, color=GREY)
    _text(axes, x + 0.36, y - 1.49, 'is dashed', 7.5, color=GREY)
