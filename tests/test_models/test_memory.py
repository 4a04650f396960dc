"""What is kept for the backward pass, and what is computed again there."""
import weakref

import pytest
import torch

from networks import assert_same, build, gradients, loss_of, twin


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


@pytest.mark.parametrize('options', [{}, dict(with_cp=True), dict(drop_path_rate=0.5)],
                         ids=str)
@pytest.mark.parametrize('recompute', [True, False])
def test_activations_are_not_kept_for_the_backward_pass(options, recompute):
    """They are made again there, and only they: the layer after them runs once."""
    backbone = build(**options)
    hidden, contractions = [], []
    for stage in backbone.stages:
        for block in stage.blocks:
            block.ffn.recompute &= recompute
            block.ffn.layers[0][1].register_forward_hook(
                lambda module, inputs, out: hidden.append(weakref.ref(out)))
            block.ffn.layers[1].register_forward_hook(
                lambda module, inputs, out: contractions.append(out.shape))
    outs = backbone(torch.randn(2, 3, 64, 64))
    blocks = sum(backbone.topology.depths)
    assert len(hidden) == len(contractions) == blocks
    again = recompute or options.get('with_cp', False)
    assert [ref() is None for ref in hidden] == [again] * blocks
    loss_of(outs).backward()
    assert len(hidden) == (2 * blocks if again else blocks)
    if not options.get('with_cp'):
        assert len(contractions) == blocks


@pytest.mark.parametrize('options', [{}, dict(token_reduction='area')], ids=str)
def test_with_cp_keeps_each_calls_stride(options):
    """Three strides before one backward pass: bitwise the gradients without."""
    plain = build(drop_path_rate=.3, **options)
    saving = twin(plain, drop_path_rate=.3, with_cp=True, **options)
    x = torch.randn(2, 3, 75, 107)
    found = []
    for backbone in (saving, plain):
        torch.manual_seed(3)
        loss = sum(loss_of(backbone(x, token_stride=stride)) for stride in (16, 8, 4))
        loss.backward()
        found.append({name: p.grad for name, p in backbone.named_parameters()})
    for name, gradient in found[1].items():
        assert gradient.abs().max() > 0
        assert torch.equal(found[0][name], gradient), name
