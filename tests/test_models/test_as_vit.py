"""The backbone: members, sizes, options, and both ways to compute it."""
import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmcv.cnn.bricks.transformer import FFN
from torch import nn

from mmasvit import AsViT, Topology
from mmasvit.errors import InputError
from mmasvit.topology import FAMILY

# Every part of the design within 60,000 weights: several splits and depths, odd and
# even kernels, heads that leave a channel over.
TINY = '7,4,3,2|2,2,2,1|4,2,3,3|3,1,2,1|16,10'
SIZES = [(224, 224), (256, 256), (256, 309), (511, 511), (112, 137)]


def build(arch=TINY, **options):
    """An initialised backbone, in training mode."""
    torch.manual_seed(1)
    backbone = AsViT(arch, **options)
    backbone.init_weights()
    return backbone


def twin(backbone, **options):
    """The same weights under other options."""
    other = AsViT(backbone.topology, **options)
    other.load_state_dict(backbone.state_dict())
    return other.train(backbone.training)


def loss_of(outs):
    """A number to which every element of every map contributes its own share."""
    generator = torch.Generator().manual_seed(2)
    return sum((out * torch.randn(out.shape, generator=generator)).mean()
               for out in outs)


def gradients(backbone, x):
    """Gradient of each parameter by its name, and the maps."""
    backbone.zero_grad()
    outs = backbone(x)
    loss_of(outs).backward()
    return {name: p.grad.clone() for name, p in backbone.named_parameters()}, outs


def assert_same(first, second, rtol=1e-4):
    """Outputs to 1e-5 and gradients to ``rtol`` of the largest of each tensor."""
    for ours, theirs in zip(first[1], second[1]):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    assert first[0].keys() == second[0].keys()
    largest = max(grad.abs().max() for grad in second[0].values())
    for name, theirs in second[0].items():
        # some sums cancel to nothing: those of gradients as large as others are noise
        bound = max(theirs.abs().max(), 1e-3 * largest)
        assert (first[0][name] - theirs).abs().max() < rtol * bound, name


# ------------------------------------------------------------------ members and sizes


@pytest.mark.parametrize('name, size', [('seed', (224, 224)), ('small', (64, 96)),
                                        ('base', (64, 64)), ('large', (68, 61))])
