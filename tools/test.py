"""Evaluate a checkpoint on the test data of a config."""
import argparse
import os
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line; the flags are mmdet's."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_run_arguments(parser)
    _cli.add_data_argument(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', metavar='FILE.pkl',
                        help='keep the predictions for offline evaluation')
    parser.add_argument('--show', action='store_true', help='show the predictions')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions beside '
                        'the ground truth into DIR of the work directory')
    parser.add_argument('--wait-time', type=float, default=2,
                        help='seconds that --show shows a picture')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation: the '
                        "config's tta_model and tta_pipeline, or else mirror images")
    return parser.parse_args(argv)


def draw(cfg, args: argparse.Namespace) -> None:
    """Switch the config's visualisation hook on."""
    from mmasvit.errors import InputError
    hook = cfg.default_hooks.get('visualization')
    if hook is None:
        raise InputError(f'--show: config {args.config} has no '
                         'default_hooks.visualization')
    # absolute, since mmdet's hook joins a relative folder to itself at every batch
    folder = args.show_dir and os.path.abspath(os.path.join(cfg.work_dir, args.show_dir))
    if hook.type.endswith('DetVisualizationHook'):
        hook.update(draw=True, test_out_dir=folder, wait_time=args.wait_time)
    else:
        hook.update(enable=True, out_dir=folder, interval=1)
    hook.show = args.show
    if folder:
        cfg.default_hooks.visualization = dict(
            type='mmengine.PicturePerImageHook', hook=hook, out_dir=folder)


def main(args: argparse.Namespace) -> None:
    """Check what can be checked first, then evaluate."""
    from mmasvit.engine import checkpoints, launch, preflight
    from mmasvit.engine.config_form import check_entries
    from mmasvit.engine.tta import use_tta
    from mmasvit.errors import InputError
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise InputError(f'--out must end in .pkl or .pickle, got {args.out}')
    cfg = launch.load_config(args.config, args.cfg_options)
    check_entries(cfg, ('model', 'test_dataloader', 'test_cfg', 'test_evaluator'))
    checkpoint = checkpoints.read(args.checkpoint)
    cfg.load_from = args.checkpoint
    launch.prepare(cfg, args)
    checkpoints.settle_classes(cfg, checkpoint, args.checkpoint)
    with launch.refusing(cfg):
        preflight.check_data(cfg, ('test_dataloader', ), images=not args.no_data_check,
                             order=checkpoints.classes_of(checkpoint))
        if args.show or args.show_dir:
            draw(cfg, args)
        if args.tta:
            use_tta(cfg)
        runner = launch.build_runner(cfg)
        checkpoints.check_fit(runner.model, checkpoint, args.checkpoint)
        if args.out:
            from mmengine.evaluator import DumpResults
            runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
        runner.test()
    launch.leave()


if __name__ == '__main__':
    _cli.run(main, parse_args())
