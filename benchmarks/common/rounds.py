"""Networks timed in turn."""
import statistics
from typing import List, NamedTuple, Optional

import torch
from common.contestants import Case, make_step, peak_memory

from mmasvit.benchmarking import Timing, alternate

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16}
EXECUTION = ('eager', 'compiled')


class Row(NamedTuple):
    """What was measured of one case.

    Attributes:
        case: Which.
        seconds: Of a step, over the rounds.
        rate: Work per second, from the median: operations, of a detector images.
        ratios: Rate of the first network over this one's, over the rounds.
        peak: Peak memory in bytes; None if not measured.
    """
    case: Case
    seconds: Timing
    rate: float
    ratios: Timing
    peak: Optional[int]


def measure(cases: List[Case], rounds: int, memory: bool) -> List[Row]:
    """Time cases of different networks in turn."""
    seconds = alternate({case.name: make_step(case) for case in cases}, rounds,
                        warm_ups=2 if cases[0].compiled else 1)
    first = [cases[0].work / s for s in seconds[cases[0].name]]
    rows = []
    for case in cases:
        rates = [case.work / s for s in seconds[case.name]]
        rows.append(Row(case, Timing.of(seconds[case.name]), statistics.median(rates),
                        Timing.of([a / b for a, b in zip(first, rates)]),
                        peak_memory(case) if memory else None))
    return rows


def title_of(case: Case) -> str:
    """What the networks of one table have in common."""
    return (f'{case.mode}, {case.size} px, {case.batch_size} '
            f'image{"s" * (case.batch_size > 1)}, {case.precision}, '
            f'{EXECUTION[case.compiled]}')
