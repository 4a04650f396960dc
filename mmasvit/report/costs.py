"""What a model costs, for a page."""
from typing import Dict, List, Optional, Tuple

from mmasvit.report.page import Section, Table, Tile, number

Costs = Dict[str, Optional[int]]  # of mmasvit.analysis.measure


def tiles(costs: Costs, seconds: float, device: str) -> List[Tile]:
    """Speed and size to see first."""
    macs, which = costs['macs'], 'whole model'
    if macs is None:
        macs, which = costs['backbone_macs'], 'backbone alone'
    milliseconds = 1000 * seconds
    return [Tile('ms an image', number(milliseconds, 0 if milliseconds >= 100 else 1),
                 f'median, {device}'),
            Tile('M parameters', number(costs['params'] / 1e6, 2)),
            Tile('GMACs', number(macs / 1e9, 2), which)]


def section(costs: Costs, shape: Tuple[int, int], seconds: float,
            device: str) -> Section:
    """Speed and cost."""
    rows = []
    for name, prefix in (('model', ''), ('backbone', 'backbone_')):
        macs = costs[f'{prefix}macs']
        rows.append([name, number(costs[f'{prefix}params'] / 1e6),
                     number(macs and macs / 1e9)])
    return Section(
        'Speed and cost', [Table(['', 'parameters (M)', 'multiply-accumulates (G)'],
                                 rows)],
        f'{seconds:.4f} s an image (median, one at a time, {device}); input of '
        f'{shape[0]} × {shape[1]} pixels.')
