"""Generate an instance set of textured shapes in the layout of COCO 2017.

Example:
    python tools/make_shapes_coco.py data/shapes --images 4000 --crops 64
"""
import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(
        description='Generate an instance set of textured shapes in the layout of '
        'COCO 2017. The same settings give the same bytes.')
    parser.add_argument(
        'out_dir', metavar='OUT_DIR', help='absent, empty, or holding the same set')
    for flag, value, metavar, what in (
            ('--images', 4000, 'N', 'training images'),
            ('--val-images', 200, 'M', 'held-out images'),
            ('--size', 256, 'PX', 'side of the square images'),
            ('--seed', 0, 'S', 'seed of everything')):
        parser.add_argument(
            flag, type=int, default=value, metavar=metavar,
            help=f'{what} (default: {value})')
    parser.add_argument(
        '--crops', type=int, metavar='PX',
        help='also write a crop of this size for each object in plain view to '
        'OUT_DIR/crops/{train,val}/<category>/, to pre-train a classifier')
    return parser.parse_args(argv)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr if that is a terminal; give the function that moves it."""
    from rich.console import Console
    from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                               TimeRemainingColumn)
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())
    console = Console(stderr=True)
    # The bar goes away at the end: a line on stdout says what was done.
    with Progress(*columns, console=console, transient=True,
                  disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def make(args: argparse.Namespace) -> None:
    """Write what the command line asks for and is not there."""
    from mmasvit.shapes.crops import check_crop_size, make_classification_crops
    from mmasvit.shapes.coco import ShapesSettings, make_shapes_coco
    settings = ShapesSettings(args.images, args.val_images, args.size, args.seed)
    if args.crops is not None:
        check_crop_size(args.crops)
    out_dir = Path(args.out_dir)
    with progress_bar('images') as progress:
        new = make_shapes_coco(out_dir, settings, progress=progress)
    print(f'{out_dir}: {settings.images} training and {settings.val_images} held-out '
          f'images of {settings.size} px ' + ('written' if new else 'already there'))
    if args.crops is not None:
        with progress_bar('crops') as progress:
            new = make_classification_crops(out_dir, args.crops, progress=progress)
        print(f'{out_dir}/crops: crops of {args.crops} px '
              + ('written' if new else 'already there'))


def main(args: argparse.Namespace) -> None:
    """Run the tool."""
    from mmasvit.errors import InputError
    try:
        make(args)
    except OSError as error:
        raise InputError(error) from None


if __name__ == '__main__':
    _cli.run(main, parse_args())
