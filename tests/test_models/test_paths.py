"""Both ways to compute the backbone, and what they must not mix up."""
import pytest
import torch
import torch.nn.functional as F

from networks import LARGE, SIZES, TINY, assert_same, build, gradients, loss_of, twin


@pytest.mark.parametrize('size', [*SIZES, LARGE, (61, 260), (4, 7)], ids=str)
def test_explicit_equals_fused(size):
    fused = build(drop_path_rate=0.)
    explicit = twin(fused, attn_impl='explicit')
    x = torch.randn(1, 3, *size)
    assert_same(gradients(explicit, x), gradients(fused, x))


@pytest.mark.slow
@pytest.mark.parametrize('name', ['small', 'large'])
def test_explicit_equals_fused_in_members(name):
    fused = build(name, out_indices=(1, 2)).eval()
    explicit = twin(fused, out_indices=(1, 2), attn_impl='explicit')
    x = torch.randn(1, 3, 230, 246)
    with torch.no_grad():
        for ours, theirs in zip(explicit(x), fused(x)):
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def test_both_paths_agree_to_the_last_digits_in_float64():
    fused = build().double().eval()
    explicit = twin(fused, attn_impl='explicit').double()
    x = torch.randn(2, 3, 93, 118, dtype=torch.double)
    with torch.no_grad():
        for ours, theirs in zip(explicit(x), fused(x)):
            assert ours.dtype == torch.double
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_height_and_width_are_not_exchanged():
    """What varies along the width only gives maps that vary along the width only."""
    x = torch.randn(1, 3, 1, 192).expand(1, 3, 64, 192)
    backbone = build(use_abs_pos_embed=False, pretrain_img_size=64).eval().double()
    with torch.no_grad():
        wide = backbone(x.double())[0][..., 4:-4, :]  # rows near the border see padding
        tall = backbone(x.double().transpose(2, 3))[0][..., 4:-4]
    assert wide.std(dim=2).max() < 0.2 * wide.std(dim=3).min()
    assert tall.std(dim=3).max() < 0.2 * tall.std(dim=2).min()


@pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
def test_a_transposed_network_sees_the_transposed_image(attn_impl):
    """Transposing all kernels transposes the maps, on a grid that is not square."""
    backbone = build(use_abs_pos_embed=False, attn_impl=attn_impl).double().eval()
    mirror = twin(backbone, use_abs_pos_embed=False, attn_impl=attn_impl).double()
    with torch.no_grad():
        conv = mirror.patch_embed.projection
        conv.weight.copy_(conv.weight.transpose(2, 3).clone())
        for stage in mirror.stages[1:]:
            k = stage.downsample.kernel_size
            for weight in stage.downsample.parameters():
                rows = weight.view(-1, stage.downsample.in_channels, k, k)
                weight.copy_(rows.transpose(2, 3).reshape(weight.shape))
        x = torch.randn(1, 3, 128, 290, dtype=torch.double)
        for ours, theirs in zip(backbone(x), mirror(x.transpose(2, 3))):
            torch.testing.assert_close(ours, theirs.transpose(2, 3),
                                       rtol=1e-9, atol=1e-9)


def test_images_of_a_batch_do_not_mix():
    backbone = build(pretrain_img_size=64).double().eval()
    x = torch.randn(3, 3, 75, 107, dtype=torch.double)
    with torch.no_grad():
        together = backbone(x)
        for i in range(3):
            for alone, out in zip(backbone(x[i:i + 1]), together):
                torch.testing.assert_close(alone, out[i:i + 1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('size', [(64, 64), (64, 96), (96, 64)], ids=str)
def test_global_context_stops_at_the_window(size):
    """A pixel changes its own window of stage 1 and nothing else, on any grid."""
    backbone = build(out_indices=(0, ), use_abs_pos_embed=False,
                     pretrain_img_size=64).double().eval()  # windows of 16 pixels
    x = torch.randn(1, 3, *size, dtype=torch.double)
    moved = x.clone()
    moved[..., 40, 24] += 1  # in the middle of a window
    with torch.no_grad():
        changed = (backbone(x)[0] != backbone(moved)[0]).any(1)[0]
    expected = torch.zeros(size[0] // 4, size[1] // 4, dtype=torch.bool)
    expected[8:12, 4:8] = True
    assert torch.equal(changed, expected)


def test_large_eps_on_both_paths():
    fused = build(norm_cfg=dict(type='LN', eps=1.)).eval()
    explicit = twin(fused, norm_cfg=dict(type='LN', eps=1.), attn_impl='explicit')
    plain = twin(fused)
    x = torch.randn(1, 3, 96, 60)
    with torch.no_grad():
        for ours, theirs, other in zip(explicit(x), fused(x), plain(x)):
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
            assert (ours - other).abs().max() > 1e-2


@pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
@pytest.mark.parametrize('arch, size', [(TINY, (137, 112)), ('seed', (64, 96))])
def test_bf16_autocast(attn_impl, arch, size):
    backbone = build(arch, attn_impl=attn_impl)
    x = torch.randn(2, 3, *size)
    grads, outs = gradients(backbone, x)
    backbone.zero_grad()
    with torch.autocast('cpu', torch.bfloat16):
        low = backbone(x)
        loss = loss_of([out.float() for out in low])
    loss.backward()
    for out, exact in zip(low, outs):
        assert torch.isfinite(out).all()
        assert (out - exact).abs().mean() < 0.02 * exact.abs().mean()
    for name, p in backbone.named_parameters():
        assert p.grad.dtype == torch.float32
        assert torch.isfinite(p.grad).all(), name
        cosine = F.cosine_similarity(p.grad.flatten(), grads[name].flatten(), dim=0)
        assert cosine > 0.9, name
