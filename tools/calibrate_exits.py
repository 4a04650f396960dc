"""Find the thresholds of a DVT's exits on held-out images, for its checkpoint.

    python tools/calibrate_exits.py CONFIG CHECKPOINT --budget 1.5 --out calibrated.pth

With --budget the thresholds are those that answer most of the images right at a mean cost
of so many GMACs an image; with --q those of DVT's released rule. The images go through
the pipeline and the weights of a test (an EMA's, where one was trained), and must not be
among those of training. What few images or equal confidences leave open is said.
"""
import argparse
from pathlib import Path
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__,
                         formatter_class=argparse.RawDescriptionHelpFormatter)
    _cli.add_config_arguments(parser, 'config of a DVT')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--out', required=True, metavar='FILE.pth',
                        help='the checkpoint with its thresholds')
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument('--budget', type=float, metavar='GMACS',
                     help='mean cost of an image in 10^9 multiply-accumulates')
    how.add_argument('--q', type=float, metavar='Q', help='exit k takes a share of q^k: '
                     'small for early exits, 1 for as many at each')
    return parser.parse_args(argv)


def write_thresholds(path: Path, out: Path, thresholds) -> None:
    """Write a copy of a checkpoint with other thresholds."""
    import torch

    from mmasvit.engine.checkpoints import read
    from mmasvit.files import replacing
    checkpoint = read(str(path))
    # mmpretrain's EMAHook takes the averaged weights out of one and buffers of the other
    for state in (checkpoint.get('state_dict', checkpoint),
                  checkpoint.get('ema_state_dict', {})):
        for name in state:
            if name.removeprefix('module.') == 'exit_thresholds':
                state[name] = torch.tensor(thresholds, dtype=torch.float32)
    with replacing(out) as temporary:
        torch.save(checkpoint, temporary)


def main(args: argparse.Namespace) -> None:
    """Measure, solve, write, and print what the thresholds do."""
    import numpy as np

    from mmasvit.adaptive import DVT, best_thresholds, choose_exits, solve_thresholds
    from mmasvit.adaptive.measure import (check_budget, check_kind, costs_of, measure,
                                          out_of_sample)
    from mmasvit.adaptive.thresholds import halfway, remarks
    from mmasvit.arguments import number
    from mmasvit.engine import launch, preflight
    from mmasvit.weights import check_checkpoint
    cfg = launch.load_config(args.config, args.cfg_options)
    check_kind(cfg, DVT)
    check_checkpoint(args.checkpoint)
    preflight.check_writable(str(Path(args.out).parent))
    source = out_of_sample(cfg)
    if args.q is not None:
        number('--q', args.q, above=0)
    else:
        check_budget(cfg, number('--budget', args.budget) * 1e9)
    measured = measure(cfg, Path(args.checkpoint))
    costs = costs_of(cfg, measured).macs
    confidences, right = measured.confidences, measured.quality
    if args.q is not None:
        thresholds = halfway(confidences, solve_thresholds(confidences, args.q))
    else:
        thresholds = best_thresholds(confidences, right, costs.mean(0), args.budget * 1e9)
    write_thresholds(Path(args.checkpoint), Path(args.out), thresholds)
    print(source)
    print('\n'.join(remarks(confidences, thresholds)))
    exits = choose_exits(confidences, thresholds)
    print(f'{"exit":>4} {"stride":>6} {"threshold":>10} {"images":>7} {"right":>7} '
          f'{"GMACs":>9}')
    for k, stride in enumerate(measured.token_strides):
        own = exits == k
        hits = f'{right[own, k].mean():7.1%}' if own.any() else f'{"-":>7}'
        print(f'{k + 1:4} {stride:6} {thresholds[k]:10.4g} {own.mean():7.1%} {hits} '
              f'{costs[:, k].mean() / 1e9:9.4f}')
    rows = np.arange(len(exits))
    print(f'together: {right[rows, exits].mean():.1%} right at '
          f'{costs[rows, exits].mean() / 1e9:.4f} GMACs an image, on the images that the '
          f'thresholds were found on; written: {args.out}')


if __name__ == '__main__':
    _cli.run(main, parse_args())
