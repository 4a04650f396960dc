"""Draw accuracy over cost of a ReViT or DVT: what it chooses, oracle and control.

Every held-out image is run alone at every stride, once. From that follow the scores of
every choice: the fixed strides; a ReViT's assigner at several biases (if the config has
one); a DVT's cascade by the released rule at several q and by the best thresholds under
several budgets, each half of the images by thresholds of the other; the oracle's, who
knows the labels; and the control's, who has the same strides for other images at random.
What does not beat the control knows nothing.
"""
import argparse
from pathlib import Path
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_config_arguments(parser, 'config of a ReViT, with an assigner or '
                              'without, or of a DVT')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--work-dir', required=True, metavar='D',
                        help='folder for budgets.csv and budgets.png')
    parser.add_argument('--labels', metavar='FILE.json', help='label file that the '
                        'assigner was trained with: its images are left out, but for '
                        'those that were held out of its training')
    parser.add_argument('--seed', type=int, default=0, metavar='S',
                        help="of the control's assignments, and of a DVT's halves "
                        '(default: %(default)s)')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Measure, print the table, write it and the figure."""
    from mmasvit.adaptive import DVT, ReViT
    from mmasvit.adaptive.label_file import read_labels
    from mmasvit.adaptive.measure import check_kind
    from mmasvit.engine import launch, preflight
    from mmasvit.lock import locked
    from mmasvit.report.inference import digest
    from mmasvit.weights import check_checkpoint
    cfg = launch.load_config(args.config, args.cfg_options)
    check_kind(cfg, ReViT, DVT)
    preflight.check_seed(dict(seed=args.seed))
    check_checkpoint(args.checkpoint)
    trained = set()
    if args.labels:
        given = read_labels(args.labels, digest(Path(args.checkpoint)))['images']
        trained = {name for name, one in given.items() if one['part'] == 'train'}
    preflight.check_writable(args.work_dir)
    with locked(args.work_dir):
        sweep(cfg, args, trained)


def sweep(cfg, args: argparse.Namespace, trained: set) -> None:
    """The work itself."""
    from mmasvit.adaptive.budgets import assigned, curves, plot, rows
    from mmasvit.adaptive.cascade import cascaded
    from mmasvit.adaptive.measure import costs_of, measure
    from mmasvit.files import TableFile
    measured = measure(cfg, Path(args.checkpoint), trained)
    costs = costs_of(cfg, measured)
    chosen = []
    if measured.log_probabilities is not None:
        chosen = assigned(measured.token_strides, measured.log_probabilities)
    elif measured.cascade:
        chosen = cascaded(measured.confidences, measured.quality, costs.macs.mean(0),
                          seed=args.seed)
    points = curves(measured.token_strides, costs, measured.score, measured.best(),
                    chosen, seed=args.seed)
    table = rows(points, measured.token_strides)
    TableFile(Path(args.work_dir, 'budgets.csv'), list(table[0]), table)
    plot(points, measured.what, Path(args.work_dir, 'budgets.png'))
    print(f'{len(measured.ids)} images of {measured.source}, {measured.device}')
    if measured.log_probabilities is not None:
        coarsest = measured.token_strides[0]
        share = costs.assigner_macs / costs.macs[:, 0].mean()
        print(f'the assigner costs {share:.1%} of '
              f'the model at stride {coarsest}: above some 3 % it eats what it saves')
    if measured.cascade:
        print('of each exit the ones before are counted; cascade: by the released rule '
              'at q; best: under a budget of GMACs; each half of the images by thresholds '
              'of the other')
    print(f'{"":>10} {"setting":>8} {measured.what:>15} {"GMACs":>9} {"ms":>8}  shares '
          f'at strides {", ".join(map(str, measured.token_strides))}')
    for one in points:
        shares = ' '.join(f'{share:5.1%}' for share in one.shares)
        print(f'{one.kind:>10} {one.setting:8g} {one.score:15.4f} {one.macs / 1e9:9.4f} '
              f'{one.seconds * 1e3:8.2f}  {shares}')


if __name__ == '__main__':
    _cli.run(main, parse_args())
