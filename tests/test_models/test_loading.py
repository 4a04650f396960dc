"""Initial weights, and state dicts that fit only almost."""
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmasvit import AsViT
from networks import TINY, build


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


@pytest.mark.parametrize('scale', [0., .25])
def test_residual_branches_start_scaled(scale):
    """Whatever draws the weights; with 0 every block is the identity."""
    init_cfg = dict(type='Xavier', layer='Linear', distribution='uniform')
    plain, scaled = (build(residual_init_scale=factor, init_cfg=init_cfg)
                     for factor in (1., scale))
    last = ('attn.proj.weight', 'ffn.layers.1.weight')
    for (name, ours), theirs in zip(scaled.named_parameters(), plain.parameters()):
        assert torch.equal(ours, theirs * scale if name.endswith(last) else theirs), name
    before = scaled.state_dict()['stages.0.blocks.0.attn.proj.weight'].clone()
    scaled.init_weights()  # a second time nothing happens
    assert torch.equal(scaled.state_dict()['stages.0.blocks.0.attn.proj.weight'], before)
    if not scale:
        tokens = torch.randn(2, 8, 8, 10)
        assert torch.equal(scaled.stages[0](tokens, (32, 32), 4), tokens)
