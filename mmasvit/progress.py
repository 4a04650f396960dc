"""A bar for people who watch."""
import logging
import sys
from contextlib import contextmanager
from typing import Callable, Iterator

from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from rich.console import Console
from rich.progress import (BarColumn, MofNCompleteColumn, Progress, TextColumn,
                           TimeRemainingColumn)


@contextmanager
def progress_bar(total: int, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a bar on a terminal, on rank 0; log lines scroll above it.

    Args:
        total: Steps in all.
        done: Steps made before.

    Yields:
        A function of the steps made, a function of the line to show beside the bar and,
        if it has become another, the number of steps in all.
    """
    console = Console(stderr=True)
    if not is_main_process() or not console.is_terminal:
        yield lambda done, text, total=None: None
        return
    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  TextColumn('{task.description}'), console=console,
                  transient=True) as progress, _logs_above():
        task = progress.add_task('', total=total, completed=done)
        yield lambda done, text, total=None: progress.update(
            task, completed=done, description=text(), total=total)


@contextmanager
def _logs_above() -> Iterator[None]:
    """Have loggers write to what rich has put in place of stdout and stderr."""
    handlers = [handler for handler in MMLogger.get_current_instance().handlers
                if type(handler) is logging.StreamHandler]
    streams = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams):
            handler.setStream(stream)