@pytest.mark.slow
def test_members_train(name, size):
    """Maps have their shapes; each parameter a gradient, before and after a step."""
    backbone = build(name)
    assert backbone.topology == FAMILY[name]
    assert backbone.out_channels == FAMILY[name].widths
    assert backbone.out_strides == (4, 8, 16, 32)
    optimizer = torch.optim.SGD(backbone.parameters(), lr=1e-3)
    x = torch.randn(2, 3, *size)
    for _ in range(2):
        optimizer.zero_grad()
        outs = backbone(x)
        loss_of(outs).backward()
        for parameter_name, p in backbone.named_parameters():
            assert torch.isfinite(p.grad).all(), parameter_name
            assert p.grad.abs().max() > 0, parameter_name
        optimizer.step()
    for out, width, stride in zip(outs, backbone.out_channels, backbone.out_strides):
        assert out.shape == (2, width, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize('name, channels', [
    ('small', (88, 176, 352, 704)), ('base', (116, 232, 464, 928)),
    ('large', (180, 360, 720, 1024))])
def test_members_have_the_widths_of_the_paper(name, channels):
    assert Topology.of(name).widths == channels


@pytest.mark.parametrize('size', SIZES + [(1024, 1024), (4, 4), (5, 300)], ids=str)
def test_maps_of_any_size(size):
    backbone = build('seed').eval()
    with torch.no_grad():
        outs = backbone(torch.randn(1, 3, *size))
    assert [tuple(out.shape) for out in outs] == [
        (1, width, -(-size[0] // stride), -(-size[1] // stride))
        for width, stride in ((32, 4), (64, 8), (128, 16), (256, 32))]
    for out in outs:
        assert torch.isfinite(out).all()
        assert out.is_contiguous()


@pytest.mark.parametrize('size', SIZES + [(1024, 1024), (61, 260), (4, 7)], ids=str)
def test_explicit_equals_fused(size):
    fused = build(drop_path_rate=0.)
    explicit = twin(fused, attn_impl='explicit')
    x = torch.randn(1, 3, *size)
    assert_same(gradients(explicit, x), gradients(fused, x))


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


@pytest.mark.parametrize('size', [(3, 224), (224, 3), (1, 1)])
def test_image_smaller_than_a_token(size):
    with pytest.raises(InputError) as caught:
        build()(torch.randn(1, 3, *size))
    assert f'{size[0]} x {size[1]}' in str(caught.value)
    assert '4 x 4' in str(caught.value) and '\n' not in str(caught.value)


def test_gray_images():
    outs = build(in_channels=1)(torch.randn(1, 1, 32, 32))
    assert outs[0].shape == (1, 10, 8, 8)


@pytest.mark.parametrize('options, named', [
    (dict(arch='huge'), "'huge'"),
    (dict(arch='8,2,3|4,1,2'), 'parts'),
    (dict(arch='8,2,3|4,1,2|4,1,4|4,1,6|128,8'), 'stage 1 has 16 heads'),
    (dict(out_indices=(0, 4)), 'out_indices'),
    (dict(out_indices=(-5, )), 'out_indices'),
    (dict(out_indices=()), 'out_indices'),
    (dict(out_indices=(2, 1)), 'out_indices'),
    (dict(out_indices=(1, 1)), 'out_indices'),
    (dict(attn_impl='flash'), "'flash'"),
    (dict(frozen_stages=5), 'frozen_stages'),
    (dict(frozen_stages=-2), 'frozen_stages'),
], ids=str)
def test_bad_arguments_give_one_line(options, named):
    with pytest.raises(InputError) as caught:
        AsViT(**options)
    assert named in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('arch', [
    TINY, Topology.parse(TINY),
    dict(kernels=(7, 2, 4, 3), splits=(4, 2, 2, 1), expansions=(3, 2, 3, 2),
         num_heads=16, depths=(2, 1, 3, 1), embed_dims=10)],
    ids=lambda arch: type(arch).__name__)
def test_arch_as_text_value_and_dict(arch):
    assert AsViT(arch).topology == Topology.parse(TINY)


# -------------------------------------------------------------------- initialisation


def test_initialisation_leaves_no_layer_without_signal():
    """Linear maps have deviation 0.02, norms are the identity, nothing is zeroed."""
    backbone = build('seed')
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(.02, rel=.1), name
            assert module.bias is None or (module.bias == 0).all(), name
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all() and (module.bias == 0).all(), name
    assert backbone.pos_embed.std().item() == pytest.approx(.02, rel=.1)
    assert backbone.patch_embed.projection.weight.std() > .02


def test_initialisation_can_be_replaced():
    backbone = AsViT(TINY, init_cfg=dict(type='Constant', layer='Linear', val=.5,
                                         bias=.25))
    backbone.init_weights()
    assert (backbone.stages[0].blocks[0].attn.qkv.weight == .5).all()
    assert (backbone.stages[0].blocks[0].attn.qkv.bias == .25).all()


def test_initialisation_of_a_parent_reaches_the_backbone():
    from mmengine.model import BaseModule
    parent = BaseModule()
    parent.backbone = AsViT(TINY)
    before = parent.backbone.pos_embed.clone()
    parent.init_weights()
    assert not torch.equal(parent.backbone.pos_embed, before)
    assert (parent.backbone.stages[0].blocks[0].attn.qkv.bias == 0).all()


# -------------------------------------------------------------------------- precision


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


# ------------------------------------------------------------------------- with_cp


@pytest.mark.parametrize('drop_path_rate', [0., 0.5])
@pytest.mark.parametrize('size', [(64, 64), (75, 107)], ids=str)
def test_with_cp_changes_nothing(size, drop_path_rate):
    plain = build(drop_path_rate=drop_path_rate)
    saving = twin(plain, drop_path_rate=drop_path_rate, with_cp=True)
    x = torch.randn(4, 3, *size)
    results = []
    for backbone in (saving, plain):
        torch.manual_seed(3)
        results.append(gradients(backbone, x))
    assert_same(*results, rtol=1e-6)
    if drop_path_rate:  # the seed decides what is dropped
        torch.manual_seed(4)
        other = plain(x)
        assert not torch.allclose(other[-1], results[1][1][-1])


def test_with_cp_keeps_less():
    """Tensors kept for the backward pass: fewer than half of those without."""
    kept = []
    for with_cp in (True, False):
        backbone, sizes = build(with_cp=with_cp), []
        with torch.autograd.graph.saved_tensors_hooks(
                lambda tensor: sizes.append(tensor.numel()) or tensor, lambda t: t):
            backbone(torch.randn(1, 3, 64, 64))
        kept.append(sum(sizes))
    assert kept[0] < kept[1] / 2


@pytest.mark.parametrize('options, kept', [
    (dict(), False), (dict(with_cp=True), False), (dict(drop_path_rate=0.5), False)], ids=str)
def test_activations_are_not_kept_for_the_backward_pass(options, kept):
    """They are made again there, and only they: the layer after them runs once."""
    backbone = build(**options)
    hidden, contractions = [], []
    for stage in backbone.stages:
        for block in stage.blocks:
            block.ffn.layers[0][1].register_forward_hook(
                lambda module, inputs, out: hidden.append(weakref.ref(out)))
            block.ffn.layers[1].register_forward_hook(
                lambda module, inputs, out: contractions.append(out.shape))
    outs = backbone(torch.randn(2, 3, 64, 64))
    blocks = sum(backbone.topology.depths)
    assert len(hidden) == len(contractions) == blocks
    assert any(ref() is not None for ref in hidden) == kept
    loss_of(outs).backward()
    assert len(hidden) == 2 * blocks
    if not options.get('with_cp'):
        assert len(contractions) == blocks


def test_ffn_is_that_of_mmcv():
    backbone = build()
    ffn = backbone.stages[1].blocks[0].ffn
    x, identity = torch.randn(2, 2, 5, ffn.embed_dims, requires_grad=True).unbind()
    results = []
    for forward in (type(ffn).forward, FFN.forward):
        out = forward(ffn, x, identity)
        results.append((out, *torch.autograd.grad(
            out.square().sum(), [x, identity, *ffn.parameters()])))
    assert type(ffn).forward is not FFN.forward
    for ours, theirs in zip(*results):
        assert torch.equal(ours, theirs)


# --------------------------------------------------------------------------- freezing


def parameters_of(backbone, stages):
    """Names of what ``frozen_stages=stages`` freezes."""
    prefixes = ['patch_embed.', 'pos_embed'] if stages >= 0 else []
    for i in range(max(stages, 0)):
        prefixes += [f'stages.{i}.', f'norm{i}.']
    return {name for name, _ in backbone.named_parameters()
            if name.startswith(tuple(prefixes))}


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 4])
def test_frozen_stages_do_not_train(frozen_stages):
    backbone = build(frozen_stages=frozen_stages, drop_path_rate=.5)
    assert backbone.train() is backbone
    frozen = parameters_of(backbone, frozen_stages)
    before = copy.deepcopy(backbone.state_dict())
    outs = backbone(torch.randn(8, 3, 48, 48))  # no path is dropped in all of them
    if frozen_stages < 4:
        loss_of(outs).backward()
        optimizer = torch.optim.AdamW(backbone.parameters(), lr=.01, weight_decay=.1)
        optimizer.step()
    else:
        assert not any(out.requires_grad for out in outs)
    for name, p in backbone.named_parameters():
        assert (p.grad is None) == (name in frozen), name
        assert torch.equal(p, before[name]) == (name in frozen), name


@pytest.mark.parametrize('frozen_stages', [0, 2, 4])
def test_frozen_stages_stay_in_evaluation_mode(frozen_stages):
    backbone = build(frozen_stages=frozen_stages, drop_path_rate=.5)
    for _ in range(2):
        backbone.eval()
        assert not any(module.training for module in backbone.modules())
        assert backbone.train() is backbone
        assert backbone.training
        for i, stage in enumerate(backbone.stages):
            modes = {module.training for module in stage.modules()}
            assert modes == {i >= frozen_stages}
        assert not backbone.patch_embed.training
        assert not any(p.requires_grad for name, p in backbone.named_parameters()
                       if name in parameters_of(backbone, frozen_stages))


def test_frozen_stages_drop_no_path():
    backbone = build(frozen_stages=3, drop_path_rate=.9, out_indices=(2, )).train()
    x = torch.randn(2, 3, 48, 48)
    assert torch.equal(backbone(x)[0], backbone(x)[0])


def test_freezing_more_than_is_built():
    backbone = build(frozen_stages=4, out_indices=(0, ))
    assert not any(p.requires_grad for p in backbone.parameters())


# ------------------------------------------------------------------------ out_indices


@pytest.mark.parametrize('out_indices', [(0, ), (1, ), (3, ), (0, 2), (1, 3), (0, 1, 2),
                                         [2, 3], 2], ids=str)
def test_subsets_of_outputs(out_indices):
    indices = (out_indices, ) if isinstance(out_indices, int) else tuple(out_indices)
    whole = build().eval()
    part = AsViT(TINY, out_indices=out_indices)
    part.load_state_dict({name: value for name, value in whole.state_dict().items()
                          if name in part.state_dict()})
    assert len(part.stages) == indices[-1] + 1
    assert part.out_channels == tuple(whole.out_channels[i] for i in indices)
    assert part.out_strides == tuple(4 * 2**i for i in indices)
    assert {name for name, _ in part.named_children() if name.startswith('norm')
            } == {f'norm{i}' for i in indices}
    x = torch.randn(1, 3, 50, 70)
    with torch.no_grad():
        outs, expected = part.eval()(x), whole(x)
    assert isinstance(outs, tuple) and len(outs) == len(indices)
    for out, i in zip(outs, indices):
        torch.testing.assert_close(out, expected[i])


@pytest.mark.parametrize('negative, positive', [((-1, ), (3, )), (-1, (3, )),
                                                ((-3, -1), (1, 3))])
def test_negative_indices_count_from_the_end(negative, positive):
    assert AsViT(TINY, out_indices=negative).out_indices == positive


def test_output_norm_is_the_last_step():
    normed = build(pretrain_img_size=64).eval()
    bare = AsViT(TINY, output_norm=False, pretrain_img_size=64).eval()
    assert not any(name.startswith('norm') for name in bare.state_dict())
    bare.load_state_dict(normed.state_dict())
    x = torch.randn(1, 3, 40, 64)
    with torch.no_grad():
        for out, plain in zip(normed(x), bare(x)):
            expected = F.layer_norm(plain.permute(0, 2, 3, 1), plain.shape[1:2])
            torch.testing.assert_close(out.permute(0, 2, 3, 1), expected)


def test_outputs_do_not_feed_the_next_stage_normed():
    """The norm of a level must not change the levels after it."""
    backbone = build().eval()
    x = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        before = backbone(x)
        backbone.norm0.weight.mul_(3)
        after = backbone(x)
    torch.testing.assert_close(after[0], 3 * before[0])
    for ours, theirs in zip(after[1:], before[1:]):
        assert torch.equal(ours, theirs)


# -------------------------------------------------------------- stochastic depth, norms


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (1, )])
def test_drop_path_rises_linearly_over_blocks(out_indices):
    backbone = AsViT(TINY, drop_path_rate=.6, out_indices=out_indices)
    blocks = [block for stage in backbone.stages for block in stage.blocks]
    expected = [.1 * i for i in range(7)]  # 2 + 1 + 3 + 1 blocks
    for block, rate in zip(blocks, expected):
        rates = [module.drop_prob for module in block.modules()
                 if isinstance(module, DropPath)]
        assert rates == pytest.approx([rate, rate])


