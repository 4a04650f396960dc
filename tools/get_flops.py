"""Count the parameters and multiply-accumulates of a config's model and backbone.

Matrix products and convolutions are counted, attention included, biases and norms not.
Windows smaller than the rest at a border are counted as small as they are. A detector is
run as mmdet's own counter runs it: every proposal of the region proposal network (at
most ``test_cfg.rpn.max_per_img``) goes through every head, the mask heads too. Where a
whole model cannot be counted, a line says so, and the backbone is.
"""
import argparse
import sys
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


def measure(cfg, shape) -> dict:
    """Numbers of one config's model.

    Args:
        cfg: The config.
        shape: Height and width in pixels, or None for the default.

    Returns:
        The numbers; ``macs`` is None, and a line says why, where only the backbone can
        be counted.
    """
    import torch

    from mmasvit import analysis
    from mmasvit.errors import InputError
    size = analysis.counting_size(cfg, shape)
    model = analysis.build_to_count(cfg)
    backbone, images = analysis.find_backbone(model), torch.rand(1, 3, *size)
    parameters = [sum(p.numel() for p in part.parameters()) for part in (model, backbone)]
    backbone_macs = analysis.count_macs(lambda: backbone(images))
    try:
        macs = analysis.count_model_macs(model, size, analysis.is_detector(cfg))
    except InputError as error:
        print(error, file=sys.stderr)
        macs = None
    return dict(params=parameters[0], macs=macs, backbone_params=parameters[1],
                backbone_macs=backbone_macs, shape=list(size))


def main(args: argparse.Namespace) -> None:
    """Print the numbers, and write them if asked to."""
    from rich.console import Console
    from rich.table import Table

    from mmasvit.analysis import check_shape
    from mmasvit.engine.launch import load_config
    from mmasvit.files import write_json
    shape = check_shape(args.shape)
    numbers = measure(load_config(args.config, args.cfg_options), shape)
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
