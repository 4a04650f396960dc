"""Norms per token stride: one backbone for several numbers of tokens."""
import copy

import pytest
import torch

from mmasvit import AsViT
from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.errors import InputError
from mmasvit.models.norms import StrideLN
from networks import TINY, assert_same, build, gradients, loss_of, twin

STRIDES = (16, 8, 4)
SEVERAL = dict(token_strides=STRIDES)
each_stride = pytest.mark.parametrize('stride', STRIDES)


def norms_of(backbone):
    """Every norm by its name."""
    return {name: module for name, module in backbone.named_modules()
            if isinstance(module, StrideLN)}


def trained(**options):
    """A backbone whose strides have different norms, all of them uneven."""
    backbone = build(**{**SEVERAL, **options})
    with torch.no_grad():
        for norm in norms_of(backbone).values():
            norm.weight.uniform_(.5, 2)
            norm.bias.normal_(std=.1)
    return backbone


# ---------------------------------------------------------------------------- isolation


@each_stride
def test_norms_of_one_stride_change_no_other(stride):
    """Bitwise; and each of them matters to its own."""
    backbone, x = trained().eval(), torch.randn(1, 3, 75, 107)
    before = {other: backbone(x, other) for other in STRIDES}
    row = backbone.token_strides.index(stride)
    for name, norm in norms_of(backbone).items():
        changed = copy.deepcopy(backbone)
        with torch.no_grad():
            changed.get_submodule(name).weight[row] *= 1.5
            changed.get_submodule(name).bias[row] += 1
        for other in STRIDES:
            same = all(map(torch.equal, changed(x, other), before[other]))
            assert same == (other != stride), name


@each_stride
@pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
def test_gradients_reach_one_row_of_each_norm(stride, attn_impl):
    """Every parameter takes part, as DDP asks for; other strides' rows get nothing."""
    backbone = trained(attn_impl=attn_impl)
    loss_of(backbone(torch.randn(2, 3, 96, 128), stride)).backward()
    row = backbone.token_strides.index(stride)
    for name, parameter in backbone.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name
    for name, norm in norms_of(backbone).items():
        for gradient in (norm.weight.grad, norm.bias.grad):
            assert [bool(part.any()) for part in gradient] == [
                i == row for i in range(len(STRIDES))], name


def test_every_norm_is_there():
    # tokenizer, 3 re-embeddings, 2 in each of 7 blocks, 4 outputs
    assert len(norms_of(build(**SEVERAL))) == 1 + 3 + 14 + 4
    assert not norms_of(build(token_strides=(8, )))


# ---------------------------------------------------------------- to and from a plain one


@each_stride
@pytest.mark.parametrize('wrapped', [False, True])
def test_a_plain_checkpoint_starts_every_stride(stride, wrapped):
    plain = build()
    for parameter in plain.parameters():
        parameter.data.add_(.02 * torch.randn_like(parameter))
    several = trained()
    if wrapped:
        torch.nn.ModuleDict(dict(backbone=several)).load_state_dict(
            torch.nn.ModuleDict(dict(backbone=plain)).state_dict(), strict=True)
    else:
        several.load_state_dict(plain.state_dict(), strict=True)
    x = torch.randn(2, 3, 75, 107)
    for ours, theirs in zip(several(x, stride), plain(x, stride)):
        assert torch.equal(ours, theirs)


@each_stride
def test_one_stride_is_a_plain_backbone(stride):
    """There and back, bitwise."""
    several, plain = trained(), AsViT(TINY)
    state = several.plain_state_dict(stride)
    plain.load_state_dict(state, strict=True)
    plain.set_token_stride(stride)
    x = torch.randn(2, 3, 75, 107)
    for ours, theirs in zip(plain(x), several(x, stride)):
        assert torch.equal(ours, theirs)
    assert list(state) == list(plain.state_dict())
    again = build(**SEVERAL)
    again.load_state_dict(plain.state_dict(), strict=True)
    for name, value in again.plain_state_dict(stride).items():
        assert torch.equal(value, state[name])


