"""Grow a topology to every size without training; write the family and configs for it."""
import argparse

from mmasvit.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    from mmasvit.engine.launch import add_run_arguments
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_arguments(parser)
    parser.add_argument('--resume', action='store_true',
                        help='go on after an interruption; so does a run without it, '
                        'since nothing in the work directory is measured twice')
    return parser.parse_args()


def main() -> None:
    """Check everything that can be checked first, then scale."""
    args = parse_args()
    from mmasvit.engine import launch, preflight
    cfg = launch.load_config(args.config, args.cfg_options)
    preflight.check_loop(cfg, 'AutoScaleLoop', 'test_cfg')
    launch.prepare(cfg, args)
    with launch.measuring(cfg):
        launch.build_runner(cfg).test()
    launch.leave()


if __name__ == '__main__':
    with one_line_errors():
        main()
