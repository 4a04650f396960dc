"""A line in the log at once, and never a minute of silence."""
import time
from typing import Optional, Sequence, Union

from mmengine.hooks import Hook, LoggerHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module(force=True)
class SteadyLogHook(Hook):
    """Log the first iteration, and those that end a long silence.

    mmengine logs every so many iterations: 50 iterations of half a minute each are 25
    minutes in which nobody can tell a run from one that hangs. The lines are of
    ``LoggerHook``'s form and beside its own; curves keep its points alone.

    Args:
        seconds: The longest silence, as far as iterations end in between. Defaults to
            60.
    """
    priority = 'BELOW_NORMAL'  # after LoggerHook, which is registered earlier

    def __init__(self, seconds: float = 60.):
        self.seconds = seconds
        self._last_line: Optional[float] = None

    def _after_iter(self, runner: Runner, batch_idx: int,
                    data_batch: Optional[Union[dict, tuple, list]] = None,
                    outputs: Optional[Union[Sequence, dict]] = None,
                    mode: str = 'train') -> None:
        """Called by mmengine after each iteration of training, validation and test."""
        logger = next((h for h in runner.hooks if isinstance(h, LoggerHook)), None)
        if logger is None:  # whoever switched the lines off wants none
            return
        now, last = time.monotonic(), self._last_line
        logged = (self.every_n_inner_iters(batch_idx, logger.interval)
                  or self.end_of_epoch(getattr(runner, f'{mode}_dataloader'), batch_idx))
        if not logged:
            if last is not None and now - last < self.seconds:
                return
            runner.logger.info(
                runner.log_processor.get_log_after_iter(runner, batch_idx, mode)[1])
        self._last_line = now
