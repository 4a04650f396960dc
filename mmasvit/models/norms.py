"""Norms of tokens: some know the stride, those of outputs the layout of maps."""
from typing import Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from mmasvit.models.modes import carries_tangent, is_plain


class StrideLN(nn.LayerNorm):
    """LayerNorm with a weight and a bias of its own for each stride of the tokens.

    They are the rows of two parameters ``(strides, features)`` instead of parameters of
    their own: whichever stride an iteration draws, each parameter takes part, which
    distributed training asks for. Rows of the others get a gradient of zero.

    Args:
        features: Channels that are normalised.
        token_strides: The strides, a row each.
        eps: As in ``LayerNorm``.
    """

    def __init__(self, features: int, token_strides: Sequence[int], eps: float = 1e-5):
        super().__init__(features, eps=eps)
        self.token_strides = tuple(token_strides)
        shape = (len(self.token_strides), features)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor, token_stride: int) -> Tensor:
        """Normalise the last dimension with the row of ``token_stride``."""
        return layer_norm(self, x, token_stride)


class _OfMaps:
    """A norm over the channels of maps ``(N, C, H, W)``.

    Norms of outputs are what tools look at from outside, which take four dimensions for
    these.
    """

    def forward(self, x: Tensor, token_stride: Optional[int] = None) -> Tensor:
        """Maps ``(N, C, H, W)`` to the same."""
        x = layer_norm(self, x.permute(0, 2, 3, 1), token_stride)
        return x.permute(0, 3, 1, 2).contiguous()


class MapLN(_OfMaps, nn.LayerNorm):
    """``LayerNorm`` of maps."""


class MapStrideLN(_OfMaps, StrideLN):
    """:class:`StrideLN` of maps."""


_OF_MAPS = {'LN': MapLN, nn.LayerNorm: MapLN, StrideLN: MapStrideLN}


def build_map_norm(norm_cfg: dict, features: int) -> nn.Module:
    """The norm of an output, as ``norm_cfg`` has it for tokens.

    One that is no ``LayerNorm`` keeps the channels last: see :func:`normalise_map`.
    """
    kind = norm_cfg['type']
    return build_norm_layer(dict(norm_cfg, type=_OF_MAPS.get(kind, kind)), features)[1]


def affine(norm: nn.LayerNorm, token_stride: Optional[int]) -> Tuple[Tensor, Tensor]:
    """Weight and bias of a norm, each ``(features,)``, for tokens of a stride."""
    if not isinstance(norm, StrideLN):
        return norm.weight, norm.bias
    row = norm.token_strides.index(token_stride)
    return norm.weight[row], norm.bias[row]


def layer_norm(norm: nn.LayerNorm, x: Tensor, token_stride: Optional[int]) -> Tensor:
    """What a LayerNorm computes, with right derivatives of every kind and order.

    It is written out for forward mode: torch's second forward-mode derivative of its
    fused kernel is wrong without any error.
    """
    weight, bias = affine(norm, token_stride)
    if not carries_tangent(x):
        return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps)
    centred = x - x.mean(dim=-1, keepdim=True)
    x = centred * (centred.square().mean(dim=-1, keepdim=True) + norm.eps).rsqrt()
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def normalise(norm: nn.Module, x: Tensor, token_stride: int) -> Tensor:
    """Apply a norm to tokens of a stride, whether it tells strides apart or not."""
    if isinstance(norm, StrideLN):
        return norm(x, token_stride)
    if is_plain(norm, nn.LayerNorm) and carries_tangent(x):
        return layer_norm(norm, x, token_stride)
    return norm(x)


def normalise_map(norm: nn.Module, x: Tensor, token_stride: int) -> Tensor:
    """Apply a norm of :func:`build_map_norm` to maps ``(N, C, H, W)``."""
    if isinstance(norm, _OfMaps):
        return norm(x, token_stride)
    x = normalise(norm, x.permute(0, 2, 3, 1), token_stride)
    return x.permute(0, 3, 1, 2).contiguous()
