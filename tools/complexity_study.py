"""Measure random topologies, train each for real, and correlate.

Writes to the work directory: study.csv (a row per topology), study.json and table.md
(Kendall's tau of every measure with the accuracies, with 95 % bootstrap intervals), and
study.png (every measure against accuracy). The same command goes on after a stop.
"""
import argparse
from pathlib import Path
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_config_arguments(parser, 'config file of a classifier with study=dict(...)')
    parser.add_argument('--work-dir', required=True, help='folder for all results')
    parser.add_argument('--processes', type=int, metavar='N',
                        help='processes that share the work; default: one per GPU, or '
                        'per core without one')
    return parser.parse_args(argv)


def work(items: List, processes: int, folder: str) -> None:
    """Do the items that are left, with a progress bar."""
    from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                               TimeElapsedColumn, TimeRemainingColumn)

    from mmasvit.study.study import run_item
    from mmasvit.study.pool import run_items
    todo = [item for item in items if not item.path.exists()]
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bars = {}
        for kind, text in (('measures', 'measured'), ('trained', 'trained')):
            total = sum(item.kind == kind for item in items)
            left = sum(item.kind == kind for item in todo)
            bars[kind] = progress.add_task(text, total=total, completed=total - left)
        for item in run_items(run_item, todo, processes, folder):
            progress.advance(bars[item.kind])


def report(items: List, folder: str) -> None:
    """Write table, csv, json and figure, and print the table."""
    from mmasvit.study.study import collect, correlate
    from mmasvit.files import TableFile, replacing, write_json
    from mmasvit.tables import print_table
    from mmasvit.visualization import plot_study
    rows = collect(items)
    results = correlate(rows)
    names = ['topology', 'accuracy', *results]
    names += [f'{name}/seconds' for name in results]
    TableFile(Path(folder, 'study.csv'), names,
              [{name: row[name] for name in names} for row in rows])
    write_json(Path(folder, 'study.json'), results)
    plot_study(rows, results, Path(folder, 'study.png'))

    headings = ('measure', 'better', 'tau', '95 % interval', 'says', 's / topology')
    lines = ['| ' + ' | '.join(headings) + ' |', '|' + '---|' * len(headings)]
    cells = [(name, 'high' if result['higher_is_better'] else 'low',
              f'{result["tau"]:+.2f}', '{:+.2f} to {:+.2f}'.format(*result['interval']),
              result['says'], f'{result["seconds"]:.2f}')
             for name, result in results.items()]
    lines += ['| ' + ' | '.join(row) + ' |' for row in cells]
    with replacing(Path(folder, 'table.md')) as temporary:
        Path(temporary).write_text('\n'.join(lines) + '\n')
    print_table(f'{len(rows)} topologies, accuracy '
                f'{min(row["accuracy"] for row in rows):.1f} to '
                f'{max(row["accuracy"] for row in rows):.1f} %', headings, cells)
    print(f'{folder}/study.png, study.csv, study.json, table.md')


def main(args: argparse.Namespace) -> None:
    """Check, work, report."""
    import os

    import torch

    from mmasvit.engine import launch, preflight
    from mmasvit.errors import InputError
    from mmasvit.study.study import check_study, plan_items
    if args.processes is not None and args.processes < 1:
        raise InputError(f'--processes must be at least 1, got {args.processes}')
    cfg = launch.load_config(args.config, args.cfg_options)
    preflight.check_writable(args.work_dir)
    check_study(cfg)
    items = plan_items(cfg, args.work_dir)
    work(items, args.processes or torch.cuda.device_count() or os.cpu_count(),
         args.work_dir)
    report(items, args.work_dir)


if __name__ == '__main__':
    _cli.run(main, parse_args())
