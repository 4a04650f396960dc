"""The backbone: members, sizes, outputs, and its options."""
import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import nn

from mmasvit import AsViT, Topology
from mmasvit.errors import InputError
from mmasvit.topology import FAMILY
from networks import LARGE, SIZES, TINY, build, loss_of


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


@pytest.mark.parametrize('size', [*SIZES, LARGE, (4, 4), (5, 300)], ids=str)
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


@pytest.mark.parametrize('out_indices', [(0, 1, 2, 3), (1, )])
def test_drop_path_rises_linearly_over_blocks(out_indices):
    backbone = AsViT(TINY, drop_path_rate=.6, out_indices=out_indices)
    blocks = [block for stage in backbone.stages for block in stage.blocks]
    expected = [.1 * i for i in range(7)]  # 2 + 1 + 3 + 1 blocks
    for block, rate in zip(blocks, expected):
        rates = [module.drop_prob for module in block.modules()
                 if isinstance(module, DropPath)]
        assert rates == pytest.approx([rate])


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


def test_ffn_activation_is_gelu():
    block = build().stages[0].blocks[0].double()
    x = torch.randn(2, 5, 10, dtype=torch.double)
    first, second = block.ffn.layers[0][0], block.ffn.layers[1]
    torch.testing.assert_close(block.ffn(x), second(F.gelu(first(x))))


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
    positions = backbone.positions(grid)
    assert positions.shape == (1, *grid, 10)
    first = backbone.pos_embed[..., :1, :1].permute(0, 2, 3, 1)
    torch.testing.assert_close(positions, first.expand(1, *grid, 10))


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
