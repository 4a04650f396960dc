"""An error of a part becomes a line that names the entry of the config."""
import logging
import sysconfig
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from mmengine.logging import MMLogger

from mmasvit.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]
# where code lies that is not the user's
_KNOWN = (_PACKAGE, _PACKAGE.parent / 'tools',
          *(Path(sysconfig.get_path(name)).resolve()
            for name in ('stdlib', 'purelib', 'platlib')))


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Around the making of a part that a config names.

    Only the part itself knows what it takes, and says so by any exception. Where that
    comes out of the user's own code, the line names the place, and the log's file gets
    the traceback.

    Args:
        what: The entry, for the line.

    Raises:
        InputError: For every exception.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        own = [frame for frame in traceback.extract_tb(error.__traceback__)
               if _is_users(frame.filename)]
        place = f' (in {own[-1].filename}, line {own[-1].lineno})' if own else ''
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        text = ' '.join(str(text).split()) or type(error).__name__
        raised = InputError(f'{what}: {text}{place}')
        raised.traced = bool(own) and _keep_traceback(what, error)
        raise raised from error


def _is_users(filename: str) -> bool:
    path = Path(filename)
    return path.is_file() and not set(_KNOWN) & set(path.resolve().parents)


def _keep_traceback(what: str, error: Exception) -> bool:
    """Write a traceback to the file of the current log alone; whether there is one."""
    logger = MMLogger.get_current_instance()
    files = [handler for handler in logger.handlers
             if isinstance(handler, logging.FileHandler)]
    for handler in files:
        handler.emit(logger.makeRecord(
            logger.name, logging.ERROR, '', 0, f'{what}:\n'
            f'{"".join(traceback.format_exception(error))}', (), None))
    return bool(files)
