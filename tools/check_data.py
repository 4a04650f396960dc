"""What is in a data set, and what is wrong with it.

    python tools/check_data.py configs/my_detector.py       # as the config will use it
    python tools/check_data.py data/my_set                  # a folder with COCO files
    python tools/check_data.py data/my_set/annotations.json

Nothing is written. The exit status is 2 if a run would be refused.
"""
import argparse
import os
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', metavar='CONFIG_OR_FOLDER',
                        help='a config (.py), a folder, or an annotation file (.json)')
    parser.add_argument('--no-data-check', action='store_true',
                        help='do not look at the image files')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Read, print, and say by the exit status whether it will do."""
    from mmasvit.errors import InputError
    if not os.path.exists(args.data):
        raise InputError(f'{args.data} does not exist')
    from mmasvit.engine.data import inspect_data, show_progress
    if args.data.endswith('.py'):
        from mmasvit.engine.launch import load_config
        cfg = load_config(args.data)
        cfg.work_dir = None  # nothing is written
        loaders = ['train_dataloader', 'val_dataloader']
        if cfg.get('test_dataloader') != cfg.get('val_dataloader'):
            loaders.append('test_dataloader')
        report = inspect_data(cfg, loaders, images=not args.no_data_check)
        if not report.splits:
            raise InputError(f'config {args.data} names no data that can be checked')
    else:
        from mmasvit.coco.parts import inspect_folder
        report = inspect_folder(args.data, not args.no_data_check, show_progress)
    report.print()
    if report.refusals:
        raise SystemExit(2)


if __name__ == '__main__':
    _cli.run(main, parse_args())
