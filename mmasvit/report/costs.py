"""What a model costs, for a page."""
from typing import Dict, List, Optional, Tuple

import torch
from mmengine.config import Config

from mmasvit import analysis
from mmasvit.report.page import Section, Table, Tile, number

Costs = Dict[str, Tuple[int, Optional[int]]]  # parameters and multiply-accumulates


def count(cfg: Config, shape: Tuple[int, int]) -> Costs:
    """Costs of the backbone and, where every operator of it can be counted, the model.

    Args:
        cfg: A config with a model.
        shape: Height and width of an image in pixels.
    """
    model = analysis.build_to_count(cfg)
    images = torch.rand(1, 3, *shape)
    try:
        macs = analysis.count_model_macs(model, shape, analysis.is_detector(cfg))
    except (RuntimeError, NotImplementedError, TypeError):
        macs = None  # an operator of unknown cost, or a model that has no such mode
    return dict(
        model=(_parameters(model), macs),
        backbone=(_parameters(model.backbone),
                  analysis.count_macs(lambda: model.backbone(images))))


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def tiles(costs: Costs, seconds: float, device: str) -> List[Tile]:
    """Speed and size to see first."""
    parameters, macs = costs['model']
    which = 'whole model'
    if macs is None:
        macs, which = costs['backbone'][1], 'backbone alone'
    milliseconds = 1000 * seconds
    digits = 0 if milliseconds >= 100 else 1
    return [Tile('ms an image', f'{milliseconds:.{digits}f}', f'median, {device}'),
            Tile('M parameters', number(parameters / 1e6, 2)),
            Tile('GMACs', number(macs / 1e9, 2), which)]


def section(costs: Costs, shape: Tuple[int, int], seconds: float,
            device: str) -> Section:
    """Speed and cost."""
    rows = [[name, number(parameters / 1e6), number(macs and macs / 1e9)]
            for name, (parameters, macs) in costs.items()]
    return Section(
        'Speed and cost', [Table(['', 'parameters (M)', 'multiply-accumulates (G)'],
                                 rows)],
        f'{seconds:.4f} s an image (median, one at a time, {device}); input of '
        f'{shape[0]} × {shape[1]} pixels.')
