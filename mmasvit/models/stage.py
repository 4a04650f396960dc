"""The blocks of As-ViT, and the stages that they make up."""
from typing import Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmasvit.geometry import WindowRule
from mmasvit.models.attention import WindowAttention
from mmasvit.models.exchange import BlockExchange, upsample
from mmasvit.models.feedforward import LeanFFN
from mmasvit.models.modes import sizes
from mmasvit.models.norms import normalise
from mmasvit.models.positions import ConvPosEmbed
from mmasvit.models.stage_grid import StageGrid, lay_grid
from mmasvit.models.tokenizer import ReEmbedding


class AsViTBlock(BaseModule):
    """LayerNorm, window attention, residual; LayerNorm, GELU FFN, residual.

    Args:
        embed_dims: Channels of the tokens.
        num_heads: Attention heads.
        feedforward_channels: Hidden channels of the FFN.
        drop_path_rate: Probability to skip each residual branch, per image.
        norm_cfg: The two norms.
        with_cp: Recompute the block in the backward pass instead of keeping it.
        rel_pos_reach: See :class:`WindowAttention`.
        conv_pos_embed: Whether a :class:`ConvPosEmbed` is added to the tokens first.
        context_channels: Channels that the second norm and the FFN see beside the
            tokens' own: another network's, or zeros.
    """

    def __init__(self, embed_dims: int, num_heads: int, feedforward_channels: int,
                 drop_path_rate: float, norm_cfg: dict, with_cp: bool,
                 rel_pos_reach: Optional[int], conv_pos_embed: bool,
                 context_channels: int):
        super().__init__()
        self.with_cp = with_cp
        self.context_channels = context_channels
        self.conv_pos_embed = ConvPosEmbed(embed_dims) if conv_pos_embed else None
        self.norm1 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.attn = WindowAttention(embed_dims, num_heads, rel_pos_reach=rel_pos_reach)
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = build_norm_layer(norm_cfg, embed_dims + context_channels)[1]
        self.ffn = LeanFFN(embed_dims, feedforward_channels, recompute=not with_cp,
                           context_channels=context_channels)

    def forward(self, x: Tensor, grid: StageGrid,
                exchange: Optional[BlockExchange] = None) -> Tensor:
        """Tokens in window order ``(N, tokens, embed_dims)`` to the same."""
        if self.with_cp and self.training and torch.is_grad_enabled():
            # the reentrant variant loses gradients of unused inputs under DDP
            return checkpoint(self._forward, x, grid, exchange, use_reentrant=False)
        return self._forward(x, grid, exchange)

    def _forward(self, x: Tensor, grid: StageGrid, exchange: Optional[BlockExchange]
                 ) -> Tensor:
        if self.conv_pos_embed is not None:
            x = x + grid.partition(self.conv_pos_embed(grid.restore(x)))
        return self.feed(self.attend(x, grid, exchange), grid, exchange)

    def attend(self, x: Tensor, grid: StageGrid,
               exchange: Optional[BlockExchange] = None) -> Tensor:
        """The first of the two residual branches, added."""
        y = normalise(self.norm1, x, grid.token_stride)
        return x + self.drop_path(self.attn(y, grid, exchange))

    def feed(self, x: Tensor, grid: StageGrid,
             exchange: Optional[BlockExchange] = None) -> Tensor:
        """The second."""
        y = self._with_context(x, grid, exchange and exchange.context)
        return x + self.drop_path(self.ffn(normalise(self.norm2, y, grid.token_stride)))

    def _with_context(self, x: Tensor, grid: StageGrid, context: Optional[Tensor]
                      ) -> Tensor:
        if context is None:
            return F.pad(x, (0, self.context_channels)) if self.context_channels else x
        context = upsample(context, grid.shape).permute(0, 2, 3, 1)
        return torch.cat((x, grid.partition(context)), dim=-1)


class AsViTStage(BaseModule):
    """One resolution: re-embedding (but in the first stage), then blocks.

    Tokens are put into window order when they enter a stage, back into raster order when
    they leave it, and from one order into the other where windows change in between.

    Args:
        embed_dims: Channels of the tokens.
        num_heads: Attention heads.
        expansion: FFN expansion ratio E.
        windows: How each block lays its windows.
        drop_path_rates: One rate per block.
        downsample: The re-embedding in front of the blocks; None for the first stage.
        **block: Further arguments of each :class:`AsViTBlock`.
    """

    def __init__(self, embed_dims: int, num_heads: int, expansion: int,
                 windows: Sequence[WindowRule], drop_path_rates: Sequence[float],
                 downsample: Optional[ReEmbedding], **block):
        super().__init__()
        self.windows = windows
        self.downsample = downsample
        self.blocks = ModuleList(
            AsViTBlock(embed_dims, num_heads, embed_dims * expansion, rate, **block)
            for rate in drop_path_rates)

    def forward(self, x: Tensor, size: Tuple[int, int], token_stride: int,
                exchanges: Optional[Sequence[BlockExchange]] = None) -> Tensor:
        """Tokens of the stage before to this one's.

        Args:
            x: ``(N, H, W, C)``.
            size: Height and width of the image in pixels.
            token_stride: Pixels from token to token in the first stage.
            exchanges: With another network, one per block. Defaults to none.
        """
        if self.downsample is not None:
            x = self.downsample(x, token_stride)
        shape, grid = sizes(x, 1, 2), None
        exchanges = exchanges or [None] * len(self.blocks)
        for block, windows, exchange in zip(self.blocks, self.windows, exchanges):
            last, grid = grid, lay_grid(shape, size, windows, token_stride)
            if last is None:
                x = grid.partition(x)
            elif grid.layout != last.layout:
                x = grid.partition(last.restore(x))
            x = block(x, grid, exchange)
        return grid.restore(x)