def test_drop_path_skips_both_branches():
    """With almost certain drop the last block is the identity, in training only."""
    backbone = build(drop_path_rate=1 - 1e-6, output_norm=False)
    x = torch.randn(2, 3, 32, 32)
    stage = backbone.stages[-1]
    seen = {}
    stage.blocks[-1].register_forward_hook(
        lambda module, args, out: seen.update(change=(out - args[0]).abs().max()))
    backbone(x)
    assert seen['change'] == 0
    backbone.eval()(x)
    assert seen['change'] > 0


def test_norm_cfg_is_honoured_everywhere():
    norm_cfg = dict(type='LN', eps=1e-3)
    backbone = AsViT(TINY, norm_cfg=norm_cfg)
    norms = [module for module in backbone.modules()
             if isinstance(module, nn.LayerNorm)]
    # tokenizer, 3 re-embeddings, 2 in each of 7 blocks, 4 outputs
    assert len(norms) == 1 + 3 + 14 + 4
    assert {norm.eps for norm in norms} == {1e-3}
    assert norm_cfg == dict(type='LN', eps=1e-3)
    assert {module.eps for module in AsViT(TINY).modules()
            if isinstance(module, nn.LayerNorm)} == {1e-5}


def test_large_eps_on_both_paths():
    fused = build(norm_cfg=dict(type='LN', eps=1.)).eval()
    explicit = twin(fused, norm_cfg=dict(type='LN', eps=1.), attn_impl='explicit')
    plain = twin(fused)
    x = torch.randn(1, 3, 96, 60)
    with torch.no_grad():
        for ours, theirs, other in zip(explicit(x), fused(x), plain(x)):
            assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
            assert (ours - other).abs().max() > 1e-2


