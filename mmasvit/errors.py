"""Bad input: one clear line instead of a traceback."""
import sys
from contextlib import contextmanager
from typing import Iterator


class InputError(ValueError):
    """Something the user gave is wrong; the message is one line that says what.

    The library raises it like any :class:`ValueError`; the command line tools print the
    line and exit with status 2. Every other exception keeps its traceback, since it is
    a defect of ours and not of the input.
    """


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an :class:`InputError` into a line on stderr and exit status 2."""
    try:
        yield
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        raise SystemExit(130) from None
