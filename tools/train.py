"""Train the model of a config: detector, classifier, or anything else that runs."""
import argparse
import os
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_run_arguments(parser)
    _cli.add_resume_argument(parser)
    _cli.add_data_argument(parser)
    parser.add_argument('--amp', action='store_true',
                        help='train under bfloat16 autocast')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate with the batch in use')
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Check everything that can be checked first, then train."""
    from mmengine.dist import is_main_process

    from mmasvit.engine import checkpoints, launch, preflight
    from mmasvit.engine.config_form import check_entries
    from mmasvit.engine.optimizers import use_bf16
    from mmasvit.errors import InputError
    from mmasvit.files import write_json
    cfg = launch.load_config(args.config, args.cfg_options)
    check_entries(cfg, ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'))
    if args.amp:
        use_bf16(cfg.optim_wrapper)
    if args.auto_scale_lr:
        if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
            raise InputError(f'--auto-scale-lr: config {args.config} has no '
                             'auto_scale_lr=dict(base_batch_size=...)')
        cfg.auto_scale_lr.enable = True
    launch.prepare(cfg, args)
    preflight.check_levels(cfg)
    launch.set_resume(cfg, args)
    checkpoint = checkpoints.read(cfg.load_from) if cfg.get('load_from') else None
    if checkpoint and cfg.get('resume'):
        checkpoints.check_resumable(checkpoint, cfg.load_from)
    with launch.training(cfg):
        data = preflight.check_data(cfg, images=not args.no_data_check)
        if is_main_process():
            write_json(os.path.join(cfg.work_dir, launch.DATA_FILE), data.to_json())
        if checkpoint and cfg.get('resume'):  # the data settle the order of the classes
            checkpoints.refuse_other_classes(cfg, checkpoint, cfg.load_from)
        runner = launch.build_runner(cfg)
        if checkpoint:
            checkpoints.check_fit(runner.model, checkpoint, cfg.load_from,
                                  whole=cfg.get('resume', False))
        runner.train()
    launch.leave()


if __name__ == '__main__':
    _cli.run(main, parse_args())
