"""Making a table, and holding it beside whole networks that it never saw."""
from dataclasses import replace
from importlib.util import find_spec
from math import exp, log
from statistics import median
from typing import Dict, List, NamedTuple, Sequence, Tuple

import torch
from mmengine.registry import MODELS
from scipy.stats import spearmanr
from torch import nn

from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.arguments import whole_number
from mmasvit.benchmarking import Timing
from mmasvit.latency.conditions import Conditions
from mmasvit.latency.parts import Part, parts_of_space
from mmasvit.latency.table import LatencyTable
from mmasvit.latency.timing import Step, build_part, time_steps
from mmasvit.models.as_vit import AsViT
from mmasvit.random import Purpose, generator
from mmasvit.search.space import Space
from mmasvit.topology import MAX_WIDTH, NUM_STAGES, Topology

MOST_DEPTH = 3  # of a stage of random networks
CALIBRATING = 8  # whole networks that a table is calibrated with


def _swin(dims: int, blocks: int) -> dict:
    return dict(type='mmdet.SwinTransformer', embed_dims=dims, depths=(2, 2, blocks, 2),
                num_heads=tuple(dims // 32 * 2**i for i in range(4)))


REFERENCES = {
    'Swin-T': _swin(96, 6), 'Swin-S': _swin(96, 18), 'Swin-B': _swin(128, 18),
    **{f'ResNet-{depth}': dict(type='mmdet.ResNet', depth=depth)
       for depth in (18, 34, 50, 101)},
    **{f'As-ViT-{name[0].upper()}': dict(type='AsViT', arch=name)
       for name in ('small', 'base', 'large')}}


def profile(conditions: Conditions, widths: Sequence[int], rounds: int,
            references: bool = True) -> LatencyTable:
    """Time all parts of Table 1 at some widths, and whole networks to calibrate with.

    All of them in turn, so that a device that slows down does so for all.

    Args:
        conditions: Those of this process.
        widths: Widths C of the first stage.
        rounds: How often each is timed at least.
        references: Whether to time Swin, ResNet and the paper's family too. Defaults to
            True.

    Raises:
        InputError: If a width is none, or too narrow for the space's heads.
    """
    widths = sorted({whole_number('--widths', width, 8, MAX_WIDTH) for width in widths})
    whole = random_topologies(widths, CALIBRATING, Purpose.CALIBRATION, 0)
    others, known = _references(conditions) if references else ({}, {})
    parts: Dict[Tuple[Part, int], Step] = {
        (part, width): conditions.step(*build_part(
            part, width, conditions.shape, conditions.pretrain_img_size))
        for part in parts_of_space() for width in widths}
    timed = time_steps({**parts, **_steps(whole, conditions), **others}, rounds)
    times: Dict[Part, Dict[int, Timing]] = {}
    for part, width in parts:
        times.setdefault(part, {})[width] = timed[part, width]
    table = LatencyTable(conditions, times)
    return replace(table, factor=median(
        timed[topology].median / table.milliseconds(topology) for topology in whole),
        references={name: dict(milliseconds=timed[name].median, **known[name])
                    for name in others})


def _steps(topologies: Sequence[Topology], conditions: Conditions
           ) -> Dict[Topology, Step]:
    """A call of the whole backbone of each."""
    image = torch.rand(1, 3, *conditions.shape)
    return {topology: conditions.step(AsViT(
        topology, pretrain_img_size=conditions.pretrain_img_size), image)
        for topology in topologies}


def _references(conditions: Conditions) -> Tuple[Dict[str, Step], Dict[str, dict]]:
    """Calls of other backbones, and their parameters and multiply-accumulates.

    Without mmdet there are only the paper's.
    """
    image, steps, known = torch.rand(1, 3, *conditions.shape), {}, {}
    for name, cfg in REFERENCES.items():
        if cfg['type'].startswith('mmdet.') and not find_spec('mmdet'):
            continue
        if cfg['type'] == 'AsViT':
            cfg = dict(cfg, pretrain_img_size=conditions.pretrain_img_size)
        model = MODELS.build(cfg)
        known[name] = dict(params=sum(p.numel() for p in model.parameters()),
                           macs=_macs(MODELS.build(cfg), conditions.shape))
        steps[name] = conditions.step(model, image)
    return steps, known


def _macs(model: nn.Module, shape: Tuple[int, int]) -> int:
    model.to('meta').eval()
    use_explicit_paths(model)
    return count_macs(lambda: model(torch.empty(1, 3, *shape, device='meta')))


def random_topologies(widths: Sequence[int], number: int, purpose: Purpose, seed: int
                      ) -> List[Topology]:
    """Topologies of Table 1 with random depths, and random widths within some.

    Args:
        widths: Of several, most widths that are drawn lie between them.
        number: How many.
        purpose: Of the draws.
        seed: Of the draws.
    """
    space, draw = Space(), generator(purpose, seed)
    low, high = min(widths), max(widths)
    found: Dict[Topology, None] = {}
    while len(found) < number:
        shares = torch.rand(len(space.choices) + NUM_STAGES + 1, generator=draw).tolist()
        choice = tuple(int(share * len(values)) for share, values
                       in zip(shares, space.choices.values()))
        depths = tuple(1 + int(share * MOST_DEPTH) for share in shares[-NUM_STAGES:])
        width = round(exp(log(low) + shares[-NUM_STAGES - 1] * log(high / low)))
        found[replace(space.topology(choice), depths=depths, embed_dims=width)] = None
    return list(found)


class Comparison(NamedTuple):
    """Predictions beside what was measured.

    Attributes:
        rows: Topology, milliseconds predicted and measured, and the error's share of the
            latter.
    """
    rows: List[Tuple[Topology, float, float, float]]

    @property
    def median(self) -> float:
        """Median size of the errors."""
        return median(abs(error) for *_, error in self.rows)

    @property
    def worst(self) -> float:
        """Largest size of the errors."""
        return max(abs(error) for *_, error in self.rows)

    @property
    def rank_correlation(self) -> float:
        """Spearman's."""
        _, predicted, measured, _ = zip(*self.rows)
        return float(spearmanr(predicted, measured).statistic)


def compare(table: LatencyTable, number: int, seed: int, rounds: int) -> Comparison:
    """Hold a table beside whole networks that it never saw, timed now and in turn.

    Args:
        table: The table.
        number: How many.
        seed: Seed of the draws.
        rounds: How often each is timed.

    Raises:
        InputError: If this process is not what the table was made on.
    """
    here = Conditions.here(table.conditions.type, *table.conditions[3:7])
    table.check(here._asdict())
    topologies = random_topologies(table.widths, number, Purpose.UNSEEN, seed)
    timed = time_steps(_steps(topologies, table.conditions), rounds)
    rows = [(topology, table.milliseconds(topology), timed[topology].median)
            for topology in topologies]
    return Comparison([(*row, row[1] / row[2] - 1) for row in rows])
