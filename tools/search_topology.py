"""Search a topology without training; write it, the evidence, and configs for it."""
import argparse
from typing import List, Optional

import _cli


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(description=__doc__)
    _cli.add_run_arguments(parser)
    _cli.add_replay_argument(parser)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    """Check everything that can be checked first, then search."""
    from mmasvit.engine import launch, preflight
    cfg = launch.load_config(args.config, args.cfg_options)
    preflight.check_loop(cfg, 'TopologySearchLoop')
    launch.prepare(cfg, args)
    with launch.measuring(cfg):
        launch.build_runner(cfg).train()
    launch.leave()


if __name__ == '__main__':
    _cli.run(main, parse_args())
