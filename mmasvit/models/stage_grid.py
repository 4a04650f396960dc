"""The token grid that a block works on: its windows and the stride of its tokens.

It is handed from block to block with the tokens, so that a block which is computed again
in the backward pass sees what it saw before, whatever stride came after.
"""
from typing import List, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor

from mmasvit.geometry import Run, WindowRule
from mmasvit.models.modes import is_symbolic


class WindowGroup(NamedTuple):
    """A rectangle of the token grid that equal windows tile exactly.

    Attributes:
        rows: Where it lies along the height.
        cols: Where it lies along the width.
    """
    rows: Run
    cols: Run

    @property
    def window(self) -> Tuple[int, int]:
        """Height and width of a window in tokens."""
        return self.rows.edge, self.cols.edge

    @property
    def tokens(self) -> int:
        """Tokens of the rectangle."""
        return self.rows.length * self.cols.length

    @property
    def window_tokens(self) -> int:
        """Tokens of one window."""
        return self.rows.edge * self.cols.edge


class StageGrid:
    """Where the windows of a block lie on its stage's token grid.

    A grid that the window edge does not divide ends in smaller windows at its border.
    That is what padding the grid and masking the padding computes, with neither the
    padding's work nor a mask, which the fastest attention kernels refuse.

    Args:
        grid: Height and width of the stage in tokens.
        size: Height and width of the image in pixels.
        windows: How the windows are laid.
        token_stride: Pixels from token to token in the first stage.
    """

    def __init__(self, grid: Tuple[int, int], size: Tuple[int, int], windows: WindowRule,
                 token_stride: int):
        self.shape = grid
        self.token_stride = token_stride
        rows, self._cols = (windows.runs(*side) for side in zip(grid, size))
        self.groups = [WindowGroup(row, col) for row in rows for col in self._cols]

    def partition(self, x: Tensor) -> Tensor:
        """Raster order ``(N, H, W, C)`` to window order ``(N, H * W, C)``."""
        n, _, _, c = x.shape
        parts = []
        for (top, height, edge_h), (left, width, edge_w) in self.groups:
            part = x[:, top:top + height, left:left + width]
            part = part.reshape(n, height // edge_h, edge_h, width // edge_w, edge_w, c)
            parts.append(part.transpose(2, 3).reshape(n, height * width, c))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def restore(self, x: Tensor) -> Tensor:
        """Window order ``(N, H * W, C)`` back to raster order ``(N, H, W, C)``."""
        n, _, c = x.shape
        parts = []
        for group, part in zip(self.groups, self.split(x)):
            (_, height, edge_h), (_, width, edge_w) = group
            part = part.reshape(n, height // edge_h, width // edge_w, edge_h, edge_w, c)
            parts.append(part.transpose(2, 3).reshape(n, height, width, c))
        if len(parts) == 1:
            return parts[0]
        bands = len(self._cols)
        rows = [torch.cat(parts[i:i + bands], dim=2)
                for i in range(0, len(parts), bands)]
        return torch.cat(rows, dim=1)

    def split(self, x: Tensor) -> Tuple[Tensor, ...]:
        """The groups' parts of a sequence in window order ``(N, H * W, ...)``."""
        if len(self.groups) == 1:
            return (x, )
        return x.split([group.tokens for group in self.groups], dim=1)

    @property
    def layout(self) -> List[WindowGroup]:
        """Equal where tokens in window order need no rearranging."""
        return self.groups

    def mask(self, x: Tensor) -> Optional[Tensor]:
        """What is to be added to the scores of the windows of ``x``: nothing."""
        return None


class PaddedGrid:
    """A :class:`StageGrid` whose sides are symbols that stand for any size.

    How many groups of windows a size has is not known then. So the grid is padded to
    whole windows, and the padding masked; that computes the same.

    Args:
        grid: As of :class:`StageGrid`, and so are the others.
    """

    def __init__(self, grid: Tuple[int, int], size: Tuple[int, int], windows: WindowRule,
                 token_stride: int):
        self.shape = grid
        self.token_stride = token_stride
        self.layout = windows
        self._sides = []
        for tokens, pixels in zip(grid, size):
            before, edge, count = map(_new_symbol, windows.padded(tokens, pixels))
            torch._check(edge >= 1)
            torch._check(count >= 1)
            self._sides.append((before, edge, count))
        self.groups = [WindowGroup(*(Run(0, edge * count, edge)
                                     for _, edge, count in self._sides))]

    def partition(self, x: Tensor) -> Tensor:
        """Raster order ``(N, H, W, C)`` to window order ``(N, padded tokens, C)``."""
        (_, edge_h, rows), (_, edge_w, cols) = self._sides
        for dim, places in enumerate(self._places(x), 1):
            x = x.index_select(dim, places.clamp(0, self.shape[dim - 1] - 1))
        x = x.reshape(x.shape[0], rows, edge_h, cols, edge_w, x.shape[3])
        return x.transpose(2, 3).flatten(1, 4)

    def restore(self, x: Tensor) -> Tensor:
        """Window order ``(N, padded tokens, C)`` back to raster order."""
        (top, edge_h, rows), (left, edge_w, cols) = self._sides
        x = x.reshape(x.shape[0], rows, cols, edge_h, edge_w, x.shape[2])
        x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        for dim, before in ((1, top), (2, left)):
            x = x.index_select(dim, before + torch.arange(self.shape[dim - 1],
                                                          device=x.device))
        return x

    def split(self, x: Tensor) -> Tuple[Tensor, ...]:
        """The one group's part of a sequence: all of it."""
        return (x, )

    def mask(self, x: Tensor) -> Tensor:
        """What is to be added to the scores: 0, or minus infinity at the padding.

        Returns:
            ``(N * windows, 1, 1, tokens of a window)``, all windows of an image in turn.
        """
        (_, edge_h, rows), (_, edge_w, cols) = self._sides
        down, across = ((places >= 0) & (places < side)
                        for places, side in zip(self._places(x), self.shape))
        there = (down.reshape(rows, 1, edge_h, 1) & across.reshape(1, cols, 1, edge_w))
        there = there.flatten(2).expand(x.shape[0], rows, cols, edge_h * edge_w)
        return torch.where(there.flatten(0, 2)[:, None, None], 0., float('-inf'))

    def _places(self, x: Tensor) -> List[Tensor]:
        """Where in the grid each row and column of the padded one lies, if in it."""
        return [torch.arange(edge * count, device=x.device) - before
                for before, edge, count in self._sides]


def _new_symbol(value: int) -> int:
    """A symbol without a past: the formulas of windows, nested from stage to stage, would
    be simplified for minutes."""
    return torch.scalar_tensor(value, dtype=torch.int64).item()


def lay_grid(grid: Tuple[int, int], size: Tuple[int, int], windows: WindowRule,
             token_stride: int) -> Union[StageGrid, PaddedGrid]:
    """The grid of a block, of sizes that are numbers or symbols."""
    kind = PaddedGrid if is_symbolic(*grid, *size) else StageGrid
    return kind(grid, size, windows, token_stride)