def test_ffn_activation_is_gelu():
    block = build().stages[0].blocks[0].double()
    x = torch.randn(2, 5, 10, dtype=torch.double)
    first, second = block.ffn.layers[0][0], block.ffn.layers[1]
    torch.testing.assert_close(block.ffn(x, identity=x), x + second(F.gelu(first(x))))


# ------------------------------------------------------------------ position embedding


def test_positions_are_added_to_the_tokens():
    backbone = build(pretrain_img_size=64).eval()
    bare = twin_without_positions(backbone)
    x = torch.randn(1, 3, 64, 64)
    seen = {}
    for name, model in (('with', backbone), ('without', bare)):
        model.stages[0].register_forward_pre_hook(
            lambda module, args, name=name: seen.update({name: args[0]}))
        model(x)
    torch.testing.assert_close(seen['with'] - seen['without'],
                               backbone.pos_embed.permute(0, 2, 3, 1),
                               rtol=1e-4, atol=1e-5)


def twin_without_positions(backbone):
    """The same weights but the position embedding."""
    bare = AsViT(backbone.topology, pretrain_img_size=64, use_abs_pos_embed=False)
    state = backbone.state_dict()
    del state['pos_embed']
    bare.load_state_dict(state)
    return bare.eval()


@pytest.mark.parametrize('size', [(64, 64), (96, 48), (33, 130)], ids=str)
def test_constant_positions_stay_constant_at_any_size(size):
    backbone = build(pretrain_img_size=64)
    backbone.pos_embed.data.copy_(torch.randn(1, 10, 1, 1).expand(1, 10, 16, 16))
    grid = tuple(-(-side // 4) for side in size)
    positions = backbone._positions(grid)
    assert positions.shape == (1, *grid, 10)
    first = backbone.pos_embed[..., :1, :1].permute(0, 2, 3, 1)
    torch.testing.assert_close(positions, first.expand(1, *grid, 10))


def test_positions_at_run_time_equal_positions_on_load():
    """A model made for the size of the image computes what the resizing one does."""
    backbone = build(pretrain_img_size=64).eval()
    backbone.pos_embed.data.normal_()
    x = torch.randn(1, 3, 96, 96)
    larger = AsViT(TINY, pretrain_img_size=96)
    larger.load_state_dict(backbone.state_dict(), strict=True)
    seen = []
    for model in (backbone, larger.eval()):
        model.stages[0].register_forward_pre_hook(
            lambda module, args: seen.append(args[0]))
        model(x)
    assert larger.pos_embed.shape == (1, 10, 24, 24)
    torch.testing.assert_close(*seen)


@pytest.mark.parametrize('old, new', [(224, 256), (256, 224), (224, 64)])
def test_positions_are_resized_on_load(old, new):
    source, target = (AsViT(TINY, pretrain_img_size=side) for side in (old, new))
    ramp = torch.linspace(-1, 1, old // 4)
    source.pos_embed.data.copy_(ramp.expand(1, 10, old // 4, old // 4))
    state = source.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    result = target.load_state_dict(state, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    side = new // 4
    assert target.pos_embed.shape == (1, 10, side, side)
    expected = F.interpolate(ramp.view(1, 1, 1, -1), size=(1, side), mode='bicubic')
    torch.testing.assert_close(target.pos_embed, expected.expand(1, 10, side, side))
    torch.testing.assert_close(target.pos_embed.mean().item(), 0., rtol=0, atol=1e-5)
    assert state.keys() == before.keys()
    for name, value in state.items():
        assert torch.equal(value, before[name])


def test_positions_are_resized_inside_a_parent():
    source, target = (nn.ModuleDict(dict(backbone=AsViT(TINY, pretrain_img_size=side)))
                      for side in (64, 96))
    source['backbone'].pos_embed.data.fill_(.7)
    target.load_state_dict(source.state_dict(), strict=True)
    torch.testing.assert_close(target['backbone'].pos_embed.data,
                               torch.full((1, 10, 24, 24), .7))


def test_positions_of_another_width_are_refused():
    backbone = AsViT(TINY)
    state = dict(backbone.state_dict(), pos_embed=torch.zeros(1, 12, 56, 56))
    with pytest.raises(RuntimeError, match='pos_embed'):
        backbone.load_state_dict(state)


# ---------------------------------------------------------------------- strict loading


def test_output_norms_of_either_side_may_be_missing():
    detector, classifier = build(), AsViT(TINY, out_indices=(3, ))
    detector.norm0.weight.data.fill_(5)
    classifier.load_state_dict(detector.state_dict(), strict=True)
    detector.load_state_dict(classifier.state_dict(), strict=True)
    assert (detector.norm0.weight == 5).all()
    torch.testing.assert_close(detector.norm3.weight, classifier.norm3.weight)


def test_a_copy_loads_into_itself():
    """As an averaged model does: nothing of the original may come in."""
    original = build()
    averaged = copy.deepcopy(original)
    original.norm0.weight.data.fill_(5)
    averaged.load_state_dict(AsViT(TINY, out_indices=(3, )).state_dict(), strict=True)
    assert (averaged.norm0.weight == 1).all()
    assert (original.norm0.weight == 5).all()


def test_anything_else_missing_is_an_error():
    backbone = AsViT(TINY)
    for name in backbone.state_dict():
        if name.startswith('norm'):
            continue
        state = backbone.state_dict()
        del state[name]
        with pytest.raises(RuntimeError, match=name):
            backbone.load_state_dict(state)


@pytest.mark.parametrize('state', [dict(), dict(norm3=torch.zeros(1)),
                                   {'backbone.pos_embed': torch.zeros(1)}], ids=len)
def test_a_strange_dict_is_an_error(state):
    with pytest.raises(RuntimeError, match='norm0.weight'):
        AsViT(TINY).load_state_dict(state)


# -------------------------------------------------------------------------- layer depth


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_layer_depth_of_small(prefix):
    backbone = AsViT('small')
    depths = {name: backbone.get_layer_depth(prefix + name, prefix)
              for name, _ in backbone.named_parameters()}
    blocks = sum(FAMILY['small'].depths)
    assert {total for _, total in depths.values()} == {blocks + 2}
    layers = [depth for depth, _ in depths.values()]
    assert layers == sorted(layers)  # parameters are in the order of the forward pass
    assert set(layers) == set(range(blocks + 2))
    assert depths['pos_embed'][0] == depths['patch_embed.projection.weight'][0] == 0
    for i, first in enumerate((1, 4, 5, 9)):
        assert depths[f'stages.{i}.blocks.0.attn.qkv.weight'][0] == first
        if i:
            assert depths[f'stages.{i}.downsample.norm.weight'][0] == first
        assert depths[f'norm{i}.weight'][0] == blocks + 1


def test_layer_depth_of_heads_and_of_fewer_stages():
    backbone = AsViT(TINY, out_indices=(1, ))
    assert backbone.get_layer_depth('head.fc.weight', 'backbone.') == (4, 5)
    assert backbone.get_layer_depth('stages.1.blocks.0.norm1.bias') == (3, 5)


# ----------------------------------------------------------------------------- export


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize('training', [True, False])
def test_compiled_graph_serves_every_batch_size(training):
    """One whole graph for the first batch size, one for all others."""
    from torch._dynamo.testing import CompileCounter
    torch._dynamo.reset()
    backbone, counter = build('4,2,2|2,1,2|3,1,2|2,1,2|8,8'), CompileCounter()
    backbone.train(training)
    plain = twin(backbone)
    backbone.compile(backend=counter, fullgraph=True)
    for batch_size in (2, 3, 5):
        images = torch.randn(batch_size, 3, 75, 107)
        for ours, theirs in zip(backbone(images), plain(images)):
            assert torch.allclose(ours, theirs, atol=1e-5)
    assert counter.frame_count <= 2
    torch._dynamo.reset()


@pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
def test_export_with_a_dynamic_batch(attn_impl):
    backbone = build(attn_impl=attn_impl, pretrain_img_size=64).eval()
    exported = torch.export.export(
        backbone, (torch.randn(2, 3, 75, 64), ),
        dynamic_shapes=({0: torch.export.Dim('batch')}, )).module()
    for batch in (1, 3):
        x = torch.randn(batch, 3, 75, 64)
        with torch.no_grad():
            for ours, theirs in zip(exported(x), backbone(x)):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_copies_and_pickles(tmp_path):
    backbone = build().eval()
    torch.save(backbone, tmp_path / 'backbone.pth')
    loaded = torch.load(tmp_path / 'backbone.pth', weights_only=False)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for other in (copy.deepcopy(backbone), loaded):
            for ours, theirs in zip(other(x), backbone(x)):
                assert torch.equal(ours, theirs)
