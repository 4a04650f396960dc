"""Fewer tokens first, all of them in the end (section 4 of the paper)."""
from typing import Dict, List, Optional, Sequence, Tuple, Union

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmasvit.errors import InputError
from mmasvit.geometry import TOKEN_STRIDE, TOKEN_STRIDES
from mmasvit.token_schedule import TokenSchedule, format_plan


def find_elastic(model: nn.Module) -> List[nn.Module]:
    """Parts of a model whose tokens can be made fewer: an AsViT, or whatever has its
    ``set_token_stride``, ``token_stride``, ``count_macs`` and ``pretrain_img_size``.

    Args:
        model: The model, wrapped for distributed training or not.

    Raises:
        InputError: If there is none, or the model chooses strides itself, as a ReViT
            and a DVT do: there a schedule would change nothing.
    """
    while is_model_wrapper(model):
        model = model.module
    if hasattr(model, 'token_strides') and not hasattr(type(model), 'set_token_stride'):
        raise InputError(f'{type(model).__name__} runs at the token strides '
                         f'{", ".join(map(str, model.token_strides))} by itself: '
                         'no schedule of tokens applies to it')
    # asked of the class: a compiled module passes its original's attributes on
    found = [part for part in model.modules() if hasattr(type(part), 'set_token_stride')]
    if not found:
        name, backbone = type(model).__name__, getattr(model, 'backbone', None)
        if backbone is not None:
            name += f' with backbone {type(backbone).__name__}'
        raise InputError(f'{name} has no elastic tokens (no part with set_token_stride); '
                         'use backbone=dict(type=\'AsViT\')')
    return found


def count_backbones(parts: Sequence[nn.Module],
                    size: Tuple[int, int]) -> Tuple[Dict[int, int], str]:
    """Multiply-accumulates of all parts for one image at each stride, and their name.

    Of several, those count that train: a teacher follows its student, and sees other
    images.

    Args:
        parts: As from :func:`find_elastic`.
        size: Height and width of the image in pixels.
    """
    parts = [part for part in parts
             if any(p.requires_grad for p in part.parameters())] or parts
    macs = {stride: sum(part.count_macs(size, stride) for part in parts)
            for stride in TOKEN_STRIDES}
    return macs, f'backbone {" and ".join(type(part).__name__ for part in parts)} alone'


@HOOKS.register_module(force=True)
class ElasticTokenHook(Hook):
    """Progressive elastic re-tokenization (section 4, figure 4, table 6).

    The stride of the tokens is a function of the epoch (or iteration) alone. It is set
    on the live model before each epoch and iteration and nothing of it is stored, so
    that a run resumed at any point goes on as the unbroken one; weights, checkpoints and
    optimizer states are those of a run without the hook. Validation and test use full
    tokens. The stride and the backbone's cost relative to full tokens are logged as
    ``token_stride`` and ``relative_macs``.

    With ``torch.compile``, compile the backbone (``model.backbone.compile()``): it gets
    one graph per stride.

    Args:
        milestones: ``[(begin, stride), ...]`` with strides 16, 8 or 4, in the order of
            begin. Begins are epochs counted from 0: the paper's "epochs 1 to 40 at 4x,
            41 to 70 at 2x, then full" is ``[(0, 16), (40, 8), (70, 4)]``. A fraction
            begins within an epoch. Before the first begin tokens are full.
        by_epoch: Whether begins are epochs; otherwise iterations, in loops of either
            kind. Defaults to True.
        eval_full_tokens: Whether validation and test use full tokens; otherwise the
            stride of the training at that moment. Defaults to True.
        img_size: Side in pixels, or (height, width), of the training images that the
            plan printed at the start and ``relative_macs`` are counted for. Defaults to
            the backbone's ``pretrain_img_size``.

    Raises:
        InputError: If milestones are not as above; before training, if a milestone lies
            beyond the run or the model has no elastic tokens.

    Examples:
        >>> custom_hooks = [dict(type='ElasticTokenHook',
        ...                      milestones=[(0, 16), (80, 8), (140, 4)])]
    """
    priority = 'HIGHEST'  # before any hook that looks at the model

    def __init__(self, milestones: Sequence[Tuple[float, int]], by_epoch: bool = True,
                 eval_full_tokens: bool = True,
                 img_size: Optional[Union[int, Tuple[int, int]]] = None):
        self.schedule = TokenSchedule(milestones)
        self.by_epoch = by_epoch
        self.eval_full_tokens = eval_full_tokens
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else img_size
        if self.img_size is not None and (
                not isinstance(self.img_size, (list, tuple)) or len(self.img_size) != 2
                or not all(isinstance(side, int) and side >= max(TOKEN_STRIDES)
                           for side in self.img_size)):
            raise InputError('img_size must be one or two sizes of at least '
                             f'{max(TOKEN_STRIDES)} px, got {img_size!r}')

    # ----------------------------------------------------------------------- training

    def before_train(self, runner: Runner) -> None:
        """Check the schedule against the run, print it, and set the stride."""
        unit, length = 'epoch', runner.max_epochs
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise InputError('ElasticTokenHook: this loop counts iterations, not epochs; '
                             'give milestones in iterations and by_epoch=False')
        if not self.by_epoch:
            unit, length = 'iteration', runner.max_iters
        stages = self.schedule.stages(length, unit)
        parts = find_elastic(runner.model)
        size = self.img_size or (parts[0].pretrain_img_size, ) * 2
        macs, what = count_backbones(parts, size)
        self._relative = {stride: macs[stride] / macs[TOKEN_STRIDE] for stride in macs}
        runner.logger.info(format_plan(stages, size, macs, what, unit))
        self._apply(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the stride of the epoch that begins."""
        self._apply(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Set the stride and log it."""
        stride = self._apply(runner, batch_idx)
        runner.message_hub.update_scalar('train/token_stride', stride)
        runner.message_hub.update_scalar('train/relative_macs', self._relative[stride])

    def _progress(self, runner: Runner, batch_idx: int) -> float:
        if not self.by_epoch:
            return runner.iter
        return runner.epoch + batch_idx / len(runner.train_dataloader)

    def _apply(self, runner: Runner, batch_idx: int = 0) -> int:
        """Set the stride of the present on the live model; averaged copies of it only
        lend it their weights, so that theirs does not matter."""
        stride = self.schedule.stride_at(self._progress(runner, batch_idx))
        for part in find_elastic(runner.model):
            if part.token_stride != stride:
                part.set_token_stride(stride)
        return stride

    # --------------------------------------------------------------------- evaluation

    def before_val_epoch(self, runner: Runner) -> None:
        """Evaluate at full tokens, unless asked not to."""
        self._trained = []
        for part in find_elastic(runner.model) if self.eval_full_tokens else ():
            self._trained.append((part, part.token_stride))
            part.set_token_stride(TOKEN_STRIDE)

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Go back to the stride before."""
        for part, stride in self._trained:
            part.set_token_stride(stride)

    def before_test_epoch(self, runner: Runner) -> None:
        """As :meth:`before_val_epoch`."""
        self.before_val_epoch(runner)

    def after_test_epoch(self, runner: Runner, metrics=None) -> None:
        """As :meth:`after_val_epoch`."""
        self.after_val_epoch(runner)
