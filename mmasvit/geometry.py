"""Where tokens and windows lie: integer arithmetic on sides of images and token grids.

The backbone lays its windows with it and the closed form of its costs counts them with
it, so that the two cannot differ.
"""
from typing import NamedTuple, Sequence, Tuple

import torch

NUM_STAGES = 4
TOKEN_STRIDE = 4  # full token resolution: one token per 4 x 4 pixels (section 3.1)
TOKEN_STRIDES = (4, 8, 16)  # all that elastic re-tokenization offers (section 4)
PRETRAIN_IMG_SIZE = 224  # the size whose windows the splits of a genotype divide
GLOBAL_IMG_SIZE = 1024  # windows of blocks that attend to the whole map, in pixels


def at_least(least: int, value: int) -> int:
    """The larger of two whole numbers; the second may be a symbol."""
    return max(least, value) if isinstance(value, int) else torch.sym_max(least, value)


def ceil_div(n: int, d: int) -> int:
    """Quotient of two positive whole numbers, rounded up; the first may be a symbol.

    Nothing in it is negative: ONNX's division rounds towards zero.
    """
    return (n + d - 1) // d


class Window(NamedTuple):
    """How windows are laid along one side of a token grid.

    Attributes:
        edge: Window edge in tokens.
        count: Windows laid; ``edge * count - tokens`` tokens are padding.
    """
    edge: int
    count: int


def lay_windows(tokens: int, pixels: int, splits: int,
                pretrain_img_size: int = PRETRAIN_IMG_SIZE) -> Window:
    """Lay windows of a fixed number of *pixels* along one side.

    At ``pretrain_img_size`` a stage with S splits has S windows a side; any other input
    gets as many windows as keep that window's size in pixels, at least one. Whatever the
    stride of the tokens, a window therefore keeps its field of view.

    Args:
        tokens: Length of the side in tokens.
        pixels: Length of the same side of the image in pixels.
        splits: The stage's attention splits S.
        pretrain_img_size: Side of the image that the splits refer to, in pixels.

    Returns:
        Window edge and count; no window consists of padding only.
    """
    # floor(pixels / (pretrain / splits) + 1 / 2), without leaving the integers
    wanted = (2 * pixels * splits + pretrain_img_size) // (2 * pretrain_img_size)
    edge = ceil_div(tokens, at_least(1, wanted))
    return Window(edge, ceil_div(tokens, edge))


class Run(NamedTuple):
    """Tokens along one side that equal windows tile exactly.

    Attributes:
        start: First token.
        length: Number of tokens, a multiple of ``edge``.
        edge: Window edge in tokens.
    """
    start: int
    length: int
    edge: int


class WindowRule(NamedTuple):
    """How one block lays its windows on any grid.

    Attributes:
        splits: Windows along a side of ``img_size`` pixels.
        img_size: Side of the image in pixels that ``splits`` refers to.
        shifted: Whether they start half a window earlier. One window stays one.
    """
    splits: int
    img_size: int
    shifted: bool = False

    def runs(self, tokens: int, pixels: int) -> Tuple[Run, ...]:
        """Windows along one side: whole ones and, where the border cuts them, a smaller
        first or last one.

        Args:
            tokens: Length of the side in tokens.
            pixels: Length of the same side of the image in pixels.
        """
        edge, windows = lay_windows(tokens, pixels, self.splits, self.img_size)
        first = edge // 2 if self.shifted and windows > 1 else 0
        whole = (tokens - first) // edge * edge
        last = tokens - first - whole
        runs = (Run(0, first, first), Run(first, whole, edge),
                Run(first + whole, last, last))
        return tuple(run for run in runs if run.length)

    def padded(self, tokens: int, pixels: int) -> Tuple[int, int, int]:
        """The same windows, all whole, so that they reach beyond the side; without
        branches, since the sides may be symbols.

        Args:
            tokens: As of :meth:`runs`.
            pixels: As of :meth:`runs`.

        Returns:
            Padding in front, edge, and number of windows.
        """
        edge, windows = lay_windows(tokens, pixels, self.splits, self.img_size)
        before = 0
        if self.shifted:
            several = windows - at_least(1, windows - 1)  # 1, or 0 for one window
            before = (edge - edge // 2 * several) % edge
        return before, edge, ceil_div(tokens + before, edge)


def plan_windows(splits: Sequence[int], depths: Sequence[int],
                 pretrain_img_size: int = PRETRAIN_IMG_SIZE, shift_windows: bool = False,
                 global_blocks: Sequence[int] = (0, ) * NUM_STAGES,
                 global_img_size: int = GLOBAL_IMG_SIZE
                 ) -> Tuple[Tuple[WindowRule, ...], ...]:
    """The window rule of every block of every stage.

    Args:
        splits: Attention splits S of the stages.
        depths: Blocks of the stages.
        pretrain_img_size: Side of the image in pixels that ``splits`` refer to.
        shift_windows: Whether every other block shifts its windows, counted over all
            stages, so that stages of one block take part.
        global_blocks: How many of each stage's last blocks have windows of
            ``global_img_size`` pixels, not shifted.
        global_img_size: As given.
    """
    plan, number = [], 0
    for stage_splits, depth, last in zip(splits, depths, global_blocks):
        rules = []
        for i in range(depth):
            rules.append(
                WindowRule(1, global_img_size) if i >= depth - last else
                WindowRule(stage_splits, pretrain_img_size,
                           shifted=shift_windows and number % 2 == 1))
            number += 1
        plan.append(tuple(rules))
    return tuple(plan)


def window_reaches(splits: Sequence[int], pretrain_img_size: int) -> Tuple[int, ...]:
    """Largest offset of two tokens in a window of each stage at the size of pre-training.

    Args:
        splits: Attention splits S of the stages.
        pretrain_img_size: Side of the image in pixels that ``splits`` refer to.
    """
    grids = token_grids((pretrain_img_size, ) * 2)
    return tuple(lay_windows(grid[0], pretrain_img_size, stage_splits,
                             pretrain_img_size).edge - 1
                 for grid, stage_splits in zip(grids, splits))


def token_dilation(stride: int, kernel: int) -> int:
    """Dilation that spreads the tokenizer's kernel as its tokens are spread (section 4).

    Args:
        stride: Pixels from token to token.
        kernel: Edge K1 of the tokenizer's kernel, at least 2.
    """
    return round((stride / TOKEN_STRIDE - 1) * kernel / (kernel - 1)) + 1


def token_grids(size: Tuple[int, int],
                token_stride: int = TOKEN_STRIDE) -> Tuple[Tuple[int, int], ...]:
    """Token grids ``(h, w)`` of the four stages for an image of ``size = (H, W)``."""
    grid = tuple(ceil_div(side, token_stride) for side in size)
    grids = [grid]
    for _ in range(NUM_STAGES - 1):
        grid = tuple(ceil_div(side, 2) for side in grid)
        grids.append(grid)
    return tuple(grids)
