"""Write a config that trains a detector on a set of one's own in COCO's format.

DATA is a folder (as of COCO 2017, Roboflow, CVAT, or one annotation file and a folder of
images), or an annotation file. What was found and decided is printed line by line, and
last of all the command that comes next.

Example:
    python tools/new_config.py data/mine --out mine.py
"""
import argparse
from pathlib import Path

from mmasvit.errors import InputError, one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
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
    for flag, metavar, what in (
            ('--epochs', 'N', 'length of the training'),
            ('--batch-size', 'N', 'images a step in each process'),
            ('--image-size', 'PX', 'longer side that images are brought to')):
        parser.add_argument(flag, type=positive, metavar=metavar,
                            help=f'{what}; default: decided by the data')
    parser.add_argument('--flips', choices=('none', 'horizontal', 'all'),
                        default='horizontal', help='mirror images in training (default: '
                        '%(default)s); all: where up and down look alike')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help='seed of everything (default: %(default)s)')
    return parser.parse_args()


def positive(text: str) -> int:
    """A whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {text}')
    return value


def main() -> None:
    """Find, decide, check, write, and say what comes next."""
    args = parse_args()
    from mmasvit.recipe.make import Machine, Wishes, make_config
    if not 0 <= args.seed < 2**32:
        raise InputError(f'--seed must be from 0 to 2**32 - 1, got {args.seed}')
    wishes = Wishes(args.arch, args.base, args.init, args.epochs, args.batch_size,
                    args.image_size, args.flips, args.seed)
    recipe = make_config(Path(args.data), Path(args.out), wishes, Machine.this())
    for line in recipe.why:
        print(line)
    print(f'\n{args.out} written; afterwards:')
    for command in recipe.commands[1:]:
        print(f'  {command}')
    print('now train:')
    print(recipe.commands[0])


if __name__ == '__main__':
    with one_line_errors():
        main()
