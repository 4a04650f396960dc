"""Time an As-ViT's parts on this device, once; sums of them tell how long any takes.

Every part of table 1 (tokenizer, re-embedding, windows, attention, FFN, output) is timed
at several widths, in turn; then a few whole networks, which say what a network takes
beyond its parts, and Swin and ResNet of mmdet to compare with. One image at a time.
With --check N the table in --out is compared with N whole networks that it never saw.
"""
import argparse
from typing import List, Optional

import _cli

WIDTHS = (8, 16, 32, 48, 64, 96, 128)


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    parser.add_argument('--out', required=True, metavar='FILE.json', help='the table')
    parser.add_argument('--device', default='cpu', help="'cpu' (default) or 'cuda'")
    parser.add_argument('--shape', type=int, nargs='+', metavar='PX', help='height and '
                        'width, or one number for both; default: 512')
    parser.add_argument('--pretrain-img-size', type=int, default=224, metavar='PX',
                        help='side that the splits refer to, as in the backbone')
    parser.add_argument('--dtype', default='float32',
                        choices=('float32', 'bfloat16', 'float16'),
                        help='of the matrix products; below float32 by autocast')
    parser.add_argument('--compiled', action='store_true',
                        help='time what torch.compile makes of it: minutes of compiling')
    parser.add_argument('--widths', type=int, nargs='+', default=WIDTHS, metavar='C',
                        help='widths of the first stage; default: '
                        f'{" ".join(map(str, WIDTHS))}; a search needs 32 alone')
    parser.add_argument('--rounds', type=int, default=5, metavar='N',
                        help='how often each is timed; the median counts')
    parser.add_argument('--threads', type=int, metavar='N',
                        help="threads on a CPU; default: as many as torch uses here")
    parser.add_argument('--no-references', action='store_true',
                        help='leave out Swin and ResNet')
    parser.add_argument('--check', type=int, metavar='N', help='time nothing for the '
                        'table, but N random networks, and compare')
    parser.add_argument('--seed', type=int, default=0, help='of the networks of --check')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Profile, or check a profile."""
    import os
    from pathlib import Path

    import torch

    from mmasvit.analysis import check_shape
    from mmasvit.arguments import whole_number
    from mmasvit.engine.preflight import check_device, check_writable
    from mmasvit.latency.conditions import Conditions
    from mmasvit.latency.profile import compare, profile
    from mmasvit.latency.table import LatencyTable
    from mmasvit.tables import print_table
    check_device(args.device)
    whole_number('--rounds', args.rounds, 1, 1000)
    whole_number('--seed', args.seed, 0, 2**32 - 1)
    whole_number('--pretrain-img-size', args.pretrain_img_size, 32, 2**16)
    shape = check_shape(args.shape, least=32) or (512, 512)
    if args.threads is not None:
        torch.set_num_threads(whole_number('--threads', args.threads, 1, os.cpu_count()))
    if args.check is None:
        check_writable(Path(args.out).parent)
        conditions = Conditions.here(args.device, shape, args.pretrain_img_size,
                                     args.dtype, args.compiled)
        table = profile(conditions, args.widths, args.rounds, not args.no_references)
        table.save(args.out)
        names = ('device', 'threads', 'shape', 'dtype', 'compiled')
        print(', '.join(f'{name} {getattr(conditions, name)}' for name in names))
        print(f'{len(table.times)} parts at {len(table.widths)} widths; a network takes '
              f'{table.factor:.3f} times their sum; {args.out}')
        return
    whole_number('--check', args.check, 3, 1000)
    table = LatencyTable.read(args.out)
    if table.conditions.type == 'cpu':
        torch.set_num_threads(table.conditions.threads)
    check_device(table.conditions.type)
    result = compare(table, args.check, args.seed, args.rounds)
    print_table(f'{args.check} networks that the table never saw',
                ('topology', 'predicted (ms)', 'measured (ms)', 'error'),
                [(str(topology), f'{predicted:.2f}', f'{measured:.2f}', f'{error:+.1%}')
                 for topology, predicted, measured, error in result.rows])
    print(f'median error {result.median:.1%}, worst {result.worst:.1%}, rank correlation '
          f'{result.rank_correlation:.3f}')


if __name__ == '__main__':
    _cli.run(main, parse_args())
