"""No checkpoint goes before its successor is there."""
import inspect
import os
from typing import Any, List

from mmengine.dist import is_main_process
from mmengine.fileio.backends import BaseStorageBackend
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub
from mmengine.registry import HOOKS
from mmengine.runner import Runner

_NOTE = 'superseded_checkpoints'  # in the message hub, and so in checkpoints


@HOOKS.register_module(force=True)
class KeepingCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, which removes checkpoints that are too many when
    the new one is there, and not before.

    A kill or a full disk in between would leave nothing of a run that keeps one. Our
    Runner takes it in the place of every ``CheckpointHook``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        for name in self.args:  # mmengine's hands on whatever it does not know
            if name not in inspect.signature(Runner.save_checkpoint).parameters:
                raise TypeError(f'got an unexpected keyword argument {name!r}')

    def before_train(self, runner: Runner) -> None:
        """Called by mmengine; a run that goes on removes what its past had still to."""
        super().before_train(runner)
        self.file_backend = _LateRemoval(self.file_backend, self.out_dir,
                                         runner.message_hub)
        self.file_backend.remove_now()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Called by mmengine to write a checkpoint."""
        super()._save_checkpoint_with_step(runner, step, meta)
        self.file_backend.remove_now()

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        """Called by mmengine to write a checkpoint if it is the best."""
        super()._save_best_checkpoint(runner, metrics)
        if self.save_best:
            self.file_backend.remove_now()


class _LateRemoval:
    """A storage that only notes what is to be removed, in what the next checkpoint holds.

    Args:
        backend: The storage.
        folder: Where the files are.
        hub: Where the note is.
    """

    def __init__(self, backend: BaseStorageBackend, folder: str, hub: MessageHub):
        self._backend, self._folder, self._hub = backend, folder, hub

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    @property
    def _noted(self) -> List[str]:
        return self._hub.runtime_info.get(_NOTE) or []

    def remove(self, path: str) -> None:
        """Note a file; by its name, since the folder may be moved."""
        self._hub.update_info(_NOTE, [*self._noted, os.path.basename(path)])

    def remove_now(self) -> None:
        """Remove the files that are noted."""
        for name in self._noted if is_main_process() else ():
            path = self._backend.join_path(self._folder, name)
            if self._backend.isfile(path):
                self._backend.remove(path)
        self._hub.update_info(_NOTE, [])
