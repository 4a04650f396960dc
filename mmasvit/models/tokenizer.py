"""From pixels to tokens, and from the tokens of one stage to those of the next.

Both use overlapping kernels on the zero-padded map (section 3.1, elastic kernels).
Maps are channels-last, ``(N, H, W, C)``, everywhere but at the image.
"""
from typing import Tuple

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from mmasvit.geometry import TOKEN_STRIDE, at_least, ceil_div, token_dilation
from mmasvit.models.modes import (carries_tangent, is_plain, is_recorded,
                                  is_symbolic, is_transformed, sizes)
from mmasvit.models.norms import StrideLN, affine, normalise


def same_padding(size: Tuple[int, int], kernel: int, stride: int,
                 dilation: int = 1) -> Tuple[int, int, int, int]:
    """Zeros to add so that a strided kernel yields ``ceil(n / stride)`` per side.

    Args:
        size: Height and width of the map.
        kernel: Edge of the kernel.
        stride: Stride of the kernel.
        dilation: Dilation of the kernel. Defaults to 1.

    Returns:
        ``(left, right, top, bottom)``; the smaller half comes first.
    """
    pads = []
    for n in reversed(size):
        reach = dilation * (kernel - 1) + 1
        total = (ceil_div(n, stride) - 1) * stride + reach - n
        if reach < stride:  # else never negative, which terms in symbols do not show
            total = at_least(0, total)
        pads += [total // 2, total - total // 2]
    return tuple(pads)


class _ShiftedSum(torch.autograd.Function):
    """Sum of ``taps x taps`` maps, the one of tap (p, q) shifted by p rows and q columns.

    Written out because the derivative of each slice would fill a whole map with zeros.
    """
    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, taps: int) -> Tensor:
        """Maps ``(N, h + taps - 1, w + taps - 1, taps**2, C)`` to ``(N, h, w, C)``."""
        height, width = (side - taps + 1 for side in y.shape[1:3])
        parts = [y[:, p:p + height, q:q + width, p * taps + q]
                 for p in range(taps) for q in range(taps)]
        total = parts[0] + parts[1] if taps > 1 else parts[0].clone()
        for part in parts[2:]:
            total += part  # in place: fresh memory costs more than the sum
        return total

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.taps = inputs[1]

    @staticmethod
    def backward(ctx, grad: Tensor):
        taps = ctx.taps
        n, height, width, channels = grad.shape
        gradient = grad.new_zeros(n, height + taps - 1, width + taps - 1, taps**2, channels)
        for p in range(taps):
            for q in range(taps):
                gradient[:, p:p + height, q:q + width, p * taps + q] = grad
        return gradient, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, _):
        return _ShiftedSum.forward(tangent, ctx.taps)


