"""Libraries that print and log what nobody asked for."""
import contextlib
import io
import logging
from typing import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what is printed, and what is logged below a warning."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
