"""Write a config that trains a detector on a set of one's own in COCO's format.

DATA is a folder (as of COCO 2017, Roboflow, CVAT, or one annotation file and a folder of
images), or an annotation file. What was found and decided is printed line by line, and
last of all the command that comes next.

Example:
    python tools/new_config.py data/mine --out mine.py
"""
import argparse
from pathlib import Path
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', metavar='DATA', help='folder or annotation file')
    parser.add_argument('--out', required=True, metavar='CONFIG.py',
                        help='the config to write')
    parser.add_argument('--arch', help="As-ViT to use: a family member's name, genotype, "
                        'topology.json, family.json[:NAME] or emitted config; default: '
                        "the base's")
    parser.add_argument('--base', metavar='CONFIG', help="detector to build on, ours or "
                        "mmdet's (mmdet::retinanet/...); default: cascade_asvit_tiny.py "
                        'without a GPU, else cascade_asvit_small_coco.py')
    parser.add_argument('--init', metavar='CHECKPOINT',
                        help='start from the backbone in a checkpoint of a classifier or '
                        'detector; default: random weights')
    length = parser.add_mutually_exclusive_group()
    length.add_argument('--epochs', type=_positive(int), metavar='N',
                        help='length of the training; default: by the number of images')
    length.add_argument('--minutes', type=_positive(float), metavar='M',
                        help='time some steps, and choose the length so that training '
                        'takes about M minutes on this machine, validations included')
    for flag, metavar, what in (
            ('--batch-size', 'N', "images a step in each process; default: the base's"),
            ('--image-size', 'PX', 'longer side that images are brought to; default: by '
             'the sizes of the objects')):
        parser.add_argument(flag, type=_positive(int), metavar=metavar, help=what)
    parser.add_argument('--flips', choices=('none', 'horizontal', 'all'),
                        default='horizontal', help='mirror images in training (default: '
                        '%(default)s); all: where up and down look alike')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help='seed of everything (default: %(default)s)')
    return parser.parse_args(argv)


def _positive(kind: type):
    """What reads a number above 0."""
    def number(text: str):
        value = kind(text)
        if not 0 < value < float('inf'):
            raise argparse.ArgumentTypeError(f'must be above 0, got {text}')
        return value

    number.__name__ = 'number'  # for the message about what is none
    return number


def main(args: argparse.Namespace) -> None:
    """Find, decide, check, write, and say what comes next."""
    from mmasvit.engine.preflight import check_seed
    from mmasvit.errors import printable
    from mmasvit.recipe.make import Machine, Wishes, make_config
    check_seed(dict(seed=args.seed))
    wishes = Wishes(arch=args.arch, base=args.base, init=args.init, epochs=args.epochs,
                    batch_size=args.batch_size, image_size=args.image_size,
                    minutes=args.minutes, flips=args.flips, seed=args.seed)
    recipe = make_config(Path(args.data), Path(args.out), wishes, Machine.this())
    train, *afterwards = recipe.commands
    print('\n'.join([*map(printable, recipe.why), '',
                     f'written: {printable(args.out)}; when it is trained:',
                     *(f'  {command}' for command in afterwards), 'now train:', train]))


if __name__ == '__main__':
    _cli.run(main, parse_args())
