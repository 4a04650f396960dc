"""What other programs do with the backbone: look, count, cast, trace, export, replace
and wrap its layers, differentiate it."""
import copy
import io
import logging
from pathlib import Path

import helpers
import pytest
import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.utils.dl_utils import is_norm
from mmpretrain.registry import MODELS
from torch import nn

import mmasvit
from mmasvit.errors import InputError
from mmasvit.models.modes import is_plain
from networks import TINY, build

# all that may be added to the published architecture
ALL = dict(shift_windows=True, global_blocks=(0, 0, 1, 1), use_rel_pos_bias=True,
           use_conv_pos_embed=True)


def worst(ours, theirs):
    """Largest difference relative to the largest value, of all maps."""
    return max(((a - b).abs().max() / b.abs().max()).item()
               for a, b in zip(ours, theirs))


def uneven(backbone):
    """No weight keeps a value at which a fault would not show."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in backbone.parameters():
            p += .05 * torch.randn(p.shape, generator=generator)
    return backbone


# -------------------------------------------------------------------------- Grad-CAM


@pytest.mark.parametrize('options', [{}, dict(token_strides=(8, 4))], ids=len)
@pytest.mark.parametrize('size', [(224, 224), (256, 256), (224, 320)], ids=str)
def test_gradient_maps_of_the_last_norm(size, options):
    """What mmpretrain's vis_cam.py picks, reads and weighs, beside autograd's own map."""
    model = MODELS.build(dict(
        type='ImageClassifier',
        backbone=dict(type='AsViT', arch=TINY, out_indices=(3, ), **options),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=80))).eval()
    uneven(model)
    layer = [part for _, part in model.backbone.named_modules(prefix='backbone')
             if is_norm(part)][-1]
    seen = {}
    layer.register_forward_hook(lambda *a: seen.update(map=a[2]) or a[2].retain_grad())
    maps = []
    model.backbone.register_forward_hook(
        lambda *a: maps.append(a[2][-1]) or a[2][-1].retain_grad())
    model(torch.randn(1, 3, *size)).select(1, 2).sum().backward()

    def cam(x):
        weights = x.grad.mean(dim=(2, 3), keepdim=True)
        return (weights * x).sum(1).flatten().detach()

    assert seen['map'].shape == (1, 80, size[0] // 32, size[1] // 32)
    found = torch.corrcoef(torch.stack((cam(seen['map']), cam(maps[0]))))[0, 1]
    assert found > 0.999
    assert model.backbone.num_extra_tokens == 0  # what --vit-like asks for


# --------------------------------------------------------------------------- counters


@pytest.mark.parametrize('arch, size', [
    ('small', (224, 224)), (TINY, (224, 224)), (TINY, (137, 210)), (TINY, (1024, 1024))])
def test_mmengines_counter(arch, size):
    """The closed form, and beside it five operations per normalised number."""
    logging.disable(logging.WARNING)  # a line for each operator without multiplications
    backbone = build(arch).eval()
    counter = FlopAnalyzer(backbone, (torch.rand(1, 3, *size), ))
    norms = counter.by_operator()['layer_norm']
    logging.disable(logging.NOTSET)
    assert counter.total() - norms == backbone.count_macs(size)
    if arch == 'small':  # of thin networks norms are a larger part
        assert counter.total() < 1.01 * backbone.count_macs(size)


# ----------------------------------------------------------------------------- dtypes


@pytest.mark.parametrize('dtype, bound', [(torch.half, .006), (torch.bfloat16, .04)],
                         ids=str)
@pytest.mark.parametrize('size', [(64, 64), (224, 224), (311, 209)], ids=str)
def test_whole_model_in_low_precision(dtype, bound, size):
    backbone = uneven(build().eval())
    low = copy.deepcopy(backbone).to(dtype)
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        for ours, exact in zip(low(x.to(dtype)), backbone(x)):
            assert ours.dtype == dtype
            error = (ours.float() - exact).square().mean().sqrt()
            assert error < bound * exact.square().mean().sqrt()


@pytest.mark.parametrize('options', [{}, dict(attn_impl='explicit'),
                                     dict(use_abs_pos_embed=False)], ids=str)
@pytest.mark.parametrize('n, side', [(1, 32), (1, 224), (6, 64)])
def test_autocast_keeps_the_dtype_of_images(n, side, options):
    backbone = build(**options)
    with torch.autocast('cpu', torch.bfloat16):
        outs = backbone(torch.randn(n, 3, side, side))
    assert [out.dtype for out in outs] == [torch.float32] * 4


# ----------------------------------------------------------------- traces and exports


@pytest.mark.parametrize('options', [{}, ALL], ids=len)
@pytest.mark.filterwarnings('ignore')
def test_a_trace_is_saved_and_serves_other_batches(options):
    backbone = uneven(build(**options).eval())
    trace, file = torch.jit.trace(backbone, torch.randn(1, 3, 75, 108)), io.BytesIO()
    torch.jit.save(trace, file)
    file.seek(0)
    x = torch.randn(3, 3, 75, 108)
    with torch.no_grad():
        assert worst(torch.jit.load(file)(x), backbone(x)) < 1e-5


@pytest.mark.parametrize('opset', [11, 17])
@pytest.mark.filterwarnings('ignore')
def test_onnx_by_tracing(opset):
    """As deployment tools do it; the batch is dynamic."""
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    backbone, file = uneven(build().eval()), io.BytesIO()
    torch.onnx.export(backbone, (torch.randn(1, 3, 75, 108), ), file, dynamo=False,
                      opset_version=opset, input_names=['x'],
                      dynamic_axes=dict(x={0: 'n'}))
    x = torch.randn(3, 3, 75, 108)
    outs = runtime.InferenceSession(file.getvalue()).run(None, dict(x=x.numpy()))
    with torch.no_grad():
        assert worst(map(torch.from_numpy, outs), backbone(x)) < 1e-5


SMALL = '7,2,2|2,1,2|3,1,2|4,1,2|8,10'


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, ALL], ids=len)
def test_export_for_every_size(options):
    backbone = uneven(build(SMALL, pretrain_img_size=64, **options).eval())
    sides = dict(min=33, max=4096)
    exported = torch.export.export(
        backbone, (torch.randn(2, 3, 75, 108), ),
        dynamic_shapes=({0: torch.export.Dim('n'), 2: torch.export.Dim('h', **sides),
                         3: torch.export.Dim('w', **sides)}, )).module()
    for n, *size in ((1, 64, 64), (3, 75, 107), (1, 33, 290), (2, 211, 128)):
        x = torch.randn(n, 3, *size)
        with torch.no_grad():
            assert worst(exported(x), backbone(x)) < 1e-5, size


@pytest.mark.parametrize('splits, shifted', [(1, False), (2, True), (5, True), (8, False)])
def test_padded_windows_are_the_cut_ones(splits, shifted):
    """Along a side: what lies on the grid of each padded window is a cut one."""
    rule = mmasvit.models.as_vit.plan_windows((splits, ), (2, ), 64, shifted)[0][1]
    for pixels in range(4, 300):
        tokens = -(-pixels // 4)
        before, edge, count = rule.padded(tokens, pixels)
        assert 0 <= before < max(edge, 1)
        padded = [range(max(i * edge - before, 0), min((i + 1) * edge - before, tokens))
                  for i in range(count)]
        cut = [range(start, start + size) for run in rule.runs(tokens, pixels)
               for start, size in ((run.start + i * run.edge, run.edge)
                                   for i in range(run.length // run.edge))]
        assert padded == cut


# ----------------------------------------------------------- layers that are replaced


def test_dynamic_quantisation():
    backbone = uneven(build().eval())
    small = torch.ao.quantization.quantize_dynamic(backbone, {nn.Linear}, torch.qint8)
    x = torch.randn(2, 3, 112, 137)
    with torch.no_grad():
        difference = worst(small(x), backbone(x))
    assert 0 < difference < .1


def test_lora_on_every_linear_layer():
    plain = build()
    names = [name for name, part in plain.named_modules() if isinstance(part, nn.Linear)]
    model = MODELS.build(dict(
        type='LoRAModel', module=dict(type='AsViT', arch=TINY), alpha=4, rank=2,
        targets=[dict(type='qkv'), dict(type='proj'), dict(type='reduction'),
                 dict(type=r'.*ffn\.layers.*')]))
    plain.load_state_dict({name.replace('.original_layer', ''): weight for name, weight in
                           model.module.state_dict().items() if 'lora_' not in name})
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(x), plain(x))  # B starts at zero
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2 * len(names) and all('lora_' in name for name in trained)
    optimizer = torch.optim.SGD(trained.values(), lr=.1)
    sum(out.square().mean() for out in model(x)).backward()
    assert all(p.grad.abs().max() > 0 for name, p in trained.items() if 'lora_up' in name)
    optimizer.step()
    assert worst(model(x), plain(x)) > 0


def test_calls_are_seen_by_hooks():
    """Each layer that somebody watches is called, and the maps stay the same."""
    backbone = build().eval()
    x, seen = torch.randn(1, 3, 224, 224), []
    with torch.no_grad():
        before = backbone(x)
        handles = [part.register_forward_hook(lambda part, *_: seen.append(part))
                   for part in backbone.modules() if isinstance(part, (nn.Linear,
                                                                       nn.LayerNorm))]
        after = backbone(x)
    assert len(set(seen)) == len(handles)
    assert worst(after, before) < 1e-5


def test_pruning_takes_effect():
    from torch.nn.utils import prune
    backbone = build().eval()
    x = torch.randn(1, 3, 224, 224)
    reduction = backbone.stages[1].downsample.reduction
    assert is_plain(reduction, nn.Linear)
    prune.l1_unstructured(reduction, 'weight', .5)
    assert not is_plain(reduction, nn.Linear)
    explicit = twin_of_pruned(backbone, reduction)
    with torch.no_grad():
        assert worst(backbone(x), explicit(x)) < 1e-5


def twin_of_pruned(backbone, reduction):
    """The same maps from weights that are zero for good."""
    other = build(attn_impl='explicit').eval()
    other.stages[1].downsample.reduction.weight.data = reduction.weight.detach()
    return other


@pytest.mark.slow
def test_sharded_by_fsdp():
    """By size, by block, and per layer (DTensor): see shard.py."""
    printed = helpers.run(Path(__file__).with_name('shard.py'), processes=2).stdout
    for way in ('by_size', 'by_block', 'per_layer'):
        assert f'{way} agrees' in printed


# ------------------------------------------------------------------------ derivatives


def _derivatives(backbone, x, direction):
    """A function of one number, and its derivatives by every way there is."""
    from torch.func import grad, jvp, vmap
    start, one = torch.zeros((), dtype=torch.double), torch.ones((), dtype=torch.double)

    def f(t):
        return sum(out.square().sum() for out in backbone(x + t * direction))

    def velocity(t):
        return jvp(f, (t, ), (one, ))[1]

    def reverse(t):
        t = t.clone().requires_grad_()
        first, = torch.autograd.grad(f(t), t, create_graph=True)
        return torch.autograd.grad(first, t)[0]

    first = dict(jvp=lambda: velocity(start), grad=lambda: grad(f)(start),
                 vmap=lambda: vmap(grad(f))(start[None])[0])
    second = dict(jvp_jvp=lambda: jvp(velocity, (start, ), (one, ))[1],
                  jvp_grad=lambda: jvp(grad(f), (start, ), (one, ))[1],
                  grad_jvp=lambda: grad(velocity)(start),
                  grad_grad=lambda: grad(grad(f))(start), reverse=lambda: reverse(start))
    return f, first, second


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('attn_impl', ['fused', 'explicit'])
@pytest.mark.parametrize('options', [{}, dict(token_strides=(8, 4))], ids=len)
def test_derivatives_are_right_or_refused(attn_impl, training, options):
    backbone = build(pretrain_img_size=64, attn_impl=attn_impl, **options).double()
    uneven(backbone).train(training)
    x, direction = torch.randn(2, 1, 3, 64, 64, dtype=torch.double)
    f, first, second = _derivatives(backbone, x, direction)
    with torch.no_grad():
        left, middle, right = (f(torch.tensor(t)) for t in (-1e-3, 0., 1e-3))
    for name, derivative in first.items():
        expected = ((right - left) / 2e-3).item()
        assert derivative().item() == pytest.approx(expected, rel=1e-4), name
    for name, derivative in second.items():
        if attn_impl == 'fused' and name == 'reverse':
            with pytest.raises(InputError, match="attn_impl='explicit'"):
                derivative()
        else:
            expected = ((left - 2 * middle + right) / 1e-6).item()
            assert derivative().item() == pytest.approx(expected, rel=1e-3), name


def test_a_graph_of_first_derivatives_is_no_second_one():
    """create_graph alone, without using it, stays allowed."""
    backbone = build(pretrain_img_size=64)
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    torch.autograd.grad(backbone(x)[-1].sum(), x, create_graph=True)
