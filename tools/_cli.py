"""What the tools' command lines share; it loads nothing, so that --help is quick.

A tool reads its command line first and loads the library after it, inside its functions:

    def parse_args(argv=None):
        parser = _cli.Parser(description=__doc__)
        _cli.add_run_arguments(parser)
        return parser.parse_args(argv)

    if __name__ == '__main__':
        _cli.run(main, parse_args())
"""
import argparse
import codecs
import io
import locale
import os
import sys
from typing import Callable

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others of a tool."""

    def error(self, message: str) -> None:
        """Print the message without the usage, and leave."""
        line = ''.join(char if char.isprintable() else repr(char)[1:-1] for char in message)
        self.exit(2, f'error: {line}\n')


def add_config_arguments(parser: argparse.ArgumentParser,
                         what: str = 'config file') -> None:
    """Add what :func:`mmasvit.engine.launch.load_config` takes."""
    parser.add_argument('config', help=what)
    add_options_argument(parser, 'override settings of the config, as in '
                         'train_dataloader.batch_size=4')


def add_options_argument(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--cfg-options``."""
    # Words as they are: what they mean is mmengine's to say, which is not loaded yet.
    parser.add_argument('--cfg-options', nargs='+', action='extend', type=_setting,
                        metavar='K=V', help=what)


def _setting(word: str) -> str:
    """Check one word of ``--cfg-options``."""
    if '=' not in word:
        raise argparse.ArgumentTypeError(f'K=V expected, got {word!r}')
    return word


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config and the flags that every tool around a Runner shares."""
    add_config_arguments(parser)
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: '
                        "the config's, or work_dirs/<name of the config>")
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none',
                        help='how the processes were started')
    # torch.distributed.launch passes it; torchrun sets the variable instead
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the tools that check the data before a run."""
    parser.add_argument('--no-data-check', action='store_true',
                        help='do not look at every image file before starting')


def add_resume_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--resume`` of the tools whose runs leave checkpoints."""
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from CHECKPOINT, or without a value from the latest '
                        'one in the work directory')


def add_replay_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--resume`` of the tools that measure."""
    parser.add_argument('--resume', action='store_true',
                        help='go on after an interruption; so does a run without it, '
                        'since nothing in the work directory is measured twice')


def run(main: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> None:
    """Run a tool whose command line has been read; bad input ends it in one line.

    Names of files and texts in them are UTF-8 whatever the locale says.
    """
    if codecs.lookup(locale.getpreferredencoding(False)).name != 'utf-8':
        os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name may be no text at all
            stream.reconfigure(errors='backslashreplace')
    try:
        from mmasvit.errors import one_line_errors
        from mmasvit.memory import keep_memory
    except KeyboardInterrupt:  # it loads torch and mmdet, which takes seconds
        sys.exit(130)
    keep_memory()
    with one_line_errors():
        main(args)
