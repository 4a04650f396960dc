"""Elastic tokens: what each stride reads, what it leaves alone, what comes out."""
import copy

import pytest
import torch
import torch.nn.functional as F

from mmasvit import AsViT
from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.errors import InputError
from mmasvit.geometry import TOKEN_STRIDES, token_dilation, token_grids
from mmasvit.models.tokenizer import Tokenizer, same_padding

TINY = '7,4,3,2|2,2,2,1|4,2,3,3|3,1,2,1|16,10'
SIZES = [(64, 64), (75, 107), (16, 130), (17, 31)]
each_stride = pytest.mark.parametrize('stride', TOKEN_STRIDES)
each_size = pytest.mark.parametrize('size', SIZES, ids=str)


def build(arch=TINY, **options):
    torch.manual_seed(1)
    backbone = AsViT(arch, **options)
    backbone.init_weights()
    return backbone


def tokenizer(kernel, **options):
    torch.manual_seed(1)
    return Tokenizer(3, 8, kernel, dict(type='LN'), **options).double()


# -------------------------------------------------------------------------- tokenizer


@pytest.mark.parametrize('kernel, dilations', [
    (4, (1, 2, 5)), (5, (1, 2, 5)), (6, (1, 2, 5)), (7, (1, 2, 5)), (8, (1, 2, 4))])
def test_dilations_are_the_papers(kernel, dilations):
    """Footnote 3; for K = 4 it prints (16, 5), (8, 2), (4, 1)."""
    assert tuple(token_dilation(stride, kernel) for stride in (4, 8, 16)) == dilations


