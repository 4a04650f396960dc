"""Position inside a window: two parts that start at zero and are optional."""
import pytest
import torch
import torch.nn.functional as F

from mmasvit import AsViT
from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.geometry import TOKEN_STRIDES, WindowRule
from mmasvit.models.attention import WindowAttention
from mmasvit.models.positions import ConvPosEmbed, RelativePositionBias, resize_bias_table
from mmasvit.models.stage_grid import StageGrid
from networks import TINY, assert_same, build, gradients, twin

BIAS, CONV = dict(use_rel_pos_bias=True), dict(use_conv_pos_embed=True)
each_part = pytest.mark.parametrize('options', [BIAS, CONV, {**BIAS, **CONV}], ids=str)


def trained(**options):
    """A backbone whose parts are no longer zero."""
    backbone = build(pretrain_img_size=64, **options)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if 'rel_pos_bias' in name or 'conv_pos_embed' in name:
                parameter.normal_(std=.5)
    return backbone


# ---------------------------------------------------------------------------- backbone


@each_part
@pytest.mark.parametrize('stride', TOKEN_STRIDES)
def test_plain_weights_load_and_give_the_same_numbers(options, stride, log):
    plain = build(pretrain_img_size=64)
    other = trained(**options)  # what it held goes
    other.load_state_dict(plain.state_dict(), strict=True)
    x = torch.randn(2, 3, 75, 107)
    for ours, theirs in zip(other(x, stride), plain(x, stride)):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@each_part
def test_a_part_is_not_left_out_silently(options):
    with pytest.raises(RuntimeError, match='pos_'):
        AsViT(TINY, pretrain_img_size=64).load_state_dict(trained(**options).state_dict())


@each_part
def test_a_few_tensors_leave_the_parts_alone(options):
    """As of adapters, which are loaded on top of what is there."""
    backbone = trained(**options)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    name = 'stages.0.blocks.0.attn.proj.weight'
    backbone.load_state_dict({name: before[name] + 1}, strict=False)
    for other, value in backbone.state_dict().items():
        assert torch.equal(value, before[other] + 1 if other == name else before[other])


@each_part
def test_a_pretrained_file_without_the_parts(options, tmp_path, log):
    plain = build(pretrain_img_size=64)
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    other = AsViT(TINY, pretrain_img_size=64, **options, init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'plain.pth')))
    other.init_weights()
    assert 'tensors of parts that start at zero' in log.text
    assert 'newly initialised' not in log.text
    for name, value in plain.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


@each_part
def test_explicit_equals_fused(options):
    fused = trained(**options)
    explicit = twin(fused, attn_impl='explicit', pretrain_img_size=64, **options)
    x = torch.randn(2, 3, 75, 107)
    for shift in (False, True):
        for backbone in (fused, explicit):
            for stage in backbone.stages:
                stage.windows = [rule._replace(shifted=shift) for rule in stage.windows]
        assert_same(gradients(explicit, x), gradients(fused, x))


@each_part
def test_every_part_learns_and_matters(options):
    """Also at coarse tokens, where a table is read at every second or fourth entry."""
    backbone, plain = trained(**options), build(pretrain_img_size=64)
    x = torch.randn(2, 3, 128, 128)
    for stride in TOKEN_STRIDES:
        backbone.set_token_stride(stride)
        grads, outs = gradients(backbone, x)
        for name, gradient in grads.items():
            assert gradient.isfinite().all()
            if stride == 4 or 'rel_pos_bias' not in name:  # windows of a single token
                assert gradient.abs().max() > 0, name
        if stride == 4:
            assert (outs[1] - plain(x, stride)[1]).abs().max() > 1e-4


@each_part
def test_closed_forms_count_what_is_there(options):
    backbone = build(pretrain_img_size=64, **options)
    total = sum(p.numel() for p in backbone.parameters())
    assert total == backbone.topology.count_params(
        out_indices=(0, 1, 2, 3), pretrain_img_size=64, **options)
    use_explicit_paths(backbone)
    for size in ((75, 107), (64, 64)):
        for stride in TOKEN_STRIDES:
            x = torch.rand(1, 3, *size)
            counted = count_macs(lambda: backbone(x, token_stride=stride))
            assert counted == backbone.count_macs(size, stride)


