"""A loop's own state in the Runner's checkpoints."""
from typing import Protocol

from mmengine.hooks import Hook

from mmasvit.errors import InputError
from mmasvit.measuring.evaluator import first_difference


class StatefulLoop(Protocol):
    """A loop whose state is more than the Runner's counters."""

    def state_dict(self) -> dict:
        """The state: tensors and plain Python."""

    def load_state_dict(self, state: dict) -> None:
        """Take it over, or raise :class:`InputError` if it is of another run."""


class LoopStateHook(Hook):
    """Save and restore a loop's state with the rest of a checkpoint.

    Args:
        loop: The loop; its class name is the checkpoint's key.
    """

    def __init__(self, loop: StatefulLoop):
        self._loop = loop
        self._key = type(loop).__name__

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Add the state to a checkpoint."""
        checkpoint[self._key] = self._loop.state_dict()

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Restore it, before the Runner loads the model."""
        if self._key not in checkpoint:
            raise InputError(f'the checkpoint to resume from is not of a {self._key}')
        self._loop.load_state_dict(checkpoint[self._key])


def check_same_run(saved: dict, current: dict) -> None:
    """Compare what describes two runs.

    Raises:
        InputError: If they differ; the line names the first difference.
    """
    difference = first_difference(saved, current)
    if difference:
        raise InputError(f'the run to resume has {difference}; choose another work '
                         'directory, or resume with its own config')
