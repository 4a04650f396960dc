"""Multiply-accumulates of a model, counted while it runs."""
from typing import Callable, Set

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmasvit.models.attention import WindowAttention
from mmasvit.models.tokenizer import ReEmbedding

# Operators that multiply no matrices though neither pointwise nor views: reductions,
# normalisation, resampling, selection, copies and creation.
_FREE = {
    '_softmax', '_log_softmax', '_to_copy', '_unique2', 'all', 'amax', 'amin', 'any',
    'arange', 'argmax', 'argsort', 'avg_pool2d', 'cat', 'clone', 'constant_pad_nd',
    'copy_', 'cumsum', 'empty', 'empty_like', 'eye', 'fill_', 'full', 'full_like',
    'gather', 'im2col', 'index', 'index_put', 'index_put_', 'index_select', 'item',
    'linspace', 'max', 'max_pool2d_with_indices', 'mean', 'meshgrid', 'min',
    'native_batch_norm', 'native_group_norm', 'native_layer_norm', 'new_empty',
    'new_full', 'new_ones', 'new_zeros', 'nonzero', 'ones', 'ones_like', 'prod',
    'rand', 'randn', 'repeat', 'repeat_interleave', 'scalar_tensor', 'scatter',
    'scatter_', 'sort', 'stack', 'std_mean', 'sum', 'topk', 'upsample_bicubic2d',
    'upsample_bilinear2d', 'upsample_nearest2d', 'var_mean', 'zeros', 'zeros_like',
    'zero_', '_local_scalar_dense', 'lift_fresh', 'detach_', 'resolve_conj',
    'unbind', 'set_', 'is_same_size', '_unsafe_view', '_reshape_alias', 'select',
    'roi_align', 'nms', 'native_dropout', 'bernoulli_', 'uniform_',
    '_native_batch_norm_legit_no_training',
    '_adaptive_avg_pool2d', '_unsafe_index', 'equal', 'masked_select', 'clamp_min_',
    'split',
}


class _UncountedOperators(TorchDispatchMode):
    """Collect operators that the counter passes over and that might multiply."""

    def __init__(self, counted: Set):
        super().__init__()
        self.counted = counted
        self.unknown: Set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split('::')[-1]
        if not (func._overloadpacket in self.counted or func.is_view or name in _FREE
                or torch.Tag.pointwise in func.tags
                or func._overloadpacket is torch.ops.prim.device):
            self.unknown.add(str(func))
        return func(*args, **(kwargs or {}))


def use_explicit_paths(model: nn.Module) -> None:
    """Make As-ViT parts spell out what counters cannot see in fused operators."""
    for module in model.modules():
        if isinstance(module, WindowAttention):
            module.attn_impl = 'explicit'
        elif isinstance(module, ReEmbedding):
            module.fused = False


@torch.no_grad()
def count_macs(run: Callable[[], object]) -> int:
    """Multiply-accumulates of the matrix products and convolutions in a call.

    Biases, norms, softmax, activations and resampling are not counted.

    Args:
        run: The call, for instance ``lambda: model(images)``. As-ViT parts must be on
            their explicit paths (:func:`use_explicit_paths`).

    Raises:
        RuntimeError: If an operator runs that is neither counted nor known to multiply
            no matrices: then the number would be too small without anybody noticing.
    """
    counter = FlopCounterMode(display=False)
    watch = _UncountedOperators(set(counter.flop_registry))
    with watch, counter:
        run()
    if watch.unknown:
        raise RuntimeError(
            f'operators of unknown cost: {", ".join(sorted(watch.unknown))}')
    return counter.get_total_flops() // 2
