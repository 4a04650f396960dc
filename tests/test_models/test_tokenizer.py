"""Tokenizer and re-embedding against mmcv's parts and against an unfold."""
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import AdaptivePadding, PatchEmbed, PatchMerging
from torch import nn

from mmasvit.models.tokenizer import ReEmbedding, Tokenizer, convolve_by_two, same_padding

NORM = dict(type='LN')
SIZES = [(14, 14), (15, 20), (7, 9), (5, 4), (2, 3), (1, 6), (1, 1)]
each_size = pytest.mark.parametrize('size', SIZES, ids=str)
each_kernel = pytest.mark.parametrize('kernel', [2, 3, 4, 5])


def pair(kernel, in_channels=6, out_channels=10, norm_cfg=NORM):
    """A fused and an unfolding re-embedding with the same uneven weights, float64."""
    fused, unfold = (ReEmbedding(in_channels, out_channels, kernel, norm_cfg,
                                 fused=fused).double() for fused in (True, False))
    for weight in fused.parameters():
        nn.init.normal_(weight)
    unfold.load_state_dict(fused.state_dict())
    fused.worthwhile_patches = 0  # the convolution, however small the map
    return fused, unfold


# ---------------------------------------------------------------------------- padding


@pytest.mark.parametrize('kernel', range(1, 10))
def test_same_padding_is_mmcvs(kernel):
    for stride, dilation in product((1, 2, 3, 4, 8, 16), (1, 2, 4, 5)):
        mmcv = AdaptivePadding(kernel, stride, dilation, padding='same')
        for size in ((1, 2), (4, 7), (16, 13), (17, 31), (33, 64), (112, 137)):
            padded = F.pad(torch.ones(1, 1, *size),
                           same_padding(size, kernel, stride, dilation))
            assert torch.equal(padded, mmcv(torch.ones(1, 1, *size)))
            reach = dilation * (kernel - 1) + 1
            assert [(side - reach) // stride + 1 for side in padded.shape[2:]
                    ] == [-(-n // stride) for n in size]


def test_same_padding_puts_the_smaller_half_first():
    assert same_padding((224, 8), 7, 4) == (1, 2, 1, 2)
    assert same_padding((8, 9), 4, 2) == (1, 2, 1, 1)
    assert same_padding((8, 9), 2, 4) == (0, 1, 0, 0)


# -------------------------------------------------------------------------- tokenizer


@pytest.mark.parametrize('kernel', [4, 5, 7, 8])
@pytest.mark.parametrize('size', [(32, 32), (33, 50), (31, 5), (4, 4)], ids=str)
def test_tokenizer_is_mmcvs_patch_embed(kernel, size):
    ours = Tokenizer(3, 8, kernel, NORM)
    theirs = PatchEmbed(3, 8, kernel_size=kernel, stride=4, padding='same',
                        norm_cfg=NORM)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, *size)
    tokens, grid = theirs(x)
    assert grid == tuple(-(-side // 4) for side in size)
    torch.testing.assert_close(ours(x).flatten(1, 2), tokens)


# ----------------------------------------------------------------------- re-embedding


@each_size
@each_kernel
def test_re_embedding_is_mmcvs_patch_merging(size, kernel):
    theirs = PatchMerging(6, 10, kernel_size=kernel, stride=2, padding='same',
                          norm_cfg=NORM, bias=False).double()
    for ours in pair(kernel):
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(2, *size, 6, dtype=torch.double)
        expected, grid = theirs(x.flatten(1, 2), size)
        assert ours(x).shape[1:3] == grid == tuple(-(-side // 2) for side in size)
        torch.testing.assert_close(ours(x).flatten(1, 2), expected,
                                   rtol=1e-10, atol=1e-10)


@each_size
@each_kernel
def test_fused_re_embedding_equals_unfold(size, kernel):
    fused, unfold = pair(kernel)
    x = torch.randn(2, *size, 6, dtype=torch.double, requires_grad=True)
    outs = [module(x) for module in (fused, unfold)]
    torch.testing.assert_close(*outs, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(outs[0])
    grads = [torch.autograd.grad((out * weights).sum(), [x, *module.parameters()])
             for module, out in zip((fused, unfold), outs)]
    for ours, theirs in zip(*grads):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize('mean, std', [(0, 1), (0, 1e-3), (100, 1), (-100, 1), (3, 50)])
@each_kernel
@pytest.mark.parametrize('size', [(14, 14), (15, 21)], ids=str)
def test_fused_re_embedding_is_precise_in_float32(size, kernel, mean, std):
    """Compared in units of the output's size with float64 on the same inputs."""
    fused, unfold = pair(kernel, in_channels=24)
    x = (mean + std * torch.randn(2, *size, 24)).double().float()
    with torch.no_grad():
        expected = unfold(x.double())
        fused.float(), unfold.float()
        scale = expected.abs().max()
        error = (fused(x) - expected).abs().max() / scale
        reference = (unfold(x) - expected).abs().max() / scale
    assert error < max(1e-5, 15 * reference)


@pytest.mark.parametrize('kernel', [2, 4])
def test_fused_re_embedding_of_constant_tokens_is_finite(kernel):
    """No deviation at all: rounding must not make the variance negative."""
    fused, unfold = pair(kernel)
    fused.float(), unfold.float()
    for level in (0., 0.1, -7.3, 100., 1e3, 1e5):
        x = torch.full((1, 12, 12, 6), level)
        assert torch.isfinite(fused(x)).all()
        x[:, 6:] *= -1
        assert torch.isfinite(fused(x)).all()
    blank = torch.zeros(1, 12, 12, 6)
    torch.testing.assert_close(fused(blank), unfold(blank))


def test_the_faster_way_is_taken(monkeypatch):
    """The convolution for many patches per output channel, and the same either way."""
    module, taken = ReEmbedding(6, 10, 4, NORM), []
    convolve = module._convolve
    monkeypatch.setattr(module, '_convolve', lambda *a: taken.append(1) or convolve(*a))
    for n, size, convolved in ((1, (12, 14), True), (1, (12, 12), False),
                               (2, (9, 7), True), (2, (8, 8), False), (1, (1, 1), False)):
        taken.clear()
        x = torch.randn(n, *size, 6)
        out = module(x)
        assert bool(taken) == convolved
        module.fused = False
        torch.testing.assert_close(out, module(x))
        module.fused = True


def test_re_embedding_honours_eps():
    fused, unfold = pair(3, norm_cfg=dict(type='LN', eps=2.0))
    assert fused.norm.eps == 2.0
    x = torch.randn(1, 8, 8, 6, dtype=torch.double)
    torch.testing.assert_close(fused(x), unfold(x), rtol=1e-10, atol=1e-10)
    plain, _ = pair(3)
    plain.load_state_dict(fused.state_dict())
    assert (plain(x) - fused(x)).abs().max() > 0.1


@pytest.mark.parametrize('fused', [True, False])
def test_replaced_norm_is_used(fused):
    """The measures of complexity replace norms by the identity."""
    module = ReEmbedding(6, 10, 4, NORM, fused=fused)
    module.norm = nn.Identity()
    x = torch.randn(2, 8, 8, 6)
    torch.testing.assert_close(module(2 * x), 2 * module(x))


def test_fused_re_embedding_under_bf16_autocast():
    fused, _ = pair(4, in_channels=24)
    fused.float()
    for mean in (0, 20):
        x = mean + torch.randn(2, 14, 14, 24)
        with torch.no_grad():
            expected = fused(x)
            with torch.autocast('cpu', torch.bfloat16):
                out = fused(x)
        assert torch.isfinite(out).all()
        assert (out - expected).abs().max() < 0.03 * (1 + mean) * expected.abs().max()


# ------------------------------------------------------------- convolution of stride 2


@pytest.mark.parametrize('kernel', [2, 3, 4, 6])
@pytest.mark.parametrize('size', [(10, 12), (14, 8)], ids=str)
def test_convolution_by_cells_equals_that_of_torch(kernel, size):
    x, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True)
                 for shape in ((3, *(side + kernel % 2 for side in size), 5),
                               (7, 5, kernel, kernel)))
    ours = convolve_by_two(x, weight)
    theirs = F.conv2d(x.permute(0, 3, 1, 2), weight, stride=2).permute(0, 2, 3, 1)
    assert ours.shape == theirs.shape and torch.allclose(ours, theirs)
    grad = torch.randn_like(ours)
    for first, second in zip(*(torch.autograd.grad(out, (x, weight), grad)
                               for out in (ours, theirs))):
        assert torch.allclose(first, second)


@pytest.mark.parametrize('kernel', [2, 4])
def test_convolution_by_cells_has_every_derivative(kernel):
    x, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True)
                 for shape in ((1, 6, 4, 2), (2, 2, kernel, kernel)))
    assert torch.autograd.gradcheck(convolve_by_two, (x, weight), check_forward_ad=True,
                                    check_batched_grad=True)
    assert torch.autograd.gradgradcheck(convolve_by_two, (x, weight))
