"""Write one html page that shows what a work directory holds.

The page needs nothing but itself. A training's checkpoint is run once on its held-out
data; what it finds is kept in WORK_DIR/report/, so that a second call is quick.
"""
import argparse

from mmasvit.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    from mmengine.config import DictAction
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('work_dir', help='folder of a training, a search, a scaling or a '
                        'study')
    parser.add_argument('--out', metavar='FILE.html',
                        help='the page; default: WORK_DIR/report/index.html')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='K=V',
                        help="changes to the run's config, such as "
                        'val_dataloader.dataset.data_root=... for data that have moved')
    return parser.parse_args()


def main() -> None:
    """Write the page."""
    args = parse_args()
    from mmasvit.report import write_report
    print(write_report(args.work_dir, args.out, args.cfg_options))


if __name__ == '__main__':
    with one_line_errors():
        main()
