"""Timing parts of backbones and whole ones, in turn."""
import time
from math import ceil
from typing import Callable, Dict, Hashable, Tuple

import torch
from torch import Tensor, nn

from mmasvit.benchmarking import Timing, alternate, synchronize
from mmasvit.geometry import TOKEN_STRIDE, WindowRule, token_grids
from mmasvit.latency.parts import Part
from mmasvit.models.as_vit import AsViT
from mmasvit.models.stage import AsViTBlock
from mmasvit.models.stage_grid import StageGrid
from mmasvit.models.tokenizer import ReEmbedding
from mmasvit.topology import Topology

MORE_ROUNDS = 5
SECONDS = 20
_NORM = dict(type='LN')

Step = Callable[[], object]


class _Call(nn.Module):
    """A function of a module and a tensor, which can be compiled."""

    def __init__(self, function: Callable[..., Tensor], *modules: nn.Module):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(*self.parts, x)


def build_part(part: Part, embed_dims: int, shape: Tuple[int, int],
               pretrain_img_size: int) -> Tuple[nn.Module, Tensor]:
    """The network of a part, at random weights, and what goes into it.

    Args:
        part: The part.
        embed_dims: Width C of the first stage.
        shape: Height and width of the image in pixels.
        pretrain_img_size: Side in pixels that the splits refer to.
    """
    widths = Topology((2, ) * 4, (1, ) * 4, (1, ) * 4, 8, embed_dims=embed_dims).widths
    stage, width = part.stage - 1, widths[part.stage - 1]
    rows, cols = token_grids(shape)[stage]
    raster = torch.rand(1, rows, cols, width)
    if part.kind == 'tokenizer':
        plain = Topology(part.option + (2, ) * 3, (1, ) * 4, (1, ) * 4, 8,
                         embed_dims=embed_dims)
        backbone = AsViT(plain, out_indices=(0, ), pretrain_img_size=pretrain_img_size)
        return _Call(_embed, backbone), torch.rand(1, 3, *shape)
    if part.kind == 're_embedding':
        incoming = torch.rand(1, *token_grids(shape)[stage - 1], widths[stage - 1])
        return ReEmbedding(widths[stage - 1], width, *part.option, _NORM), incoming
    if part.kind == 'output':
        return _Call(_output, nn.LayerNorm(width)), raster
    splits = part.option[0] if part.kind in ('windows', 'attention') else 1
    grid = StageGrid((rows, cols), shape, WindowRule(splits, pretrain_img_size),
                     TOKEN_STRIDE)
    if part.kind == 'windows':
        return _Call(lambda x: grid.restore(grid.partition(x))), raster
    heads, expansion = 1, 1
    if part.kind == 'attention':
        heads = part.option[1]
    else:
        expansion = part.option[0]
    block = AsViTBlock(width, heads, width * expansion, 0., _NORM, with_cp=False,
                       rel_pos_reach=None, conv_pos_embed=False, context_channels=0)
    half = AsViTBlock.attend if part.kind == 'attention' else AsViTBlock.feed
    return _Call(lambda block, x: half(block, x, grid), block), raster.flatten(1, 2)


def _embed(backbone: AsViT, image: Tensor) -> Tensor:
    tokens = backbone.patch_embed(image)
    return tokens + backbone.positions(tuple(tokens.shape[1:3]))


def _output(norm: nn.Module, x: Tensor) -> Tensor:
    return norm(x).permute(0, 3, 1, 2).contiguous()


def time_steps(steps: Dict[Hashable, Step], rounds: int
               ) -> Dict[Hashable, Timing]:
    """Milliseconds of several calls, timed in turn.

    None is called twice in a row: a part that finds its own data in the caches takes a
    tenth less than it does inside a network.

    Args:
        steps: The calls.
        rounds: How often each is timed at least; up to ``MORE_ROUNDS`` times as often if
            all of it takes less than ``SECONDS``.
    """
    for step in steps.values():
        step()  # compiles, or finds its kernels
    synchronize()
    start = time.perf_counter()
    for step in steps.values():
        step()
    synchronize()
    whole = time.perf_counter() - start
    rounds = max(rounds, min(MORE_ROUNDS * rounds, ceil(SECONDS / whole)))
    return {name: Timing(*(1e3 * value for value in Timing.of(seconds))) for name, seconds
            in alternate(steps, rounds, warm_ups=0).items()}
