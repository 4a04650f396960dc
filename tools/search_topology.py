"""Search a topology without training; write it, the evidence, and configs for it."""
import argparse

from mmasvit.errors import one_line_errors


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    from mmasvit.engine.launch import add_replay_argument, add_run_arguments
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_arguments(parser)
    add_replay_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Check everything that can be checked first, then search."""
    args = parse_args()
    from mmasvit.engine import launch, preflight
    cfg = launch.load_config(args.config, args.cfg_options)
    preflight.check_loop(cfg, 'TopologySearchLoop')
    launch.prepare(cfg, args)
    with launch.measuring(cfg):
        launch.build_runner(cfg).train()
    launch.leave()


if __name__ == '__main__':
    with one_line_errors():
        main()
