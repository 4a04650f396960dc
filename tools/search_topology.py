"""Search a topology without training; write it, the evidence, and configs for it."""
import argparse
import sys

from mmasvit.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    from mmasvit.engine.launch import add_run_arguments
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from CHECKPOINT, or without a value from the latest '
                        'one in the work directory')
    add_run_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Check everything that can be checked first, then search."""
    args = parse_args()
    from mmasvit.engine import launch
    cfg = launch.load_config(args.config, args.cfg_options)
    launch.check_loop(cfg, 'TopologySearchLoop')
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    launch.check_checkpoint(cfg.get('load_from'))
    launch.prepare(cfg, args)
    try:
        launch.build_runner(cfg).train()
    except KeyboardInterrupt:
        print(f'what was measured is kept in {cfg.work_dir}; the same command with '
              '--resume goes on', file=sys.stderr)
        raise
    launch.leave()


if __name__ == '__main__':
    with one_line_errors():
        main()
