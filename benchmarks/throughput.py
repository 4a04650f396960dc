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
second than a multiple of another network. Whole detectors (``asvit-large+detector
swin-base+detector``) are compared by images per second.
"""
import argparse
import sys
from pathlib import Path
from typing import Dict, List

import torch
from common.contestants import (CHECKPOINT, CONTESTANTS, DETECTOR, MODES, Case,
                               backbone_macs, check_names, is_detector)
from common.rounds import EXECUTION, PRECISIONS, Row, measure, title_of

from mmasvit.benchmarking import matrix_rate
from mmasvit.errors import InputError, one_line_errors
from mmasvit.files import write_json
from mmasvit.memory import keep_memory
from mmasvit.tables import print_table
from mmasvit.plotting import save_figure, subplots


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--networks', nargs='+', metavar='NAME',
                        default=['asvit-large', 'swin-base'],
                        help=f"of {', '.join(CONTESTANTS)}; 'all'; an ending "
                        f'{CHECKPOINT} recomputes blocks, {DETECTOR} is the whole '
                        'Cascade Mask R-CNN (default: %(default)s)')
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
    from mmasvit.engine.preflight import check_device, check_writable
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


def show(title: str, rows: List[Row], products: float) -> None:
    """Print the table of one group."""
    rate_columns = [] if is_detector(rows[0].case.name) else [
        ('GMACs', lambda row: f'{backbone_macs(row.case.name, row.case.size) / 1e9:.1f}'),
        ('GFLOP/s', lambda row: f'{row.rate / 1e9:.0f}'),
        ('of products', lambda row: f'{row.rate / products:.0%}')]
    columns = [
        ('network', lambda row: row.case.name), *rate_columns,
        ('images/s', lambda row: f'{row.case.batch_size / row.seconds.median:.2f}'),
        ('seconds', lambda row: f'{row.seconds.median:.3f}'),
        ('spread', lambda row: f'{row.seconds.low:.3f} to {row.seconds.high:.3f}'),
        (f'{rows[0].case.name} over it', lambda row: f'{row.ratios.median:.2f}'),
        ('spread', lambda row: f'{row.ratios.low:.2f} to {row.ratios.high:.2f}')]
    if rows[0].peak is not None:
        columns.append(('peak memory', lambda row: f'{row.peak / 2**30:.2f} GiB'))
    print_table(title, [heading for heading, _ in columns],
                [[text(row) for _, text in columns] for row in rows])


def draw(groups: Dict[str, List[Row]], products: Dict[str, float], path: Path) -> None:
    """A panel per group: rate of each network, with that of matrix products as a line."""
    whole = is_detector(next(iter(groups.values()))[0].case.name)
    unit = 1 if whole else 1e9
    figure, panels = subplots(
        len(groups), figsize=(7, 0.8 + sum(0.5 + 0.35 * len(rows)
                                           for rows in groups.values())),
        squeeze=False,
        height_ratios=[1 + len(rows) for rows in groups.values()])
    for axes, (title, rows) in zip(panels.flat, groups.items()):
        names = [row.case.name for row in rows]
        rates = [row.rate / unit for row in rows]
        lows = [rate - row.case.work / row.seconds.high / unit
                for row, rate in zip(rows, rates)]
        highs = [row.case.work / row.seconds.low / unit - rate
                 for row, rate in zip(rows, rates)]
        axes.barh(names, rates, xerr=[lows, highs], capsize=3, height=0.65,
                  color=['C0' if name.startswith('asvit') else 'C7' for name in names])
        if not whole:
            axes.axvline(products[rows[0].case.precision] / unit, color='black',
                         linestyle=':', linewidth=1)
        axes.set_xlim(left=0)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=9, loc='left')
        axes.tick_params(labelsize=8)
    panels.flat[-1].set_xlabel('images/s' if whole else
                               'GFLOP/s (dotted: a large matrix product)')
    save_figure(figure, path)


def main() -> None:
    """Measure, print, draw, judge."""
    args = parse_args()
    check(args)
    products = {name: matrix_rate(args.device, PRECISIONS[name])
                for name in args.precisions}
    where = (torch.cuda.get_device_name() if args.device == 'cuda'
             else f'CPU, {torch.get_num_threads()} threads')
    print(where + ''.join(f', matrix products in {name} at {rate / 1e9:.0f} GFLOP/s'
                          for name, rate in products.items()))
    groups: Dict[str, List[Row]] = {}
    for size, batch_size in zip(args.sizes, args.batch_sizes):
        for precision in args.precisions:
            for execution in args.execution:
                for mode in args.modes:
                    rows = measure([Case(name, mode, size, batch_size, precision,
                                         execution == 'compiled', args.device)
                                    for name in args.networks],
                                   args.rounds, not args.no_memory)
                    title = title_of(rows[0].case)
                    groups[title] = rows
                    show(title, rows, products[precision])
    folder = Path(args.out)
    draw(groups, products, folder / 'throughput.png')
    write_json(folder / 'throughput.json', dict(
        machine=where, torch=torch.__version__, matrix_rates=products,
        rows=[dict(row.case._asdict(), seconds=row.seconds, peak=row.peak,
                   rate=row.rate, ratios=row.ratios)
              for rows in groups.values() for row in rows]))
    print(f'{folder}/throughput.png, throughput.json')
    slow = [f'{title}: {row.ratios.median:.2f} of {row.case.name}'
            for title, rows in groups.items() for row in rows
            if args.at_least and row.ratios.median < args.at_least]
    if slow:
        sys.exit(f'{args.networks[0]} is slower than {args.at_least:g} times: '
                 + '; '.join(slow))


if __name__ == '__main__':
    keep_memory()
    with one_line_errors():
        main()
