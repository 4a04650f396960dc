"""Where a token is, for attention that does not know: two parts that start at zero.

A network that gets one computes what it did before, until it is trained.
"""
from typing import Tuple

import torch
from torch import Tensor, nn

from mmasvit.geometry import TOKEN_STRIDE
from mmasvit.topology import CONV_POS_KERNEL


class RelativePositionBias(nn.Module):
    """A learnt term of the attention scores for each offset between two tokens.

    Offsets count in tokens of 4 pixels (in stage i of as many times 2**i). Coarser tokens
    use every second or fourth entry, so that an offset means the same pixels at every
    stride, and smaller windows the middle of the table; offsets beyond the table share
    its border.

    Args:
        num_heads: Heads, each with a table of its own.
        reach: Largest offset of the table along a side.
    """

    def __init__(self, num_heads: int, reach: int):
        super().__init__()
        side = 2 * reach + 1
        self.table = nn.Parameter(torch.zeros(num_heads, side, side))

    def forward(self, window: Tuple[int, int], token_stride: int) -> Tensor:
        """Biases ``(heads, tokens, tokens)`` of a window's tokens in raster order.

        Args:
            window: Height and width of the window in tokens.
            token_stride: Pixels from token to token in the first stage.
        """
        step = token_stride // TOKEN_STRIDE
        rows, cols = (self._entries(side, step) for side in window)
        bias = self.table[:, rows[:, None, :, None], cols[None, :, None, :]]
        return bias.flatten(3).flatten(1, 2)

    def _entries(self, tokens: int, step: int) -> Tensor:
        """Entry of the table along one side for each pair, ``(tokens, tokens)``."""
        places = torch.arange(tokens, device=self.table.device) * step
        reach = self.table.shape[-1] // 2
        return (places[:, None] - places).clamp(-reach, reach) + reach


class ConvPosEmbed(nn.Conv2d):
    """Conditional position encoding: a 3 x 3 depthwise convolution of the tokens.

    Zero padding tells it where the border is, and its neighbours lie across windows.

    Args:
        embed_dims: Channels of the tokens.
    """

    def __init__(self, embed_dims: int):
        super().__init__(embed_dims, embed_dims, CONV_POS_KERNEL,
                         padding=CONV_POS_KERNEL // 2, groups=embed_dims)

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    # whatever a config says about convolutions
    init_weights = reset_parameters

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(N, H, W, C)`` to what is to be added to them."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def resize_bias_table(table: Tensor, reach: int) -> Tensor:
    """A table of :class:`RelativePositionBias` for another reach: cut, or its border
    repeated, since an offset means the same pixels in both.

    Args:
        table: ``(heads, side, side)``.
        reach: Largest offset of the result.
    """
    own = table.shape[-1] // 2
    entries = torch.arange(-reach, reach + 1, device=table.device).clamp(-own, own) + own
    return table[:, entries[:, None], entries]
