"""Attention inside non-overlapping windows of a fixed size in pixels.

Windows are neither shifted nor biased, so all blocks of a stage share one layout: tokens
are put into window order once when they enter a stage and back into raster order once
when they leave it. In between they are a plain ``(N, tokens, channels)`` sequence.
"""
from typing import List, NamedTuple, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmasvit.topology import lay_windows


class WindowGroup(NamedTuple):
    """A rectangle of the token grid that equal windows tile exactly.

    Attributes:
        rows: First row and number of rows of the rectangle.
        cols: First column and number of columns.
        window: Height and width of a window in tokens.
    """
    rows: Tuple[int, int]
    cols: Tuple[int, int]
    window: Tuple[int, int]

    @property
    def tokens(self) -> int:
        """Tokens of the rectangle."""
        return self.rows[1] * self.cols[1]

    @property
    def window_tokens(self) -> int:
        """Tokens of one window."""
        return self.window[0] * self.window[1]


def _side_groups(tokens: int, pixels: int, splits: int,
                 pretrain_img_size: int) -> List[Tuple[int, int, int]]:
    """(start, length, edge) of the whole windows and, if any, of the cut last one."""
    edge, count = lay_windows(tokens, pixels, splits, pretrain_img_size)
    whole = tokens // edge * edge
    groups = [(0, whole, edge)]
    if count * edge > tokens:
        groups.append((whole, tokens - whole, tokens - whole))
    return groups


class WindowLayout:
    """Where the windows of one stage lie on its token grid.

    A grid that the window edge does not divide ends in smaller windows at its right and
    bottom border. That is what padding the grid and masking the padding computes, with
    neither the padding's work nor a mask, which the fastest attention kernels refuse.

    Args:
        grid: Height and width of the stage in tokens.
        size: Height and width of the image in pixels.
        splits: The stage's attention splits S.
        pretrain_img_size: Side of the image in pixels that the splits refer to.
    """

    def __init__(self, grid: Tuple[int, int], size: Tuple[int, int], splits: int,
                 pretrain_img_size: int):
        rows, cols = (_side_groups(tokens, pixels, splits, pretrain_img_size)
                      for tokens, pixels in zip(grid, size))
        self.grid = grid
        self.groups = [
            WindowGroup((top, height), (left, width), (edge_h, edge_w))
            for top, height, edge_h in rows for left, width, edge_w in cols]

    def partition(self, x: Tensor) -> Tensor:
        """Raster order ``(N, H, W, C)`` to window order ``(N, H * W, C)``."""
        n, _, _, c = x.shape
        parts = []
        for (top, height), (left, width), (edge_h, edge_w) in self.groups:
            part = x[:, top:top + height, left:left + width]
            part = part.reshape(n, height // edge_h, edge_h, width // edge_w, edge_w, c)
            parts.append(part.transpose(2, 3).reshape(n, height * width, c))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def restore(self, x: Tensor) -> Tensor:
        """Window order ``(N, H * W, C)`` back to raster order ``(N, H, W, C)``."""
        n, _, c = x.shape
        parts = []
        for group, part in zip(self.groups, self.split(x)):
            (_, height), (_, width), (edge_h, edge_w) = group
            part = part.reshape(n, height // edge_h, width // edge_w, edge_h, edge_w, c)
            parts.append(part.transpose(2, 3).reshape(n, height, width, c))
        if len(parts) == 1:
            return parts[0]
        bands = len({group.cols for group in self.groups})
        rows = [torch.cat(parts[i:i + bands], dim=2)
                for i in range(0, len(parts), bands)]
        return torch.cat(rows, dim=1)

    def split(self, x: Tensor) -> Tuple[Tensor, ...]:
        """The groups' parts of a sequence in window order ``(N, H * W, ...)``."""
        if len(self.groups) == 1:
            return (x, )
        return x.split([group.tokens for group in self.groups], dim=1)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows (section 3.1, elastic splits).

    Args:
        embed_dims: Channels of the tokens.
        num_heads: Heads; each is ``embed_dims // num_heads`` wide, so the inner width
            can be smaller than ``embed_dims``.
        attn_impl: ``'fused'`` calls ``scaled_dot_product_attention``; ``'explicit'``
            writes the products and the softmax out, for counting and for forward-mode
            derivatives. Both agree.
    """

    def __init__(self, embed_dims: int, num_heads: int, attn_impl: str = 'fused'):
        super().__init__()
        self.num_heads = num_heads
        self.attn_impl = attn_impl
        inner_dims = embed_dims // num_heads * num_heads
        self.scale = (embed_dims // num_heads)**-0.5
        self.qkv = nn.Linear(embed_dims, 3 * inner_dims)
        self.proj = nn.Linear(inner_dims, embed_dims)

    def forward(self, x: Tensor, layout: WindowLayout) -> Tensor:
        """Attend within each window.

        Args:
            x: Tokens in window order, ``(N, tokens, embed_dims)``.
            layout: The windows.

        Returns:
            Tensor of the same shape and order.
        """
        attend = self._fused if self.attn_impl == 'fused' else self._explicit
        outs = []
        # group by group up to the end: a tensor of all groups that another operator
        # follows would be kept for the backward pass beside the groups themselves
        for group, part in zip(layout.groups, layout.split(x)):
            qkv = self.qkv(part)
            # each (N * windows, heads, tokens of a window, channels of a head); taken
            # apart before the heads move, so that their gradients are put together once
            q, k, v = (t.transpose(1, 2) for t in qkv.reshape(
                -1, group.window_tokens, 3, self.num_heads,
                qkv.shape[-1] // (3 * self.num_heads)).unbind(2))
            outs.append(self.proj(attend(q, k, v).transpose(1, 2).reshape(
                x.shape[0], group.tokens, -1)))
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, scale=self.scale)

    def _explicit(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = (q * self.scale) @ k.transpose(-2, -1)
        # low precision sums poorly over 784 tokens; float64 must stay float64
        dtype = torch.promote_types(scores.dtype, torch.float32)
        return scores.softmax(dim=-1, dtype=dtype).to(v.dtype) @ v
