"""Measure one untrained topology: every complexity measure, as a table and json."""
import argparse
from pathlib import Path
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    parser.add_argument('genotype', help="genotype text such as '8,2,3|4,1,2|4,1,4|4,1,6|"
                        "32', or a member's name")
    parser.add_argument('--protocol', choices=('released', 'paper'), default='released',
                        help="the released code's way or the paper's text")
    parser.add_argument('--image-size', type=int, default=224, metavar='PX')
    parser.add_argument('--repeats', type=int, default=5, metavar='N',
                        help='initialisations')
    parser.add_argument('--num-angles', type=int, default=10, metavar='N')
    parser.add_argument('--num-images', type=int, default=16, metavar='N',
                        help='images of the tangent kernel')
    parser.add_argument('--data', default='noise', metavar='SOURCE',
                        help="where these images come from: 'noise' (default), a "
                        'folder, or an .npz file')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--measures', nargs='+', metavar='NAME', help='default: all')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--any-topology', action='store_true',
                        help='measure kernels, splits, ratios and heads that the search '
                        'space (table 1) does not contain')
    parser.add_argument('--out', metavar='FILE.json', help='also write the numbers there')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Check, measure, print."""
    from rich.console import Console
    from rich.progress import track

    from mmasvit import Topology
    from mmasvit.complexity import MEASURES, Setting, measure_repeat, summarise
    from mmasvit.complexity.evaluate import check_measures
    from mmasvit.datasets import ProbeImages
    from mmasvit.engine.preflight import check_device, check_writable
    from mmasvit.errors import InputError
    from mmasvit.files import write_json
    from mmasvit.tables import print_table
    topology = Topology.of(args.genotype)
    if not (args.any_topology or topology.in_search_space):
        raise InputError(f'{topology} is not in the search space of table 1; measure it '
                         'all the same with --any-topology')
    setting = Setting(args.protocol, args.image_size, args.repeats, args.num_angles,
                      args.num_images, args.seed)
    names = args.measures or list(MEASURES)
    check_measures(names)
    check_device(args.device)
    images = ProbeImages(args.data, setting.image_size, setting.num_images, setting.seed)
    if args.out:
        check_writable(Path(args.out).parent)

    rounds = track(range(setting.repeats), 'initialisations', transient=True,
                   disable=not Console().is_terminal)
    summaries = summarise([measure_repeat(topology, setting, repeat, names,
                                          images.images, args.device) for repeat in rounds])
    print_table(f'{topology}\nprotocol {setting.protocol}, {setting.image_size} px, '
                f'{setting.repeats} initialisations',
                ('measure', 'mean', 'lowest', 'highest', 'better', 'seconds'),
                [(name, f'{summary.mean:.6g}', f'{min(summary.values):.6g}',
                  f'{max(summary.values):.6g}',
                  'high' if MEASURES[name].higher_is_better else 'low',
                  f'{summary.seconds:.2f}') for name, summary in summaries.items()])
    if args.out:
        write_json(args.out, dict(
            topology=str(topology), setting=vars(setting), data=images.description,
            measures={name: summary._asdict() for name, summary in summaries.items()}))


if __name__ == '__main__':
    _cli.run(main, parse_args())
