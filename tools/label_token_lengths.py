"""Label held-out images with the coarsest token stride that is good enough for each.

Labels come from images that the model was not trained on: on those it knows by heart the
coarsest stride would do for nearly all. Which images they are, and how many have which
label, is printed. For a classifier a stride is good enough that gives the right class,
for a detector one whose F1 is within a margin of the finest stride's.

Beside the label file a config is written that trains an assigner on it.
"""
import argparse
from pathlib import Path
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_config_arguments(parser, 'config of a ReViT')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('--out', required=True, metavar='FILE.json',
                        help='label file; the config is FILE_assigner.py beside it')
    parser.add_argument('--margin', type=float, default=0.02, metavar='M', help='what a '
                        'detector may lose in F1 (default: %(default)s)')
    parser.add_argument('--fallback', default='finest',
                        choices=('finest', 'coarsest', 'drop'), help='label of an image '
                        'that a classifier never gets right (default: %(default)s)')
    parser.add_argument('--img-size', type=int, default=64, metavar='PX', help='side '
                        'that the assigner sees images at (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, metavar='S', help='of the part '
                        'that is kept aside, and of the training (default: %(default)s)')
    return parser.parse_args(argv)


def write_config(path: Path, cfg, labels: dict, args: argparse.Namespace) -> None:
    """Write the assigner's config beside the labels."""
    from mmasvit.adaptive.label_file import assigner_config, histogram
    from mmasvit.files import replacing
    given = (cfg.model.model.get('data_preprocessor')
             or cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {})
    normalisation = dict(
        mean=list(given.get('mean') or [0.] * 3), std=list(given.get('std') or [1.] * 3),
        to_rgb=bool(given.get('to_rgb') or given.get('bgr_to_rgb')))
    counts = histogram(labels['images'], len(labels['token_strides']), 'train')
    facts = (f'An assigner for the token strides {labels["token_strides"]}.\n\n'
             f'Labels: {args.out}\nof {labels["source"]},\n'
             f'checkpoint {labels["checkpoint"][:12]}; labels of training {counts}.')
    with replacing(path) as temporary:
        Path(temporary).write_text(assigner_config(
            str(path), facts, args.out, counts, normalisation, args.img_size, args.seed),
            encoding='utf-8')


def main(args: argparse.Namespace) -> None:
    """Measure, label, print the histogram, and write both files."""
    from mmasvit.adaptive import ReViT
    from mmasvit.adaptive.label_file import histogram, label_entries
    from mmasvit.adaptive.measure import check_kind, measure, out_of_sample
    from mmasvit.arguments import number, whole_number
    from mmasvit.engine import launch, preflight
    from mmasvit.files import write_json
    from mmasvit.report.inference import digest
    from mmasvit.weights import check_checkpoint
    cfg = launch.load_config(args.config, args.cfg_options)
    check_kind(cfg, ReViT)
    number('--margin', args.margin, above=-1e-12, below=1)
    whole_number('--img-size', args.img_size, 32)
    preflight.check_seed(dict(seed=args.seed))
    check_checkpoint(args.checkpoint)
    out = Path(args.out)
    preflight.check_writable(str(out.parent))
    cfg.model.assigner = None  # labels do not depend on one
    source = out_of_sample(cfg)
    measured = measure(cfg, Path(args.checkpoint))
    labels = dict(
        checkpoint=digest(Path(args.checkpoint)), token_strides=measured.token_strides,
        source=source, rule=(
            dict(margin=args.margin, score_threshold=measured.threshold)
            if measured.detector else dict(fallback=args.fallback)),
        images=label_entries(measured.ids, measured.paths, measured.quality,
                             measured.best(args.margin, args.fallback), args.seed))
    write_json(out, labels)
    config = out.with_name(f'{out.stem}_assigner.py')
    write_config(config, cfg, labels, args)
    print(source)
    print('images with each label:' + ''.join(
        f'{stride:>8}' for stride in measured.token_strides))
    for part, name in (('train', "for the assigner's training"), ('val', 'kept aside')):
        counts = histogram(labels['images'], len(measured.token_strides), part)
        print(f'{name:>28}:' + ''.join(f'{count:8}' for count in counts))
    print('mean quality at each stride: ' + ', '.join(
        f'{mean:.3f}' for mean in measured.quality.mean(0)))
    print(f'written: {out}, {config}; now train:\n  python tools/train.py {config}')


if __name__ == '__main__':
    _cli.run(main, parse_args())