def test_a_plain_pretrained_file(tmp_path, log):
    plain = build(out_indices=(3, ))
    torch.save({f'backbone.{name}': value for name, value in plain.state_dict().items()},
               tmp_path / 'plain.pth')
    several = AsViT(TINY, **SEVERAL, init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'), prefix='backbone.'))
    several.init_weights()
    assert 'newly initialised: norm0, norm1, norm2' in log.text
    for name, value in plain.state_dict().items():
        own = several.state_dict()[name]
        assert torch.equal(own, value.expand_as(own))


@pytest.mark.parametrize('strides', [(16, 4), (4, )], ids=str)
def test_a_checkpoint_of_other_strides_is_refused(strides, tmp_path):
    """Rows that happen to fit would be those of another stride."""
    torch.save(build(token_strides=(16, 8)).state_dict(), tmp_path / 'other.pth')
    backbone = AsViT(TINY, token_strides=strides, init_cfg=dict(
        type='Pretrained', checkpoint=str(tmp_path / 'other.pth')))
    with pytest.raises(InputError, match=r'strides .16, 8') as caught:
        backbone.init_weights()
    assert '\n' not in str(caught.value)


def test_the_order_given_does_not_matter():
    first, second = trained(), build(token_strides=(8, 4, 16))
    second.load_state_dict(first.state_dict(), strict=True)
    x = torch.randn(1, 3, 75, 107)
    for stride in STRIDES:
        for ours, theirs in zip(second(x, stride), first(x, stride)):
            assert torch.equal(ours, theirs)


# --------------------------------------------------------------------------------- paths


@each_stride
def test_explicit_equals_fused(stride):
    fused = trained()
    explicit = twin(fused, attn_impl='explicit', **SEVERAL)
    for backbone in (fused, explicit):
        backbone.set_token_stride(stride)
        backbone.stages[1].downsample.worthwhile_patches = 0  # fused, however few
    x = torch.randn(2, 3, 75, 107)
    assert_same(gradients(explicit, x), gradients(fused, x))


@pytest.mark.parametrize('token_reduction', ['dilate', 'area'])
def test_with_cp_keeps_each_calls_norms(token_reduction):
    """Three strides before one backward pass: bitwise the gradients without."""
    options = dict(SEVERAL, drop_path_rate=.3, token_reduction=token_reduction)
    plain = trained(**options)
    saving, found = twin(plain, with_cp=True, **options), []
    x = torch.randn(2, 3, 75, 107)
    for backbone in (saving, plain):
        torch.manual_seed(3)
        sum(loss_of(backbone(x, stride)) for stride in STRIDES).backward()
        found.append({name: p.grad for name, p in backbone.named_parameters()})
    for name, gradient in found[1].items():
        assert torch.equal(found[0][name], gradient), name


@each_stride
def test_bf16_autocast(stride):
    backbone = trained()
    x = torch.randn(2, 3, 137, 112)
    exact = backbone(x, stride)
    with torch.autocast('cpu', torch.bfloat16):
        low = backbone(x, stride)
    loss_of([out.float() for out in low]).backward()
    for ours, theirs in zip(low, exact):
        assert (ours - theirs).abs().mean() < .03 * theirs.abs().mean()
    assert all(p.grad.isfinite().all() for p in backbone.parameters())


def test_closed_forms_count_what_is_there():
    backbone = build(**SEVERAL)
    assert sum(p.numel() for p in backbone.parameters()) == (
        backbone.topology.count_params(out_indices=(0, 1, 2, 3), **SEVERAL))
    use_explicit_paths(backbone)
    x = torch.rand(1, 3, 75, 107)
    for stride in STRIDES:
        counted = count_macs(lambda: backbone(x, token_stride=stride))
        assert counted == backbone.count_macs((75, 107), stride)


def test_frozen_norms_do_not_train():
    backbone = trained(frozen_stages=1)
    loss_of(backbone(torch.randn(1, 3, 64, 64), 16)).backward()
    for name, norm in norms_of(backbone).items():
        frozen = name.startswith(('patch_embed', 'stages.0', 'norm0'))
        assert (norm.weight.grad is None) == frozen, name


def test_norms_have_the_learning_rates_of_norms():
    """Weight decay, and the layer of each parameter, are those of a plain backbone."""
    from mmengine.optim import build_optim_wrapper
    decays = []
    plain, several = build(), build(**SEVERAL)
    for backbone in (plain, several):
        wrapper = build_optim_wrapper(backbone, dict(
            optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.05),
            paramwise_cfg=dict(norm_decay_mult=0.)))
        decays.append([group['weight_decay'] for group in wrapper.param_groups])
    assert decays[0] == decays[1] and 0. in decays[0]
    for name, _ in plain.named_parameters():
        assert plain.get_layer_depth(name) == several.get_layer_depth(name)


# -------------------------------------------------------------------------- blind pixels


def made_up(difficulty, label):
    """Noise with a class written into all pixels, the odd ones, or those at 0 mod 4."""
    image = .2 * torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(4))
    first, step = dict(easy=(0, 1), medium=(1, 2), hard=(0, 4))[difficulty]
    colour = torch.tensor([1. if label >> bit & 1 else -1. for bit in range(3)])
    image[..., first::step, first::step] += colour.view(3, 1, 1)
    return image


@pytest.mark.parametrize('difficulty, seen', [
    ('easy', {16, 8, 4}), ('medium', {8, 4}), ('hard', {4})])
def test_strides_are_blind_for_the_pixels_they_do_not_read(difficulty, seen):
    """K1 = 8: what makes a class unlearnable at a stride by construction, bitwise."""
    backbone = trained(arch='8,2,3|4,1,2|4,1,4|4,1,6|16,16').eval()
    images = [made_up(difficulty, label) for label in range(8)]
    for stride in STRIDES:
        maps = [backbone(image, stride)[-1] for image in images]
        same = [torch.equal(a, b) for i, a in enumerate(maps) for b in maps[:i]]
        assert not any(same) if stride in seen else all(same)


# ----------------------------------------------------------------------------- bad input


@pytest.mark.parametrize('options, named', [
    *((dict(token_strides=strides), 'token_strides') for strides in ((), (4, 4), (4, 2), 4)),
    (dict(token_strides=(4, 8), norm_cfg=dict(type='BN')), "'BN'")], ids=str)
def test_bad_strides_give_one_line(options, named):
    with pytest.raises(InputError, match=named) as caught:
        AsViT(TINY, **options)
    assert '\n' not in str(caught.value)


def test_a_stride_without_norms():
    backbone = build(token_strides=(16, 8))
    assert backbone.token_stride == 8
    for call in (lambda: backbone.set_token_stride(4),
                 lambda: backbone(torch.rand(1, 3, 32, 32), token_stride=4),
                 lambda: backbone.plain_state_dict(4)):
        with pytest.raises(InputError, match='16, 8'):
            call()
    with pytest.raises(InputError, match='token stride 8'):
        build().plain_state_dict(8)
