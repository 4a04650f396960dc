"""Norms that know the stride of their tokens."""
from typing import Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        return F.layer_norm(x, self.normalized_shape, *affine(self, token_stride),
                            self.eps)


def affine(norm: nn.LayerNorm, token_stride: int) -> Tuple[Tensor, Tensor]:
    """Weight and bias of a norm, each ``(features,)``, for tokens of a stride."""
    if not isinstance(norm, StrideLN):
        return norm.weight, norm.bias
    row = norm.token_strides.index(token_stride)
    return norm.weight[row], norm.bias[row]


def normalise(norm: nn.Module, x: Tensor, token_stride: int) -> Tensor:
    """Apply a norm to tokens of a stride, whether it tells strides apart or not."""
    return norm(x, token_stride) if isinstance(norm, StrideLN) else norm(x)
