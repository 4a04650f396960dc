"""Attention inside windows."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmasvit.errors import InputError
from mmasvit.models.exchange import BlockExchange, upsample_relations
from mmasvit.models.modes import is_transformed
from mmasvit.models.positions import RelativePositionBias
from mmasvit.models.stage_grid import StageGrid


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows (section 3.1, elastic splits).

    Args:
        embed_dims: Channels of the tokens.
        num_heads: Heads; each is ``embed_dims // num_heads`` wide, so the inner width
            can be smaller than ``embed_dims``.
        fused: Whether to call ``scaled_dot_product_attention`` or to write the products
            and the softmax out, for counting and for forward-mode derivatives. Both
            agree. Defaults to True.
        rel_pos_reach: Reach of a :class:`RelativePositionBias`, or None for no bias. A
            bias that is trained keeps the fastest kernels from being used and the scores
            in memory. Defaults to None.
    """

    def __init__(self, embed_dims: int, num_heads: int, fused: bool = True,
                 rel_pos_reach: Optional[int] = None):
        super().__init__()
        self.num_heads = num_heads
        self.fused = fused
        inner_dims = embed_dims // num_heads * num_heads
        self.scale = (embed_dims // num_heads)**-0.5
        self.qkv = nn.Linear(embed_dims, 3 * inner_dims)
        self.proj = nn.Linear(inner_dims, embed_dims)
        self.rel_pos_bias = None
        if rel_pos_reach is not None:
            self.rel_pos_bias = RelativePositionBias(num_heads, rel_pos_reach)

    def forward(self, x: Tensor, grid: StageGrid,
                exchange: Optional[BlockExchange] = None) -> Tensor:
        """Attend within each window.

        Args:
            x: Tokens in window order, ``(N, tokens, embed_dims)``.
            grid: The windows.
            exchange: Another network's relations, and where to keep the own. Defaults to
                neither.

        Returns:
            Tensor of the same shape and order.
        """
        exchange = exchange or BlockExchange()
        outs = []
        # group by group up to the end: a tensor of all groups that another operator
        # follows would be kept for the backward pass beside the groups themselves
        for group, part in zip(grid.groups, grid.split(x)):
            qkv = self.qkv(part)
            mask = grid.mask(part)
            fused = self.fused and not (exchange.export or mask is not None
                                        or is_transformed() or torch.jit.is_tracing())
            if fused and qkv.requires_grad and not torch.compiler.is_compiling():
                qkv.register_hook(_refuse_second_derivatives)
            # each (N * windows, heads, tokens of a window, channels of a head); taken
            # apart before the heads move, so that their gradients are put together once
            q, k, v = (t.transpose(1, 2) for t in qkv.reshape(
                -1, group.window_tokens, 3, self.num_heads,
                qkv.shape[-1] // (3 * self.num_heads)).unbind(2))
            bias = self._bias(group.window, grid.token_stride, exchange.relations,
                              q.dtype)
            if mask is not None:
                bias = mask.to(q.dtype) if bias is None else bias + mask.to(q.dtype)
            out = self._fused(q, k, v, bias) if fused else None
            if out is None:
                scores = self._scores(q, k, bias)
                out = self._weigh(scores, v)
            if exchange.export:
                exchange.logits = scores.unflatten(3, group.window).unflatten(
                    2, group.window)
            outs.append(self.proj(out.transpose(1, 2).reshape(
                x.shape[0], group.tokens, -1)))
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)

    def _bias(self, window: Tuple[int, int], token_stride: int,
              relations: Optional[Tensor], dtype: torch.dtype) -> Optional[Tensor]:
        """All that is added to the scores of a window."""
        bias = None
        if self.rel_pos_bias is not None:
            bias = self.rel_pos_bias(window, token_stride).to(dtype)
        if relations is not None:
            relations = upsample_relations(relations.to(dtype), window)
            bias = relations if bias is None else bias + relations
        return bias

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, bias: Optional[Tensor]
               ) -> Optional[Tensor]:
        """Attention by torch's kernels; None where they lack forward mode."""
        try:
            return F.scaled_dot_product_attention(q, k, v, bias, scale=self.scale)
        except NotImplementedError:
            return None

    def _scores(self, q: Tensor, k: Tensor, bias: Optional[Tensor]) -> Tensor:
        scores = (q * self.scale) @ k.transpose(-2, -1)
        return scores if bias is None else scores + bias

    @staticmethod
    def _weigh(scores: Tensor, v: Tensor) -> Tensor:
        # low precision sums poorly over 784 tokens; float64 must stay float64
        dtype = torch.promote_types(scores.dtype, torch.float32)
        return scores.softmax(dim=-1, dtype=dtype).to(v.dtype) @ v


def _refuse_second_derivatives(gradient: Tensor) -> None:
    """Hook of a gradient: to differentiate it, torch's kernels have nothing."""
    if gradient.requires_grad:
        gradient.register_hook(_refuse)


def _refuse(_):
    raise InputError("fused attention has no second derivatives: build the backbone with "
                     "attn_impl='explicit', or call set_attn_impl('explicit')")
