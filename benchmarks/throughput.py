"""Speed and memory of As-ViT beside Swin and ConvNeXt, in one run.

    python benchmarks/throughput.py                     # As-ViT-L and Swin-B, 224 px
    python benchmarks/throughput.py --sizes 224 1024 --at-least 1
    python benchmarks/throughput.py --networks all --device cuda --precisions bf16 \
        --execution eager compiled --batch-sizes 64 4

All networks take turns in every round, so that a busy spell hits all of them; medians are
printed with their spread. GFLOP/s counts matrix products and convolutions only, as they
are computed (padding of windows included), a backward pass as two forward ones. A ratio is
the median over the rounds of the first network's GFLOP/s over another's in the same round:
``--at-least`` makes the run fail (status 1) where As-ViT, named first, does less per
second than a multiple of another network.
"""
import argparse
import statistics
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

import torch
from parts.contestants import (CONTESTANTS, MODES, Case, backbone_macs, check_names,
                               make_step, peak_memory)

from mmasvit.benchmarking import Timing, alternate, matrix_rate
from mmasvit.errors import InputError, one_line_errors
from mmasvit.files import write_json
from mmasvit.tables import print_table
from mmasvit.visualization import plt, save_figure

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16}
EXECUTION = ('eager', 'compiled')


class Row(NamedTuple):
    """What was measured of one case.

    Attributes:
        case: Which.
        seconds: Of a step, over the rounds.
        flops_per_second: From the median.
        ratios: GFLOP/s of the first network over this one's, over the rounds.
        peak: Peak memory in bytes; None if not measured.
    """
    case: Case
    seconds: Timing
    flops_per_second: float
    ratios: Timing
    peak: Optional[int]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--networks', nargs='+', metavar='NAME',
                        default=['asvit-large', 'swin-base'],
                        help=f"of {', '.join(CONTESTANTS)}; 'all'; an ending +checkpoint "
                        'recomputes blocks (default: %(default)s)')
    parser.add_argument('--sizes', type=int, nargs='+', default=[224], metavar='PX')
    parser.add_argument('--batch-sizes', type=int, nargs='+', metavar='N',
                        help='one per size; default: 4, and 1 from 512 px on')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES))
    parser.add_argument('--precisions', nargs='+', choices=PRECISIONS, default=['fp32'])
    parser.add_argument('--execution', nargs='+', choices=EXECUTION, default=['eager'])
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--no-memory', action='store_true',
                        help='leave peak memory out (it takes a process per case)')
    parser.add_argument('--at-least', type=float, metavar='RATIO',
                        help='fail if a ratio is below this')
    parser.add_argument('--out', default='work_dirs/throughput', metavar='DIR',
                        help='figure and json (default: %(default)s)')
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot be run, before anything is."""
    from mmasvit.engine.launch import check_device, check_writable
    if args.networks == ['all']:
        args.networks = list(CONTESTANTS)
    check_names(args.networks)
    if len(set(args.networks)) < len(args.networks):
        raise InputError('--networks: a name stands twice')
    args.batch_sizes = args.batch_sizes or [1 if size >= 512 else 4 for size in args.sizes]
    if len(args.batch_sizes) != len(args.sizes):
        raise InputError(f'--batch-sizes: expected {len(args.sizes)}, one per size, got '
                         f'{len(args.batch_sizes)}')
    if min(args.rounds, *args.batch_sizes) < 1 or min(args.sizes) < 32:
        raise InputError('--rounds and --batch-sizes must be at least 1, --sizes 32')
    check_device(args.device)
    check_writable(args.out)


def measure(cases: List[Case], rounds: int, memory: bool) -> List[Row]:
    """Time cases of different networks in turn."""
    seconds = alternate({case.name: make_step(case) for case in cases}, rounds,
                        warm_ups=2 if cases[0].compiled else 1)
    first = [cases[0].flops / s for s in seconds[cases[0].name]]
    rows = []
    for case in cases:
        rates = [case.flops / s for s in seconds[case.name]]
        rows.append(Row(case, Timing.of(seconds[case.name]), statistics.median(rates),
                        Timing.of([a / b for a, b in zip(first, rates)]),
                        peak_memory(case) if memory else None))
    return rows


def group(rows: List[Row]) -> Dict[str, List[Row]]:
    """Rows by what they have in common but the network."""
    groups: Dict[str, List[Row]] = {}
    for row in rows:
        case = row.case
        title = (f'{case.mode}, {case.size} px, {case.batch_size} '
                 f'image{"s" * (case.batch_size > 1)}, {case.precision}, '
                 f'{EXECUTION[case.compiled]}')
        groups.setdefault(title, []).append(row)
    return groups


def show(title: str, rows: List[Row], rate: float) -> None:
    """Print the table of one group."""
    print_table(
        title,
        ('network', 'GMACs', 'images/s', 'seconds', 'spread', 'GFLOP/s', 'of products',
         f'{rows[0].case.name} over it', 'spread', 'peak memory'),
        [(row.case.name, f'{backbone_macs(row.case.name, row.case.size) / 1e9:.1f}',
          f'{row.case.batch_size / row.seconds.median:.2f}', f'{row.seconds.median:.3f}',
          f'{row.seconds.low:.3f} to {row.seconds.high:.3f}',
          f'{row.flops_per_second / 1e9:.0f}', f'{row.flops_per_second / rate:.0%}',
          f'{row.ratios.median:.2f}', f'{row.ratios.low:.2f} to {row.ratios.high:.2f}',
          '' if row.peak is None else f'{row.peak / 2**30:.2f} GiB') for row in rows])


def draw(groups: Dict[str, List[Row]], rates: Dict[str, float], path: Path) -> None:
    """A panel per group: GFLOP/s of each network, with the matrix rate as a line."""
    figure, panels = plt.subplots(
        len(groups), figsize=(7, 0.8 + sum(0.5 + 0.35 * len(rows)
                                           for rows in groups.values())),
        squeeze=False, layout='constrained',
        height_ratios=[1 + len(rows) for rows in groups.values()])
    for axes, (title, rows) in zip(panels.flat, groups.items()):
        names = [row.case.name for row in rows]
        speeds = [row.flops_per_second / 1e9 for row in rows]
        lows = [speed - row.case.flops / row.seconds.high / 1e9
                for row, speed in zip(rows, speeds)]
        highs = [row.case.flops / row.seconds.low / 1e9 - speed
                 for row, speed in zip(rows, speeds)]
        axes.barh(names, speeds, xerr=[lows, highs], capsize=3, height=0.65,
                  color=['C0' if name.startswith('asvit') else 'C7' for name in names])
        rate = rates[rows[0].case.precision] / 1e9
        axes.axvline(rate, color='black', linestyle=':', linewidth=1)
        axes.set_xlim(0, max(rate, *speeds) * 1.08)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=9, loc='left')
        axes.tick_params(labelsize=8)
    panels.flat[-1].set_xlabel('GFLOP/s (dotted: a large matrix product)')
    save_figure(figure, path)


def main() -> None:
    """Measure, print, draw, judge."""
    args = parse_args()
    check(args)
    rates = {name: matrix_rate(args.device, PRECISIONS[name]) for name in args.precisions}
    where = (torch.cuda.get_device_name() if args.device == 'cuda'
             else f'CPU, {torch.get_num_threads()} threads')
    print(where + ''.join(f', matrix products in {name} at {rate / 1e9:.0f} GFLOP/s'
                          for name, rate in rates.items()))
    groups: Dict[str, List[Row]] = {}
    for size, batch_size in zip(args.sizes, args.batch_sizes):
        for precision in args.precisions:
            for execution in args.execution:
                for mode in args.modes:
                    rows = measure([Case(name, mode, size, batch_size, precision,
                                         execution == 'compiled', args.device)
                                    for name in args.networks],
                                   args.rounds, not args.no_memory)
                    for title, members in group(rows).items():
                        show(title, members, rates[precision])
                        groups[title] = members
    folder = Path(args.out)
    draw(groups, rates, folder / 'throughput.png')
    write_json(folder / 'throughput.json', dict(
        machine=where, torch=torch.__version__, matrix_rates=rates,
        rows=[dict(row.case._asdict(), seconds=row.seconds, peak=row.peak,
                   flops_per_second=row.flops_per_second, ratios=row.ratios)
              for rows in groups.values() for row in rows]))
    print(f'{folder}/throughput.png, throughput.json')
    slow = [f'{title}: {row.ratios.median:.2f} of {row.case.name}'
            for title, rows in groups.items() for row in rows
            if args.at_least and row.ratios.median < args.at_least]
    if slow:
        sys.exit(f'{args.networks[0]} is slower than {args.at_least:g} times: '
                 + '; '.join(slow))


if __name__ == '__main__':
    with one_line_errors():
        main()