@each_stride
@each_size
@pytest.mark.parametrize('kernel', [4, 5, 6, 7, 8])
def test_tokens_are_a_dense_convolution_with_the_spread_kernel(kernel, size, stride):
    """The dilated kernel written out, zeros between its weights, at stride 1."""
    module, x = tokenizer(kernel), torch.randn(2, 3, *size).double()
    dilation = token_dilation(stride, kernel)
    reach = dilation * (kernel - 1) + 1
    dense = torch.zeros(8, 3, reach, reach, dtype=torch.double)
    dense[..., ::dilation, ::dilation] = module.projection.weight
    pad = same_padding(size, kernel, stride, dilation)
    maps = F.conv2d(F.pad(x, pad), dense, module.projection.bias)[..., ::stride, ::stride]
    rows, cols = token_grids(size, stride)[0]
    assert maps.shape[2:] == (rows, cols)
    expected = module.norm(maps.permute(0, 2, 3, 1))
    torch.testing.assert_close(module(x, stride), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(module.float()(x.float(), stride), expected.float(),
                               rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('stride, step, first', [(16, 4, 2), (8, 2, 1)])
@pytest.mark.parametrize('size', [(64, 64), (32, 112)], ids=str)
def test_pixels_that_are_read(size, stride, step, first):
    """K = 8: rows and columns 2 mod 4 at stride 16, the odd ones at stride 8."""
    module, x = tokenizer(8), torch.randn(1, 3, *size).double()
    read = torch.zeros(size, dtype=torch.bool)
    read[first::step, first::step] = True
    noise = x + torch.randn_like(x) * ~read
    assert not torch.equal(noise, x)
    assert torch.equal(module(noise, stride), module(x, stride))
    for row, col in ((first, first), (first + 4 * step, size[1] - step + first)):
        moved = x.clone()
        moved[0, 1, row, col] += 1
        assert not torch.equal(module(moved, stride), module(x, stride))
    gradient = torch.autograd.functional.jacobian(
        lambda image: module.project(image, stride).abs().sum(), x)
    assert torch.equal(gradient.abs().sum((0, 1)) > 0, read)


@pytest.mark.parametrize('stride', [8, 16])
@each_size
def test_area_embeds_the_averaged_image(size, stride):
    """Means written out pixel by pixel; at the border only pixels that exist count."""
    module, r = tokenizer(7, token_reduction='area'), stride // 4
    x = torch.randn(1, 3, *size).double()
    small = torch.stack([torch.stack([
        x[..., i:i + r, j:j + r].mean((2, 3)) for j in range(0, size[1], r)], -1)
        for i in range(0, size[0], r)], -2)
    full = tokenizer(7)
    torch.testing.assert_close(module(x, stride), full(small), rtol=1e-10, atol=1e-10)
    assert module(x, stride).shape[1:3] == token_grids(size, stride)[0]


@each_stride
@pytest.mark.parametrize('reduction', ['dilate', 'area'])
def test_grids_of_any_size(reduction, stride):
    for kernel in (4, 7, 8):
        module = tokenizer(kernel, token_reduction=reduction)
        for height in range(1, 40):
            grid = module(torch.rand(1, 3, height, 53).double(), stride).shape[1:3]
            assert grid == token_grids((height, 53), stride)[0]


def test_area_reads_every_pixel_and_does_not_alias():
    """A fine checkerboard looks gray to area means, and not to a dilated kernel."""
    board = torch.ones(1, 3, 64, 64).double()
    board[..., ::2, :] *= -1
    board[..., ::2] *= -1
    for reduction, sees in (('area', False), ('dilate', True)):
        module = tokenizer(8, token_reduction=reduction)
        inner = module.project(board, 16)[:, 1:-1, 1:-1] - module.projection.bias
        assert (inner.abs().max() > 1e-9) == sees


# --------------------------------------------------------------------- what is untouched


@pytest.mark.parametrize('reduction', ['dilate', 'area'])
def test_switching_leaves_weights_and_full_tokens_as_they_were(reduction):
    """Bitwise; also the state of an optimizer."""
    backbone, x = build(token_reduction=reduction), torch.randn(2, 3, 75, 107)
    optimizer = torch.optim.AdamW(backbone.parameters())
    sum(out.mean() for out in backbone(x)).backward()
    optimizer.step()
    state = copy.deepcopy(backbone.state_dict())
    moments = copy.deepcopy(optimizer.state_dict())
    identities = [id(p) for p in backbone.parameters()]
    before = backbone.eval()(x)
    for stride in (16, 8, 16, 4, 8, 4):
        backbone.set_token_stride(stride)
        assert backbone.token_stride == stride
        assert list(backbone.state_dict()) == list(state)
        for name, value in backbone.state_dict().items():
            assert torch.equal(value, state[name])
    assert [id(p) for p in backbone.parameters()] == identities
    assert str(optimizer.state_dict()) == str(moments)
    for after, expected in zip(backbone(x), before):
        assert torch.equal(after, expected)
    assert backbone.extra_repr() == AsViT(TINY).extra_repr()


@each_stride
def test_a_stride_for_one_call_is_that_of_the_switch(stride):
    """Bitwise, and the switch stays where it was."""
    backbone, x = build(), torch.randn(2, 3, 75, 107)
    other = copy.deepcopy(backbone)
    other.set_token_stride(stride)
    backbone.set_token_stride(8)
    for ours, theirs in zip(backbone(x, token_stride=stride), other(x)):
        assert torch.equal(ours, theirs)
    for ours, theirs in zip(backbone.forward_features(x, stride),
                            other.forward_features(x)):
        assert torch.equal(ours, theirs)
    assert backbone.token_stride == 8


@each_stride
def test_features_are_the_maps_before_the_norms(stride):
    backbone = build(output_norm=False, resample_outputs=False)
    x = torch.randn(1, 3, 75, 107)
    features = backbone.forward_features(x, stride)
    assert [tuple(level.shape[1:3]) for level in features] == list(
        token_grids((75, 107), stride))
    for level, out in zip(features, backbone(x, stride)):
        assert torch.equal(level.permute(0, 3, 1, 2), out)


def test_copies_keep_their_own_stride():
    backbone = build()
    other = copy.deepcopy(backbone)
    other.set_token_stride(16)
    assert (backbone.token_stride, other.token_stride) == (4, 16)


def test_checkpoints_of_coarse_backbones_load_anywhere():
    backbone = build()
    backbone.set_token_stride(16)
    fresh = AsViT(TINY)
    fresh.load_state_dict(backbone.state_dict(), strict=True)
    assert fresh.token_stride == 4


# --------------------------------------------------------------------------------- maps


@each_stride
@pytest.mark.parametrize('reduction', ['dilate', 'area'])
@each_size
def test_maps_have_the_sizes_and_strides_of_full_tokens(size, reduction, stride):
    backbone = build(token_reduction=reduction).eval()
    backbone.set_token_stride(stride)
    assert backbone.out_strides == (4, 8, 16, 32)
    outs = backbone(torch.randn(2, 3, *size))
    assert [out.shape[2:] for out in outs] == [
        tuple(-(-side // s) for side in size) for s in (4, 8, 16, 32)]
    for out in outs:
        assert out.isfinite().all() and out.is_contiguous()


@each_stride
@each_size
def test_maps_as_coarse_as_the_tokens(size, stride):
    backbone = build(resample_outputs=False, out_indices=(1, 3)).eval()
    backbone.set_token_stride(stride)
    assert backbone.out_strides == (stride * 2, stride * 8)
    grids = token_grids(size, stride)
    assert [out.shape[2:] for out in backbone(torch.randn(1, 3, *size))
            ] == [grids[1], grids[3]]


@pytest.mark.parametrize('stride', [8, 16])
@each_size
def test_resampled_cells_lie_where_their_pixels_are(size, stride):
    """A map that holds its cells' own positions in pixels holds the finer ones' after."""
    for fine in (4, 8, 16, 32):
        coarse = fine * stride // 4
        grid = [-(-side // coarse) for side in size]
        places = torch.stack(torch.meshgrid(*(
            (torch.arange(n) + .5) * coarse for n in grid), indexing='ij'))[None]
        out = AsViT._resample(places, size, fine, stride)
        for axis, side in enumerate(size):
            cells = -(-side // fine)
            expected = (torch.arange(cells) + .5) * fine
            # beyond the outermost centres there is nothing to interpolate with
            inside = (expected >= coarse / 2) & (expected <= (grid[axis] - .5) * coarse)
            got = out[0, axis].movedim(axis, 0)[:, 0]
            torch.testing.assert_close(got[inside], expected[inside])


@each_stride
@pytest.mark.parametrize('resample', [True, False])
def test_gradients_reach_every_parameter(resample, stride):
    backbone = build(resample_outputs=resample)
    backbone.set_token_stride(stride)
    outs = backbone(torch.randn(2, 3, 96, 128))
    generator = torch.Generator().manual_seed(2)
    sum((out * torch.randn(out.shape, generator=generator)).sum()
        for out in outs).backward()
    for name, p in backbone.named_parameters():
        assert p.grad.isfinite().all() and p.grad.abs().max() > 0, name


@each_stride
def test_explicit_equals_fused(stride):
    fused = build().eval()
    explicit = AsViT(TINY, attn_impl='explicit').eval()
    explicit.load_state_dict(fused.state_dict())
    x = torch.randn(1, 3, 137, 112)
    for backbone in (fused, explicit):
        backbone.set_token_stride(stride)
    for ours, theirs in zip(explicit(x), fused(x)):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


@each_stride
@pytest.mark.parametrize('reduction', ['dilate', 'area'])
def test_closed_form_counts_what_runs(reduction, stride):
    backbone = build(token_reduction=reduction)
    backbone.set_token_stride(stride)
    use_explicit_paths(backbone)
    for size in SIZES:
        counted = count_macs(lambda: backbone(torch.rand(1, 3, *size)))
        assert counted == backbone.count_macs(size) == backbone.count_macs(size, stride)


def test_a_window_keeps_its_pixels():
    """At every stride a pixel changes its own window of stage 1 and nothing else."""
    backbone = build('4,4,2|2,2,2|2,1,2|2,1,2|16,16', out_indices=(0, ),
                     use_abs_pos_embed=False, pretrain_img_size=128,
                     resample_outputs=False, token_reduction='area').double().eval()
    x = torch.randn(1, 3, 128, 128, dtype=torch.double)  # windows of 32 pixels
    moved = x.clone()
    moved[..., 33:63, 65:95] += 1
    for stride in TOKEN_STRIDES:
        backbone.set_token_stride(stride)
        changed = (backbone(x)[0] != backbone(moved)[0]).any(1)[0]
        n = 32 // stride
        expected = torch.zeros(4 * n, 4 * n, dtype=torch.bool)
        expected[n:2 * n, 2 * n:3 * n] = True
        assert torch.equal(changed, expected)


# ---------------------------------------------------------------------------- bad input


@pytest.mark.parametrize('stride', [2, 0, -4, 12, 32, 4.5, '8', None])
def test_strides_that_are_not_offered(stride):
    backbone = build()
    backbone.set_token_stride(8)
    with pytest.raises(InputError) as caught:
        backbone.set_token_stride(stride)
    assert '4, 8, 16' in str(caught.value) and '\n' not in str(caught.value)
    assert backbone.token_stride == 8
    if stride is not None:  # for a call that means the one that is set
        with pytest.raises(InputError, match='4, 8, 16'):
            backbone(torch.rand(1, 3, 32, 32), token_stride=stride)


@pytest.mark.parametrize('stride, size', [(16, (15, 64)), (16, (64, 15)), (8, (7, 7))])
def test_image_smaller_than_a_coarse_token(stride, size):
    backbone = build()
    backbone.set_token_stride(stride)
    with pytest.raises(InputError) as caught:
        backbone(torch.rand(1, 3, *size))
    for words in (f'{size[0]} x {size[1]} pixels', f'{stride} x {stride} pixels'):
        assert words in str(caught.value)
    assert '\n' not in str(caught.value)


def test_unknown_token_reduction():
    with pytest.raises(InputError, match="one of dilate, area, got 'pool'"):
        AsViT(TINY, token_reduction='pool')


# ------------------------------------------------------------------------------ compile


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, dict(with_cp=True, token_strides=(16, 8, 4))],
                         ids=str)
def test_one_graph_per_stride(options):
    from torch._dynamo.testing import CompileCounter
    torch._dynamo.reset()
    backbone, counter = build('4,2,2|2,1,2|3,1,2|2,1,2|8,8', **options), CompileCounter()
    backbone.compile(backend=counter, fullgraph=True)
    x = torch.randn(2, 3, 64, 64)
    for stride in (4, 16, 8, 16, 8, 4, 16, 4):
        backbone.set_token_stride(stride)
        outs = backbone(x)
        assert [out.shape[-1] for out in outs] == [16, 8, 4, 2]
    assert counter.frame_count == 3
    torch._dynamo.reset()
