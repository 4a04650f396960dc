"""Multiply-accumulates of a model, counted while it runs."""
import logging
import sys
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmasvit.engine.blame import blaming
from mmasvit.errors import InputError
from mmasvit.geometry import TOKEN_STRIDE
from mmasvit.models.as_vit import AsViT

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
    'rand', 'randn', 'repeat', 'repeat_interleave', 'roll', 'scalar_tensor',
    'scatter', 'scatter_', 'sort', 'stack', 'std_mean', 'sum', 'topk', 'upsample_bicubic2d',
    'upsample_bilinear2d', 'upsample_nearest2d', 'var_mean', 'zeros', 'zeros_like',
    'zero_', '_local_scalar_dense', 'lift_fresh', 'detach_', 'resolve_conj',
    'unbind', 'set_', 'is_same_size', '_unsafe_view', '_reshape_alias', 'select',
    'roi_align', 'nms', 'native_dropout', 'bernoulli_', 'uniform_',
    '_native_batch_norm_legit_no_training',
    '_adaptive_avg_pool2d', '_unsafe_index', 'equal', 'masked_select', 'clamp_min_',
    'split', 'as_strided_', 'affine_grid_generator', 'flip', 'floor_divide',
    'grid_sampler_2d', 'masked_fill_', 'hardswish_', 'hardtanh_',
}
_HEADS = ('rpn_head', 'bbox_head', 'mask_head', 'panoptic_head')


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
    """Make each As-ViT spell out what counters cannot see in fused operators."""
    for module in model.modules():
        if isinstance(module, AsViT):
            module.set_attn_impl('explicit')


@torch.no_grad()
def count_macs(run: Callable[[], object]) -> int:
    """Multiply-accumulates of the matrix products and convolutions in a call.

    Biases, norms, softmax, activations and resampling are not counted.

    Args:
        run: The call, for instance ``lambda: model(images)``. Each As-ViT must be on
            its explicit path (:func:`use_explicit_paths`).

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


def is_detector(cfg: Config) -> bool:
    """Whether a config's model is a detector, or has one in it as SoftTeacher does."""
    return any(_has(cfg.model, head) for head in _HEADS)


def _has(cfg: Any, key: str) -> bool:
    """Whether a key is anywhere in nested dicts."""
    return isinstance(cfg, dict) and (
        key in cfg or any(_has(value, key) for value in cfg.values()))


MOST_PIXELS = 2**24  # what is counted is computed


def check_shape(shape: Optional[Sequence[int]],
                least: int = TOKEN_STRIDE) -> Optional[Tuple[int, int]]:
    """Height and width out of what ``--shape`` was given, None if it was not.

    Raises:
        InputError: If it is not one or two sizes of at least ``least`` pixels.
    """
    if not shape:
        return None
    if len(shape) > 2 or min(shape) < least:
        raise InputError(f'--shape takes one or two sizes of at least {least} px, got '
                         f'{" ".join(map(str, shape))}')
    if max(shape) * min(shape) > MOST_PIXELS:
        raise InputError(f'--shape takes at most {MOST_PIXELS / 1e6:.0f} M pixels, got '
                         f'{" x ".join(map(str, (shape * 2)[:2]))}')
    return tuple(shape * 2)[:2]


def counting_size(cfg: Config, shape: Optional[Sequence[int]] = None) -> Tuple[int, int]:
    """Height and width to count a config's model at: ``shape``, or else 1024 px for a
    detector and 224 px for anything else.

    Raises:
        InputError: If the config has no model with a backbone.
    """
    model = cfg.get('model')
    if not _has(model, 'backbone'):
        raise InputError(f'config {cfg.filename} has no model with a backbone')
    return tuple(shape) if shape else (1024, 1024) if is_detector(cfg) else (224, 224)


def build_to_count(cfg: Config, freeze: bool = True) -> nn.Module:
    """Build a config's model, in evaluation mode and on paths that counters see.

    Args:
        cfg: The config.
        freeze: Whether to take gradients off all parameters, over views of which torch's
            counter stumbles. Defaults to True.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    torch.manual_seed(0)  # which boxes survive suppression depends on the weights
    with blaming('model'):
        model = MODELS.build(cfg.model).eval()
    use_explicit_paths(model)
    return model.requires_grad_(False) if freeze else model


def find_backbone(model: nn.Module) -> nn.Module:
    """The backbone of a model, also of one inside of it: a student's, a tracker's."""
    return next(part for name, part in model.named_modules()
                if name.rpartition('.')[2] == 'backbone')


def count_model_macs(model: nn.Module, size: Tuple[int, int], detector: bool) -> int:
    """Multiply-accumulates of a whole model for one image.

    A detector is run as mmdet's own counter runs it: every proposal of the region
    proposal network (at most ``test_cfg.rpn.max_per_img``) goes through every head, the
    mask heads too.

    Args:
        model: As from :func:`build_to_count`.
        size: Height and width of the image in pixels.
        detector: Whether it is one (:func:`is_detector`).

    Raises:
        InputError: If the model cannot be run on an image alone, or runs operators of
            unknown cost.
    """
    images = torch.rand(1, 3, *size)
    samples = [_empty_sample(size)] if detector else None
    failures = []
    # some detectors want objects to train on in 'tensor' mode, others cannot predict
    for mode in ('tensor', 'predict') if detector else ('tensor', ):
        if failures:
            _initialise_heads(model)
        try:
            return count_macs(lambda: model(images, samples, mode=mode))
        except Exception as error:  # any model: anything can be missing
            failures.append(' '.join(str(error).split()) or type(error).__name__)
    raise InputError(f'{type(model).__name__} as a whole cannot be counted: '
                     + failures[-1])


def measure(cfg: Config, size: Tuple[int, int]) -> Dict[str, Optional[int]]:
    """Parameters and multiply-accumulates of a config's model and of its backbone.

    Args:
        cfg: The config.
        size: Height and width of the image in pixels.

    Returns:
        ``params``, ``macs``, ``backbone_params``, ``backbone_macs``; ``macs`` is None,
        and a line on stderr says why, where only the backbone can be counted.
    """
    model = build_to_count(cfg)
    backbone, images = find_backbone(model), torch.rand(1, 3, *size)
    parameters = [sum(p.numel() for p in part.parameters()) for part in (model, backbone)]
    backbone_macs = count_macs(lambda: backbone(images))
    try:
        macs = count_model_macs(model, size, is_detector(cfg))
    except InputError as error:
        print(error, file=sys.stderr)
        macs = None
    return dict(params=parameters[0], macs=macs, backbone_params=parameters[1],
                backbone_macs=backbone_macs)


def _initialise_heads(model: nn.Module) -> None:
    """Sparse R-CNN's heads, as they are built, propose boxes of negative size."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)  # a line per parameter otherwise
    for name in ('rpn_head', 'roi_head'):
        if hasattr(model, name):
            getattr(model, name).init_weights()
    logger.setLevel(level)


def _empty_sample(size: Tuple[int, int]):
    """What mmdet wants to know of an image of a size, without objects."""
    from mmdet.structures import DetDataSample
    return DetDataSample(metainfo=dict(
        img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
        scale_factor=(1., 1.)))
