"""The Runner of our tools: mmengine's, where that loses something without a word."""
from typing import Callable, Dict, Optional, Union

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner
from mmengine.utils import is_list_of

from mmasvit.engine import schedules
from mmasvit.engine.hooks import SteadyLogHook
from mmasvit.errors import InputError


class CarefulRunner(Runner):
    """mmengine's ``Runner``, with three differences.

    - ``auto_scale_lr`` scales by the images of an optimizer step, which are those of
      ``accumulative_counts`` batches.
    - A resumed run follows the config's schedule (:mod:`mmasvit.engine.schedules`).
    - A line is logged after the first iteration and at least once a minute.
    """

    def register_default_hooks(self, hooks: Optional[Dict] = None) -> None:
        """Register mmengine's hooks and the one for a line a minute."""
        super().register_default_hooks(hooks)
        self.register_hook(SteadyLogHook())

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
