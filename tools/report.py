"""Write one html page that shows what a work directory holds.

The page needs nothing but itself. A training's checkpoint is run once on its held-out
data; what it finds is kept in WORK_DIR/report/, so that a second call is quick.
"""
import argparse
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', help='folder of a training, a search, a scaling or a '
                        'study')
    parser.add_argument('--out', metavar='FILE.html',
                        help='the page; default: WORK_DIR/report/index.html')
    _cli.add_options_argument(parser, "changes to the run's config, such as "
                              'val_dataloader.dataset.data_root=... for moved data')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Write the page."""
    from mmasvit.report import write_report
    print(write_report(args.work_dir, args.out, args.cfg_options))


if __name__ == '__main__':
    _cli.run(main, parse_args())
