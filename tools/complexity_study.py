"""Measure random topologies, train each for real, and correlate.

Writes to the work directory: study.csv (a row per topology), study.json and table.md
(Kendall's tau of every measure with the scores, with 95 % bootstrap intervals), and
study.png (every measure against the score). The score is a classifier's accuracy, or a
detector's AP. The same command goes on after a stop.
"""
import argparse
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_config_arguments(parser, 'config file of a classifier or detector with '
                              'study=dict(...)')
    parser.add_argument('--work-dir', required=True, help='folder for all results')
    parser.add_argument('--processes', type=int, metavar='N',
                        help='processes that share the work; default: one per GPU, or '
                        'per core without one')
    _cli.add_replay_argument(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Check, work, report."""
    import os

    import torch

    from mmasvit.arguments import whole_number
    from mmasvit.engine import launch, preflight
    from mmasvit.engine.config_form import MOST_WORKERS
    from mmasvit.lock import locked
    from mmasvit.progress import progress_bar
    from mmasvit.study.items import Progress, check_study
    from mmasvit.study.table import HEADINGS, collect, correlate, to_cells, write_study
    from mmasvit.tables import print_table
    if args.processes is not None:
        whole_number('--processes', args.processes, 1, MOST_WORKERS)
    cfg = launch.load_config(args.config, args.cfg_options)
    cfg.work_dir = args.work_dir
    preflight.check_writable(args.work_dir)
    with locked(args.work_dir):
        check_study(cfg)
        progress = Progress(cfg, args.work_dir)
        total, done = len(progress.items), len(progress.items) - len(progress.left)
        with progress_bar(total, done) as show:
            for number, item in enumerate(progress.work(
                    args.processes or torch.cuda.device_count() or os.cpu_count()), done):
                show(number + 1, lambda: 'measured' if item.setting else 'trained')
        rows = collect(progress.study, progress.known)
        findings = correlate(rows)
        score = progress.study.score
        write_study(args.work_dir, rows, findings, score)
    trained = [row.score for row in rows]
    print_table(f'{len(rows)} topologies, {score} {min(trained):.1f} to '
                f'{max(trained):.1f} %', HEADINGS, to_cells(findings))
    print(f'{args.work_dir}/study.png, study.csv, study.json, table.md')


if __name__ == '__main__':
    _cli.run(main, parse_args())
