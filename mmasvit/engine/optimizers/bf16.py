"""bfloat16 training on whatever device the model is on."""
import re
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Iterator, List

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner.amp import autocast
from torch import nn

# whose outputs are maps or masks
_PARTS = re.compile(r'(^|\.)(backbone|neck|roi_head\.mask_head(\.\d+)?)$')


@OPTIM_WRAPPERS.register_module(force=True)
class Bf16OptimWrapper(OptimWrapper):
    """An ``OptimWrapper`` that runs the bulk of the forward pass in bfloat16.

    bfloat16 has float32's range, so no loss is scaled and no step skipped. mmengine's
    ``AmpOptimWrapper`` exists for float16: it always carries a CUDA gradient scaler and
    refuses to start on a CPU, where bfloat16 matrix units are just as welcome.

    Its autocast also spans everything between the layers of a detector, where it must
    not: bfloat16 has 8 significant bits, and beyond 512 pixels a coordinate would move in
    steps of 4. Here autocast surrounds single parts, whose outputs come out in float32:
    the backbone, the neck, mask heads, and heads that predict offsets relative to the
    size of a box (see :func:`bf16_parts`). Targets, losses, proposals, suppression and
    heads that predict distances are float32 as ever, so every detector of mmdet will do.
    A model without such parts runs under autocast as a whole.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """The context of one training step's forward pass."""
        with super().optim_context(model), bf16_context(model):
            yield


@contextmanager
def bf16_context(model: nn.Module) -> Iterator[None]:
    """Around a forward pass: what may be in bfloat16 is; see :class:`Bf16OptimWrapper`."""
    parts = bf16_parts(model)
    with _autocast_inside(parts) if parts else autocast(dtype=torch.bfloat16):
        yield


def use_bf16(optim_wrapper: dict) -> None:
    """Make a config's optimizer wrapper a :class:`Bf16OptimWrapper`, in place.

    Only of a type that it can stand for: mmengine's own, with or without autocast.
    """
    if optim_wrapper.get('type', 'OptimWrapper') in ('OptimWrapper', 'AmpOptimWrapper'):
        optim_wrapper['type'] = 'Bf16OptimWrapper'
        for name in ('loss_scale', 'dtype', 'use_fsdp'):
            optim_wrapper.pop(name, None)


def bf16_parts(model: nn.Module) -> List[nn.Module]:
    """The parts of a model that compute in bfloat16 without harm.

    Offsets of a delta coder are fractions of a box's size, an error of 1 in 256 there is
    one of a small part of a pixel; distances in pixels (FCOS) are rounded by that much.
    Parts with operators of mmcv in them (deformable convolutions) stay as they are: these
    have no kernels for bfloat16.
    """
    return [part for name, part in model.named_modules()
            if not isinstance(part, nn.ModuleList) and (
                _PARTS.search(name)
                or type(getattr(part, 'bbox_coder', None)).__name__.startswith('Delta'))
            and not any(type(inner).__module__.startswith('mmcv.ops')
                        for inner in part.modules())]


@contextmanager
def _autocast_inside(parts: List[nn.Module]) -> Iterator[None]:
    """Run the given modules under bfloat16 autocast, with float32 outputs."""
    entered: List[AbstractContextManager] = []

    def enter(*unused) -> None:
        entered.append(autocast(dtype=torch.bfloat16))
        entered[-1].__enter__()

    def leave(module: nn.Module, inputs: tuple, output: Any) -> Any:
        entered.pop().__exit__(None, None, None)
        return _to_float32(output)

    hooks = [hook for part in parts for hook in (
        part.register_forward_pre_hook(enter),
        part.register_forward_hook(leave, always_call=True))]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _to_float32(output: Any) -> Any:
    """Tensors of bfloat16 in nested tuples, lists and dicts to float32."""
    if isinstance(output, torch.Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (tuple, list)) and not hasattr(output, '_fields'):
        return type(output)(map(_to_float32, output))
    if isinstance(output, dict):
        return {name: _to_float32(value) for name, value in output.items()}
    return output
