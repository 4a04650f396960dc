"""What a block takes from a network that has seen the image, and gives to the next.

Both come at the grid of their own network; a block brings them to its own where it uses
them, so that no map of another grid is held longer than that.
"""
from dataclasses import dataclass
from typing import Optional, Tuple

import torch.nn.functional as F
from torch import Tensor


@dataclass
class BlockExchange:
    """What one block gets and gives, beside its tokens.

    Attributes:
        context: For the FFN to see beside the tokens, ``(N, context_channels, h, w)`` of
            any grid. None stands for zeros.
        relations: Added to the attention's logits, ``(N * windows, heads, h, w, h, w)``
            of windows of any size: tokens that ask, tokens that answer. None for nothing.
        export: Whether to keep the logits. Attention is then written out, and the grid
            must be of equal windows.
        logits: What was kept: scaled products and all that is added to them, before the
            softmax, in the form of ``relations``.
    """
    context: Optional[Tensor] = None
    relations: Optional[Tensor] = None
    export: bool = False
    logits: Optional[Tensor] = None


def upsample(x: Tensor, size: Tuple[int, int]) -> Tensor:
    """Bring the last two dimensions to a size: nearest to twice, then area means.

    Args:
        x: ``(..., h, w)``.
        size: Height and width to bring it to.
    """
    maps = F.interpolate(x.flatten(0, -3)[None], scale_factor=2, mode='nearest')
    if maps.shape[-2:] != size:
        maps = F.adaptive_avg_pool2d(maps, size)
    return maps.view(*x.shape[:-2], *size)


def upsample_relations(x: Tensor, window: Tuple[int, int]) -> Tensor:
    """Bring logits to another window: :func:`upsample` of both who ask and who answer.

    Args:
        x: ``(windows, heads, h, w, h, w)``.
        window: Height and width to bring each window to, in tokens.

    Returns:
        ``(windows, heads, tokens, tokens)``.
    """
    x = upsample(x.permute(0, 1, 4, 5, 2, 3), window)
    # those who answer last: kernels want them contiguous
    return upsample(x.permute(0, 1, 4, 5, 2, 3), window).flatten(4).flatten(2, 3)
