"""A run that goes on begins with the validation that its checkpoint is too early for."""
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

# in the message hub, and so in checkpoints; what begins with a mode's name is logged
_NOTE = 'last_validation'


@HOOKS.register_module(force=True)
class MissedValidationHook(Hook):
    """Validate after a resume what would have been validated.

    mmengine writes a checkpoint before it validates, and goes on from it with the next
    epoch: the scores of the one between are lost, and a best checkpoint with them.
    """
    priority = 'LOWEST'  # after hooks that get ready, and after those that score

    def before_train(self, runner: Runner) -> None:
        """Called by mmengine, with all that was resumed."""
        loop, done = runner.train_loop, _progress(runner)
        if (runner.val_loop is None or not done or runner.val_begin > done
                or runner.message_hub.runtime_info.get(_NOTE) == done):
            return
        loop._decide_current_val_interval()
        last = loop.max_epochs if isinstance(loop, EpochBasedTrainLoop) else (
            loop.max_iters)
        if done % loop.val_interval == 0 or done == last:
            runner.logger.info('The checkpoint is of before its validation, which is '
                               'made now.')
            runner.val_loop.run()

    def before_val_epoch(self, runner: Runner) -> None:
        """Called by mmengine; noted before the best checkpoint is written."""
        if runner._train_loop is not None and not isinstance(runner._train_loop, dict):
            runner.message_hub.update_info(_NOTE, _progress(runner))


def _progress(runner: Runner) -> Any:
    """Epochs or iterations done, as its loop counts; 0 where it is of another kind."""
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        return loop.epoch
    return loop.iter if isinstance(loop, IterBasedTrainLoop) else 0
