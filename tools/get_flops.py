"""Count the parameters and multiply-accumulates of a config's model and backbone.

Matrix products and convolutions are counted, attention included, biases and norms not.
Windows smaller than the rest at a border are counted as small as they are. A detector is
run as mmdet's own counter runs it: every proposal of the region proposal network (at
most ``test_cfg.rpn.max_per_img``) goes through every head, the mask heads too. Where a
whole model cannot be counted, a line says so, and the backbone is.
"""
import argparse
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_config_arguments(parser)
    parser.add_argument('--shape', type=int, nargs='+', metavar='PX',
                        help='height and width, or one number for both; default: 224, or '
                        '1024 for a detector')
    parser.add_argument('--out', metavar='FILE.json', help='also write the numbers there')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Print the numbers, and write them if asked to."""
    from rich.console import Console
    from rich.table import Table

    from mmasvit import analysis
    from mmasvit.engine.launch import load_config
    from mmasvit.files import write_json
    shape = analysis.check_shape(args.shape)
    cfg = load_config(args.config, args.cfg_options)
    size = analysis.counting_size(cfg, shape)
    numbers = dict(analysis.measure(cfg, size), shape=list(size))
    table = Table(title=f'{args.config} at {numbers["shape"][0]} x {numbers["shape"][1]}')
    for heading in ('', 'parameters (M)', 'multiply-accumulates (G)'):
        table.add_column(heading, justify='right')
    for row, prefix in (('model', ''), ('backbone', 'backbone_')):
        macs = numbers[prefix + 'macs']
        table.add_row(row, f'{numbers[prefix + "params"] / 1e6:.3f}',
                      '-' if macs is None else f'{macs / 1e9:.3f}')
    Console().print(table)
    if args.out:
        write_json(args.out, numbers)


if __name__ == '__main__':
    _cli.run(main, parse_args())
