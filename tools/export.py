"""Export a detector, a classifier or a backbone to ONNX, and check what was written.

The file takes normalised images (N, 3, H, W), padded as the config's preprocessor pads
them. A backbone gives map0, map1 and so on, a classifier logits, a detector boxes
(N, n, 4) in pixels of the padded image, scores and labels (N, n), and masks (N, n, h, w):
probabilities within each box. Rows that no object fills have the label -1.

Before the file is put in place, onnxruntime runs it beside the model on images of three
sizes; a difference of more than --tolerance is an error, and nothing is written.
"""
import argparse
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _cli.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--out', required=True, metavar='FILE.onnx', help='file to write')
    parser.add_argument('--backbone', action='store_true',
                        help='only the backbone, of any model')
    parser.add_argument('--shape', type=int, nargs='+', metavar='PX',
                        help='height and width, or one number for both; default: 224, or '
                        '1024 for a detector')
    parser.add_argument('--dynamic', action='store_true',
                        help='for any number of images of any size from 64 to 4096 px')
    parser.add_argument('--opset', type=int, default=18, help='default: %(default)s')
    parser.add_argument('--tolerance', type=float, default=1e-3,
                        help='largest difference allowed, relative to the largest value '
                        'of an output (default: %(default)s)')
    return parser.parse_args(argv)


def shapes_to_check(size: tuple, dynamic: bool) -> list:
    """Number, height and width of the images that the file is checked on."""
    if not dynamic:
        return [(1, *size)] * 3
    smaller = tuple(max(64, side * 3 // 4 + 5) for side in size)
    return [(1, *size), (3, *smaller), (1, smaller[0] + 24, size[1] + 17)]


def main(args: argparse.Namespace) -> None:
    """Check the input, build, export, compare, put in place."""
    import os
    import time
    from importlib.util import find_spec

    from mmengine.registry import MODELS, init_default_scope

    from mmasvit import analysis
    from mmasvit.engine import checkpoints
    from mmasvit.engine.blame import blaming
    from mmasvit.engine.launch import load_config
    from mmasvit.engine.preflight import check_writable
    from mmasvit.errors import InputError
    from mmasvit.files import replacing
    from mmasvit.weights import check_checkpoint
    missing = [name for name in ('onnx', 'onnxscript', 'onnxruntime')
               if not find_spec(name)]
    if missing:
        raise InputError(f'{", ".join(missing)} missing: pip install mmasvit[export]')
    if args.opset < 18:
        raise InputError(f'--opset must be at least 18, got {args.opset}')
    shape = analysis.check_shape(args.shape, least=64)
    check_checkpoint(args.checkpoint)
    cfg = load_config(args.config, args.cfg_options)
    size = analysis.counting_size(cfg, shape)
    check_writable(os.path.dirname(args.out) or '.')
    checkpoint = checkpoints.read(args.checkpoint)
    checkpoints.settle_classes(cfg, checkpoint, args.checkpoint, defaults=False)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with blaming('model'):
        model = MODELS.build(cfg.model)
    checkpoints.check_fit(model, checkpoint, args.checkpoint)

    from mmasvit.export import compare, exportable, write_onnx
    part = exportable(model, args.backbone)
    with replacing(args.out) as temporary:
        start = time.perf_counter()
        write_onnx(part, size, temporary, args.dynamic, args.opset)
        seconds = time.perf_counter() - start
        found = compare(part, temporary, shapes_to_check(size, args.dynamic))
        worst = max(one.difference for one in found)
        megabytes = os.path.getsize(temporary) / 2**20
        if not worst <= args.tolerance:
            raise InputError(f'onnxruntime differs from torch by {worst:.2g} of the '
                             f'largest value (--tolerance {args.tolerance:g}): nothing '
                             'is written')
    print(f'{args.out}: {megabytes:.1f} MiB, opset {args.opset}, exported in '
          f'{seconds:.0f} s, outputs {", ".join(part.names)}')
    print(f'{"images":>18} {"difference":>11} {"torch ms":>9} {"onnx ms":>9}')
    for one in found:
        images = ' x '.join(map(str, (one.shape[0], *one.shape[2:])))
        print(f'{images:>18} {one.difference:11.1e} {one.torch_ms:9.1f} '
              f'{one.onnx_ms:9.1f}')


if __name__ == '__main__':
    _cli.run(main, parse_args())
