"""Draw the architecture of a topology: maps, windows, kernels and blocks in one picture."""
import argparse
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    parser.add_argument('genotype', help="genotype text such as '8,2,3|4,1,2|4,1,4|4,1,6|"
                        "32', or a member's name")
    parser.add_argument('--out', required=True, metavar='FILE',
                        help='picture to write: .svg or .png')
    parser.add_argument('--title', help="default: the member's name, or As-ViT")
    parser.add_argument('--image-size', type=int, default=224, metavar='PX')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Check, draw, write."""
    from mmasvit import Topology
    from mmasvit.picture import draw_topology, save_picture
    from mmasvit.topology import FAMILY
    topology = Topology.of(args.genotype)
    names = [name for name, member in FAMILY.items() if member == topology]
    title = args.title or ' '.join(['As-ViT', *names])
    save_picture(draw_topology(topology, title, args.image_size), args.out)
    print(args.out)


if __name__ == '__main__':
    _cli.run(main, parse_args())