@each_part
def test_with_cp_and_strides(options):
    plain = trained(**options)
    saving = twin(plain, with_cp=True, pretrain_img_size=64, **options)
    x, found = torch.randn(2, 3, 75, 107), []
    for backbone in (saving, plain):
        outs = [out for stride in (16, 8, 4) for out in backbone(x, stride)]
        sum(out.square().mean() for out in outs).backward()
        found.append([p.grad for p in backbone.parameters()])
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@each_part
def test_bf16_autocast(options):
    backbone = trained(**options).eval()
    x = torch.randn(2, 3, 75, 107)
    with torch.no_grad():
        exact = backbone(x)
        with torch.autocast('cpu', torch.bfloat16):
            low = backbone(x)
    for ours, theirs in zip(low, exact):
        assert (ours - theirs).abs().mean() < 0.03 * theirs.abs().mean()


@each_part
def test_parts_start_at_zero_whatever_the_config_says(options):
    backbone = AsViT(TINY, **options, init_cfg=[
        dict(type='Kaiming', layer=['Conv2d', 'ConvPosEmbed']),
        dict(type='Xavier', layer='Linear')])
    backbone.init_weights()
    assert backbone.patch_embed.projection.weight.std() > 0
    parts = [p for name, p in backbone.named_parameters()
             if 'rel_pos_bias' in name or 'conv_pos_embed' in name]
    assert parts and not any(p.any() for p in parts)


# --------------------------------------------------------------------------------- bias


@pytest.mark.parametrize('window', [(3, 5), (1, 1), (7, 2)])
@pytest.mark.parametrize('stride', TOKEN_STRIDES)
def test_bias_by_brute_force(window, stride):
    """Entry by entry: the offset in tokens of 4 pixels, at most the table's."""
    bias = RelativePositionBias(2, reach=4).double()
    bias.table.data.normal_()
    got = bias(window, stride)
    tokens = [(y, x) for y in range(window[0]) for x in range(window[1])]
    for i, (y, x) in enumerate(tokens):
        for j, (v, u) in enumerate(tokens):
            dy, dx = (max(-4, min(4, d * stride // 4)) for d in (y - v, x - u))
            assert torch.equal(got[:, i, j], bias.table[:, dy + 4, dx + 4])


@pytest.mark.parametrize('fused', [True, False])
def test_bias_is_added_to_the_scores(fused):
    attn = WindowAttention(12, 3, fused, rel_pos_reach=6).double()
    attn.rel_pos_bias.table.data.normal_()
    grid = StageGrid((5, 7), (80, 112), WindowRule(1, 224), 4)
    x = torch.randn(2, 35, 12, dtype=torch.double)
    q, k, v = (t.unflatten(-1, (3, 4)).transpose(1, 2)
               for t in attn.qkv(x).chunk(3, dim=-1))
    scores = q @ k.transpose(-2, -1) / 2 + attn.rel_pos_bias((5, 7), 4)
    expected = attn.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attn(x, grid), expected)


def test_a_table_of_another_size_means_the_same_offsets(tmp_path):
    small = RelativePositionBias(2, reach=3)
    small.table.data.normal_()
    large = RelativePositionBias(2, reach=8)
    large.table.data = resize_bias_table(small.table.data, 8)
    for window in ((4, 3), (9, 2)):
        assert torch.equal(small(window, 4), large(window, 4))
    assert torch.equal(resize_bias_table(large.table, 3), small.table)


def test_a_checkpoint_of_another_pre_training_size():
    source = trained(**BIAS)
    target = AsViT(TINY, pretrain_img_size=96, **BIAS)
    target.load_state_dict(source.state_dict(), strict=True)
    for ours, theirs in zip(target.stages, source.stages):
        window = (2, 2)
        assert torch.equal(ours.blocks[0].attn.rel_pos_bias(window, 4),
                           theirs.blocks[0].attn.rel_pos_bias(window, 4))


# -------------------------------------------------------------------------- convolution


def test_convolution_is_depthwise_and_reaches_across_windows():
    module = ConvPosEmbed(6)
    module.weight.data.normal_()
    x = torch.randn(1, 5, 4, 6)
    expected = torch.stack([
        F.conv2d(x[..., c][:, None], module.weight[c:c + 1], padding=1)[0, 0]
        for c in range(6)], dim=-1)
    torch.testing.assert_close(module(x)[0], expected)
    backbone = build('4,4,2|2,2,2|2,1,2|2,1,2|16,16', out_indices=(0, ),
                     use_abs_pos_embed=False, pretrain_img_size=64, **CONV)
    backbone.stages[0].blocks[0].conv_pos_embed.weight.data.fill_(.1)
    x = torch.randn(1, 3, 128, 128)
    moved = x.clone()
    moved[..., 32, 16] += 1  # first token of a window
    changed = (backbone(x)[0] != backbone(moved)[0]).any(1)[0]
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[4:12, 0:8] = True  # its window, and those of the tokens around it
    assert torch.equal(changed, expected)
