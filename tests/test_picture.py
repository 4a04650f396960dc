"""The picture of an architecture: what it says, and that all of it can be read."""
import itertools
import random

import numpy as np
import pytest
from helpers import call, fails
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from mmasvit.picture import ACCENT, ATTENTION, FFN, LEFT, STACKS, draw_topology
from mmasvit.search.space import Space
from mmasvit.topology import FAMILY, Topology

TOOL = 'tools/draw_topology.py'
DEEP = '5,8,6,9|3,4,2,13|2,2,5,12|4,1,6,14|64,99'


def drawn_topologies():
    rng, space = random.Random(0), Space()
    for _ in range(2):
        choice = [rng.randrange(len(values)) for values in space.choices.values()]
        yield space.topology(tuple(choice))
    yield FAMILY['large']
    yield Topology.parse(DEEP)


@pytest.mark.parametrize('image_size', [32, 224, 500])
def test_nothing_overlaps_or_leaves_the_picture(image_size):
    for topology in drawn_topologies():
        figure = draw_topology(topology, 'As-ViT, a name', image_size)
        page = figure.bbox
        boxes = [text.get_window_extent() for text in figure.findobj(Text)
                 if text.get_text()]
        shapes = [patch.get_window_extent() for patch in figure.axes[0].patches
                  if patch.get_fill()]
        for box in boxes + shapes:
            assert page.x0 <= box.x0 and box.x1 <= page.x1, topology
            assert page.y0 <= box.y0 and box.y1 <= page.y1, topology
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other), topology


def rectangles(figure, colour):
    found = [patch for patch in figure.findobj(Rectangle)
             if patch.get_facecolor()[:3] == pytest.approx(
                 [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)])]
    return [patch for patch in found if patch.get_fill()]


@pytest.mark.parametrize('arch', ['seed', 'large', DEEP])
def test_blocks_are_drawn_to_scale(arch):
    """Area times width is the number of a block's weights, with one scale for all."""
    topology = Topology.of(arch)
    figure, scales = draw_topology(topology), []
    for i, depth in enumerate(topology.depths):
        for colour, share in ((ATTENTION[i], 4), (FFN[i], 2 * topology.expansions[i])):
            below = [patch for patch in rectangles(figure, colour)
                     if patch.get_y() < STACKS and patch.get_x() > LEFT]
            assert len(below) == depth
            scales += [patch.get_width()**2 * patch.get_height()
                       / (share * topology.widths[i]**2) for patch in below]
    assert np.ptp(scales) < 1e-9 * scales[0]


def test_windows_are_those_that_attention_lays():
    figure = draw_topology(Topology.of('8,2,3|4,4,2|4,1,2|4,1,2|32'))
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert '2 × 2 windows of 28 × 28' in texts and '4 × 4 windows of 7 × 7' in texts
    assert texts.count('one window') == 2


def test_a_token_lies_in_the_kernel_that_makes_it():
    """On every map but the first and last: token, kernel and position fit together."""
    figure = draw_topology(Topology.of('large'))
    tokens = [patch for patch in rectangles(figure, ACCENT)
              if patch.get_facecolor()[3] == 1]
    kernels = [patch for patch in rectangles(figure, ACCENT)
               if patch.get_facecolor()[3] < 1][:4]
    assert len(tokens) == len(kernels) == 4
    for token, kernel in zip(tokens[:3], kernels[1:]):
        for place in ('x', 'y'):
            low = getattr(kernel, f'get_{place}')()
            inside = getattr(token, f'get_{place}')()
            assert low - 1e-9 <= inside
            assert inside + token.get_width() <= low + kernel.get_width() + 1e-9


def test_tool_writes_the_same_picture_each_time(tmp_path):
    for name in ('one.svg', 'two.svg', 'three.png'):
        assert call(TOOL, 'large', '--out', tmp_path / name)[0] == 0
    one = (tmp_path / 'one.svg').read_bytes()
    assert one == (tmp_path / 'two.svg').read_bytes() and b'<svg' in one
    assert (tmp_path / 'three.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('words, message', [
    (['huge', '--out', 'a.svg'], 'unknown arch'),
    (['large', '--out', 'a.jpg'], '.svg or .png'),
    (['large', '--out', 'a.svg', '--image-size', '8'], 'image size must be from 32'),
    (['large', '--out', '/proc/none/a.svg'], 'cannot be written'),
    (['large'], '--out')])
def test_bad_input(words, message):
    assert message in fails(TOOL, *words)
