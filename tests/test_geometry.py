"""Token grids and windows: integer rules against brute force."""
import math
from itertools import product

import pytest

from mmasvit.geometry import WindowRule, lay_windows, token_grids
from mmasvit.topology import FAMILY


@pytest.mark.parametrize('size, stride, grids', [
    ((224, 224), 4, ((56, 56), (28, 28), (14, 14), (7, 7))),
    ((256, 309), 4, ((64, 78), (32, 39), (16, 20), (8, 10))),
    ((511, 511), 16, ((32, 32), (16, 16), (8, 8), (4, 4))),
    ((4, 5), 4, ((1, 2), (1, 1), (1, 1), (1, 1))),
])
def test_token_grids_round_up(size, stride, grids):
    assert token_grids(size, stride) == grids


def test_windows_by_brute_force():
    """Every window holds a token; counts and edges follow the rule in pixels."""
    for splits, stride, pretrain in product(range(1, 9), (4, 8, 16, 32), (64, 224)):
        for pixels in (*range(stride, 700, 5), 1024, 1333, 2048):
            tokens = -(-pixels // stride)
            edge, count = lay_windows(tokens, pixels, splits, pretrain)
            wanted = max(1, math.floor(pixels / (pretrain / splits) + 0.5))
            assert edge == math.ceil(tokens / wanted)
            assert (count - 1) * edge < tokens <= count * edge
            assert 1 <= edge and 1 <= count <= wanted


def test_windows_of_detection():
    large = FAMILY['large']
    assert [lay_windows(grid[0], 1024, splits).edge
            for grid, splits in zip(token_grids((1024, 1024)), large.splits)
            ] == [29, 26, 13, 7]


@pytest.mark.parametrize('splits', [1, 2, 4, 8])
@pytest.mark.parametrize('pretrain', [64, 224, 256])
def test_splits_are_met_at_the_size_of_pre_training(splits, pretrain):
    tokens = pretrain // 4
    edge, count = lay_windows(tokens, pretrain, splits, pretrain)
    assert (edge, count) == (tokens // splits, splits)


def test_field_of_view_does_not_depend_on_the_token_stride():
    for pixels in (224, 448, 896):
        fields = {stride * lay_windows(pixels // stride, pixels, 2).edge
                  for stride in (4, 8, 16)}
        assert fields == {112}


def test_runs_by_brute_force():
    """Windows laid one after the other, cut at the border, one token at a time."""
    for splits, stride, pretrain in product((1, 2, 4), (4, 16), (64, 224)):
        for pixels in range(stride, 500, 7):
            tokens = -(-pixels // stride)
            edge = lay_windows(tokens, pixels, splits, pretrain).edge
            met = [(start, min(start + edge, tokens)) for start in range(0, tokens, edge)]
            runs = WindowRule(splits, pretrain).runs(tokens, pixels)
            assert met == [(start, start + run.edge) for run in runs
                           for start in range(run.start, run.start + run.length, run.edge)]
