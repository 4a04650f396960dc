"""Bad input: one clear line instead of a traceback."""
import errno
import sys
from contextlib import contextmanager
from typing import Iterator


class InputError(ValueError):
    """Something the user gave is wrong; the message is one line that says what.

    The library raises it like any :class:`ValueError`; the command line tools print the
    line and exit with status 2. Every other exception keeps its traceback, since it is
    a defect of ours and not of the input.

    Attributes:
        traced: Whether the log holds a traceback that leads into somebody's own code.
    """
    traced = False

    def __init__(self, message: object):
        super().__init__(printable(message))


def printable(text: object) -> str:
    """Text in one line, names out of data in it, as a terminal may show it.

    Whatever is no character to print, the escapes that command a terminal among them, is
    written as Python would write it.
    """
    return ''.join(
        char if char.isprintable() else ' ' if char == '\n' else
        char.encode('unicode_escape', 'backslashreplace').decode() for char in str(text))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an :class:`InputError` into a line on stderr and exit status 2.

    So is a name that no file can have, which any question about it raises.
    """
    try:
        yield
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f'error: {printable(error.filename)[:80]}...: {error.strerror}',
              file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        raise SystemExit(130) from None
