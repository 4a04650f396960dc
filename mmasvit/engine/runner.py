"""The Runner of our tools: mmengine's, where that loses something without a word."""
import os
from typing import Any, Callable, Dict, Optional, Union

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import OPTIMIZERS
from mmengine.runner import Runner
from mmengine.utils import is_list_of

from mmasvit.engine import schedules
from mmasvit.engine.blame import blaming
from mmasvit.engine.hooks import KeepingCheckpointHook, MissedValidationHook, SteadyLogHook
from mmasvit.errors import InputError
from mmasvit.files import replacing

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# hooks whose errors are defects, and keep their tracebacks
_TRUSTED = ('mmasvit', 'mmengine', 'mmdet', 'mmpretrain')


def _blamed(method: str, entry: str) -> Callable:
    """A method of mmengine's Runner that makes what an entry of the config names."""
    def made(self: Runner, given: Any, *args: Any, **kwargs: Any) -> Any:
        with blaming(entry):
            return getattr(super(CarefulRunner, self), method)(given, *args, **kwargs)

    made.__doc__ = f"mmengine's, whose errors become a line about ``{entry}``."
    return made


class CarefulRunner(Runner):
    """mmengine's ``Runner``, with these differences.

    - ``auto_scale_lr`` scales by the images of an optimizer step, which are those of
      ``accumulative_counts`` batches.
    - A resumed run follows the config's schedule (:mod:`mmasvit.engine.schedules`).
    - A line is logged after the first iteration and at least once a minute.
    - A resumed run makes the validation up that its checkpoint is of before.
    - A checkpoint is whole or not there, and none goes before its successor is there.
    - What a part of the config raises while it is made, and a hook of the user's own at
      any time, becomes a line that names the entry.
    """
    build_model = _blamed('build_model', 'model')
    build_visualizer = _blamed('build_visualizer', 'visualizer')
    build_param_scheduler = _blamed('build_param_scheduler', 'param_scheduler')
    build_train_loop = _blamed('build_train_loop', 'train_cfg')
    build_val_loop = _blamed('build_val_loop', 'val_cfg')
    build_test_loop = _blamed('build_test_loop', 'test_cfg')
    build_log_processor = _blamed('build_log_processor', 'log_processor')

    def build_dataloader(self, dataloader: Any, *args: Any, **kwargs: Any) -> Any:
        """mmengine's, whose errors become a line about the loader."""
        with blaming(self._entry(dataloader, LOADERS)):
            return super().build_dataloader(dataloader, *args, **kwargs)

    def build_evaluator(self, evaluator: Any) -> Any:
        """mmengine's, whose errors become a line about the evaluator."""
        entry = self._entry(evaluator, ('val_evaluator', 'test_evaluator'))
        with blaming(entry):
            made = super().build_evaluator(evaluator)
        # what a metric takes it may find out when it scores
        for name in ('process', 'evaluate'):
            setattr(made, name, blaming(entry)(getattr(made, name)))
        return made

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """mmengine's, whose errors become a line about ``optim_wrapper``."""
        given = optim_wrapper.get('optimizer') if isinstance(optim_wrapper, dict) else None
        kind = given.get('type') if isinstance(given, dict) else None
        if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
            raise InputError(f'optim_wrapper.optimizer.type: there is no {kind!r}')
        with blaming('optim_wrapper'):
            return super().build_optim_wrapper(optim_wrapper)

    def _entry(self, given: Any, names: Any) -> str:
        """Which entry of the config is given; those alike are meant together."""
        return ' and '.join(name for name in names if isinstance(given, (dict, list))
                            and self.cfg.get(name) == given) or names[0].split('_')[1]

    def register_default_hooks(self, hooks: Optional[Dict] = None) -> None:
        """Register mmengine's hooks and our own."""
        super().register_default_hooks(hooks)
        self.register_hook(SteadyLogHook())
        self.register_hook(MissedValidationHook())

    def register_hook(self, hook: Union[Hook, Dict], priority: Any = None) -> None:
        """Register a hook, ours in the place of mmengine's that saves checkpoints."""
        name = hook.get('type') if isinstance(hook, dict) else type(hook).__name__
        if name in ('CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook) and (
                isinstance(hook, dict)):
            hook = dict(hook, type=KeepingCheckpointHook)
        with blaming(f'hook {name}'):
            super().register_hook(hook, priority)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks."""
        for hook in self._hooks:
            method = getattr(hook, fn_name, None)
            if method is None:
                continue
            if type(hook).__module__.split('.')[0] in _TRUSTED:
                method(self, **kwargs)
            else:
                with blaming(f'hook {type(hook).__name__} in {fn_name}'):
                    method(self, **kwargs)

    def save_checkpoint(self, out_dir: str, filename: str, *args: Any,
                        **kwargs: Any) -> None:
        """Save a checkpoint whole, or not at all.

        Raises:
            InputError: If it cannot be written.
        """
        if not is_main_process() or '://' in out_dir:
            return super().save_checkpoint(out_dir, filename, *args, **kwargs)
        try:
            os.makedirs(out_dir, exist_ok=True)
        except OSError as error:
            raise InputError(f'{out_dir} cannot be written: {error.strerror}') from None
        with replacing(os.path.join(out_dir, filename)) as temporary:
            super().save_checkpoint(*os.path.split(temporary), *args, **kwargs)

    def build_parts(self) -> None:
        """Make what a training is made of, as :meth:`train` does: so it is refused before
        anything runs."""
        self._train_loop = self.build_train_loop(self._train_loop)
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
        if self._val_loop is not None:
            self._val_loop = self.build_val_loop(self._val_loop)

    def scale_lr(self, optim_wrapper: OptimWrapper,
                 auto_scale_lr: Optional[Dict] = None) -> None:
        """Scale learning rates by the images of an optimizer step."""
        counts = (self.cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        if auto_scale_lr and auto_scale_lr.get('enable', False) and counts > 1:
            base = auto_scale_lr['base_batch_size']
            self.logger.info(f'A step of the optimizer accumulates {counts} batches: the '
                             f'base batch of {base} is {base / counts:g} for each.')
            auto_scale_lr = dict(auto_scale_lr, base_batch_size=base / counts)
        super().scale_lr(optim_wrapper, auto_scale_lr)

    def load_or_resume(self) -> None:
        """Load what the config says; in training, its schedule is built by now."""
        if is_list_of(self.param_schedulers, _ParamScheduler):
            for line in schedules.rising_again(self.param_schedulers, self.max_epochs,
                                               self.max_iters):
                self.logger.warning(line)
        super().load_or_resume()

    def load_checkpoint(self, filename: str, *args, **kwargs) -> dict:
        """Load weights, and note how many schedules come with them."""
        checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        self._saved_schedules = len(checkpoint.get('param_schedulers') or ())
        return checkpoint

    def resume(self, filename: str, resume_optimizer: bool = True,
               resume_param_scheduler: bool = True,
               map_location: Union[str, Callable] = 'default') -> None:
        """Go on from a checkpoint, on the config's schedule.

        Raises:
            InputError: If the checkpoint's optimizer is of other parameters, or the
                schedule differs and cannot be computed anew.
        """
        several = isinstance(self.optim_wrapper, OptimWrapperDict)
        if several or not resume_optimizer or not resume_param_scheduler:
            return super().resume(filename, resume_optimizer, resume_param_scheduler,
                                  map_location)
        optimizer, schedulers = self.optim_wrapper.optimizer, self.param_schedulers or []
        start = schedules.take_start(optimizer, schedulers)
        try:
            super().resume(filename, map_location=map_location)
        except ValueError as error:
            if 'parameter group' not in str(error):
                raise
            raise InputError(f'--resume: the optimizer in {filename} is of other '
                             f'parameters than the config\'s: {error}') from error
        changed = schedules.follow_config(optimizer, schedulers, start,
                                          self._saved_schedules, self.epoch, self.iter)
        if changed:
            rates = sorted({group['lr'] for group in optimizer.param_groups})
            self.logger.warning(
                f'The config differs from the checkpoint in {", ".join(changed)}: the '
                f'run goes on as the config says, with learning rates of {rates[0]:.3g} to '
                f'{rates[-1]:.3g}.')