def convolve_by_two(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution of stride 2 of a channels-last map, without padding.

    An even kernel is one matrix product: 2 x 2 cells become one of four times the
    channels, on which the kernel has half its edge and stride 1; each of its taps is
    multiplied with the whole map, and the products are shifted and added. That moves
    half of what patches would, and runs at the rate of matrix products.

    Args:
        x: ``(N, H, W, C)``, of even height and width if the kernel is even.
        weight: ``(D, C, K, K)``.

    Returns:
        ``(N, (H - K) / 2 + 1, (W - K) / 2 + 1, D)``.
    """
    channels, _, kernel, _ = weight.shape
    # of sizes that are symbols, nothing proves that they are even
    if kernel % 2 or is_symbolic(*x.shape[1:3]):
        return F.conv2d(x.permute(0, 3, 1, 2), weight, stride=2).permute(0, 2, 3, 1)
    taps = kernel // 2
    x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).flatten(3)
    weight = weight.unflatten(3, (taps, 2)).unflatten(2, (taps, 2))
    weight = weight.permute(2, 4, 0, 3, 5, 1).flatten(3).flatten(0, 2)
    y = F.linear(x, weight).unflatten(-1, (taps**2, channels))
    if torch.compiler.is_compiling():
        return _ShiftedSum.forward(y, taps)  # compilers merge the slices' derivatives
    return _ShiftedSum.apply(y, taps)


class ElasticConv2d(nn.Conv2d):
    """A convolution without padding whose stride and dilation come with the call."""

    def forward(self, x: Tensor, stride: int, dilation: int) -> Tensor:
        """Maps ``(N, C, H, W)`` to ``(N, D, h, w)``."""
        return F.conv2d(x, self.weight, self.bias, stride, dilation=dilation)


class Tokenizer(nn.Module):
    """Embed an image into one token per ``stride x stride`` pixels.

    The stride comes with the call (section 4); no weight depends on it.

    Args:
        in_channels: Channels of the image.
        embed_dims: Channels of a token.
        kernel_size: Edge K1 of the convolution; larger than the stride, it overlaps.
        norm_cfg: Norm of the tokens.
        token_reduction: How fewer tokens see the image. ``'dilate'`` spreads the
            kernel, the paper's way: at K1 = 8 it reads one pixel in four at stride 8 and
            one in sixteen at stride 16. ``'area'`` averages the image first, which lets
            nothing alias, and embeds the smaller image with the kernel as it is.
    """

    def __init__(self, in_channels: int, embed_dims: int, kernel_size: int,
                 norm_cfg: dict, token_reduction: str = 'dilate'):
        super().__init__()
        self.kernel_size = kernel_size
        self.token_reduction = token_reduction
        self.projection = ElasticConv2d(in_channels, embed_dims, kernel_size,
                                        TOKEN_STRIDE)
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1]

    def forward(self, x: Tensor, stride: int = TOKEN_STRIDE) -> Tensor:
        """Image ``(N, in_channels, H, W)`` to tokens ``(N, h, w, embed_dims)``.

        They have the image's dtype, under autocast too: sums over many blocks want it.
        """
        return normalise(self.norm, self.project(x, stride), stride).to(x.dtype)

    def project(self, x: Tensor, stride: int = TOKEN_STRIDE) -> Tensor:
        """:meth:`forward` up to the norm."""
        if self.token_reduction == 'area' and stride > TOKEN_STRIDE:
            # at the border of a size it does not divide, the mean of the pixels there are
            x = F.avg_pool2d(x, stride // TOKEN_STRIDE, ceil_mode=True,
                             count_include_pad=False)
            stride = TOKEN_STRIDE
        dilation = token_dilation(stride, self.kernel_size)
        x = F.pad(x, same_padding(sizes(x, 2, 3), self.kernel_size, stride, dilation))
        # channels last into the convolution is channels last out of it: nothing to copy
        # (in words that torch.func.vmap knows)
        x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        return self.projection(x, stride, dilation).permute(0, 2, 3, 1)


class ReEmbedding(nn.Module):
    """Halve the grid: norm over each K x K patch of tokens, then a linear map.

    On the fused path the patches are never materialised. With gamma and beta of the norm
    and W of the linear map, ``W (gamma (u - mean) / std + beta)`` is a convolution of the
    tokens with ``W gamma``, its rows centred so that they do not see the mean, over
    ``std``, plus ``W beta``; a patch's variance follows from its tokens' mean and
    variance by box filters. That weight is made anew in each pass: where patches are few,
    as with coarse tokens, it costs more than the patches, and they are materialised. So
    they are where norm and linear map must be called: see :func:`.modes.is_plain`.

    Args:
        in_channels: Channels of the incoming tokens.
        out_channels: Channels of the outgoing tokens.
        kernel_size: Edge K of the patch, at stride 2.
        norm_cfg: Norm over the ``K * K * in_channels`` features of a patch, channel
            slowest (the order of ``torch.nn.Unfold``).
        fused: Whether to use the convolution where the norm is a ``LayerNorm`` and it
            pays.
    """
    stride = 2
    # patches per output channel from which on the convolution is used: around one it took
    # 1.0 to 1.2 times as long as patches do, at a quarter 4 times, from six on a quarter to
    # two thirds of it (two CPU cores, forward and backward, kernel 4)
    worthwhile_patches = 4

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int,
                 norm_cfg: dict, fused: bool = True):
        super().__init__()
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.fused = fused
        features = kernel_size**2 * in_channels
        self.norm = build_norm_layer(norm_cfg, features)[1]
        self.reduction = nn.Linear(features, out_channels, bias=False)

    def forward(self, x: Tensor, token_stride: int = TOKEN_STRIDE) -> Tensor:
        """Tokens ``(N, H, W, C)`` to ``(N, ceil(H/2), ceil(W/2), out_channels)``.

        Args:
            x: The tokens.
            token_stride: Pixels from token to token in the first stage.

        Returns:
            Tokens of the same dtype, under autocast too.
        """
        pad = same_padding(sizes(x, 1, 2), self.kernel_size, self.stride)
        padded = F.pad(x, (0, 0, *pad))
        if self.fused and self._may_convolve(x) and self._pays(x.shape):
            y = self._convolve(padded, self._patch_rstd(x, pad), token_stride)
        else:
            y = self.reduction(normalise(self.norm, self._unfold(padded), token_stride))
        return y.to(x.dtype)

    def _may_convolve(self, x: Tensor) -> bool:
        return (is_plain(self.norm, nn.LayerNorm, StrideLN)
                and is_plain(self.reduction, nn.Linear)
                and self.norm.weight is not None and self.norm.bias is not None
                and self.reduction.bias is None and not torch.jit.is_tracing()
                and not is_transformed() and not carries_tangent(x))

    def _pays(self, shape: torch.Size) -> bool:
        if is_recorded():
            return True  # one graph for batches of any size
        n, height, width = shape[:3]
        patches = n * ceil_div(height, self.stride) * ceil_div(width, self.stride)
        return patches >= self.worthwhile_patches * self.reduction.out_features

    def _unfold(self, x: Tensor) -> Tensor:
        # faster there and back than strided views, whose derivative adds up by index
        patches = F.unfold(x.permute(0, 3, 1, 2), self.kernel_size, stride=self.stride)
        grid = [(side - self.kernel_size) // self.stride + 1 for side in sizes(x, 1, 2)]
        return patches.transpose(1, 2).reshape(
            x.shape[0], *grid, patches.shape[1])  # (N, h, w, C * K * K)

    def _convolve(self, x: Tensor, rstd: Tensor, token_stride: int) -> Tensor:
        k, (gamma, beta) = self.kernel_size, affine(self.norm, token_stride)
        weight = self.reduction.weight * gamma
        weight -= weight.mean(dim=1, keepdim=True)
        y = convolve_by_two(x, weight.view(-1, self.in_channels, k, k))
        return y * rstd + self.reduction.weight @ beta

    def _patch_rstd(self, x: Tensor, pad: Tuple[int, ...]) -> Tensor:
        """Reciprocal standard deviation of each patch, ``(N, h, w, 1)``.

        The variance is the mean of the tokens' variances plus the variance of the
        tokens' means: only the latter, the smaller part, is a difference of squares.
        """
        if x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        var, mean = torch.var_mean(x, dim=-1, correction=0)
        # averages around the level of the map, not of its padding, keep the difference
        # of squares small
        level = mean.mean(dim=(1, 2), keepdim=True)
        var, mean = F.pad(var, pad), F.pad(mean, pad) - level
        maps = torch.stack((mean, var + mean.square()), dim=1)
        box_mean, box_square = F.avg_pool2d(
            maps, self.kernel_size, self.stride).unbind(1)
        variance = (box_square - box_mean.square()).clamp_min(0)  # may round below
        return (variance + self.norm.eps).rsqrt().unsqueeze(-1)
