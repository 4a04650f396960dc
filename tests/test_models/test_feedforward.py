"""The lean FFN against mmcv's own."""
import pytest
import torch
from mmcv.cnn.bricks.transformer import FFN

from mmasvit import AsViT
from mmasvit.complexity import Setting, measure_repeat
from mmasvit.models.feedforward import LeanFFN
from mmasvit.topology import Topology

ARGUMENTS = dict(embed_dims=6, feedforward_channels=24)
WHOLE, PIECES = 2**40, 3 * 24 * 8 * 4  # four tokens of three images in float64


def pair(**kwargs):
    """mmcv's FFN and the lean one with the same weights."""
    theirs = FFN(**ARGUMENTS, act_cfg=dict(type='GELU'), add_identity=False).double()
    ours = LeanFFN(**ARGUMENTS, **kwargs).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def outcome(ffn, x):
    """Output and gradients of everything."""
    x = x.clone().requires_grad_()
    out = ffn(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad((out * weights).sum(), [x, *ffn.parameters()])]


@pytest.mark.parametrize('piece_bytes', [WHOLE, PIECES, 1])
@pytest.mark.parametrize('recompute', [True, False])
@pytest.mark.parametrize('training', [True, False])
def test_outputs_and_gradients_are_those_of_mmcv(monkeypatch, piece_bytes, recompute,
                                                 training):
    monkeypatch.setattr(LeanFFN, 'piece_bytes', piece_bytes)
    theirs, ours = pair(recompute=recompute)
    theirs.train(training), ours.train(training)
    x = torch.randn(3, 13, 6, dtype=torch.float64)
    for mine, reference in zip(outcome(ours, x), outcome(theirs, x)):
        torch.testing.assert_close(mine, reference)


@pytest.mark.parametrize('piece_bytes', [WHOLE, PIECES])
@pytest.mark.parametrize('recompute, hidden_maps', [(True, 1), (False, 2)])
def test_hidden_maps_that_are_kept(monkeypatch, piece_bytes, recompute, hidden_maps):
    monkeypatch.setattr(LeanFFN, 'piece_bytes', piece_bytes)
    _, ffn = pair(recompute=recompute)
    kept = {}
    parameters = {parameter.data_ptr() for parameter in ffn.parameters()}

    def keep(tensor):
        if tensor.shape[-1] == 24 and tensor.data_ptr() not in parameters:
            kept[tensor.data_ptr()] = tensor  # held, so that no address comes twice
        return tensor

    x = torch.randn(3, 13, 6, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ffn(x)
    assert sum(tensor.numel() for tensor in kept.values()) == hidden_maps * 3 * 13 * 24


def test_no_hidden_map_is_larger_than_a_piece(monkeypatch):
    monkeypatch.setattr(LeanFFN, 'piece_bytes', PIECES)
    _, ffn = pair()
    sizes = []
    ffn.layers[0][1].register_forward_hook(
        lambda module, inputs, out: sizes.append(out.numel() * out.element_size()))
    x = torch.randn(3, 13, 6, dtype=torch.float64)
    ffn.eval()(x)
    assert max(sizes) == PIECES and len(sizes) == 4


def test_a_trace_holds_for_other_sizes(monkeypatch):
    monkeypatch.setattr(LeanFFN, 'piece_bytes', PIECES)
    _, ffn = pair()
    small, large = (torch.randn(3, tokens, 6, dtype=torch.float64) for tokens in (5, 13))
    with torch.no_grad():
        trace = torch.jit.trace(ffn.eval(), (large, ))
        torch.testing.assert_close(trace(small), ffn(small))


def test_measures_do_not_depend_on_pieces(monkeypatch):
    """Gradients image by image and derivatives in forward mode go through the pieces."""
    topology, setting = Topology.of('8,2,3|4,1,2|4,1,4|4,1,6|32'), Setting(
        protocol='paper', image_size=32, repeats=1, num_images=4, num_angles=4)
    found = []
    for piece_bytes in (WHOLE, 16 * 96 * 4 * 8):
        monkeypatch.setattr(LeanFFN, 'piece_bytes', piece_bytes)
        found.append([measured.value for measured
                      in measure_repeat(topology, setting, 0).values()])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_backbone_does_not_depend_on_pieces(monkeypatch):
    model, images = AsViT('seed').eval(), torch.randn(2, 3, 40, 72)
    with torch.no_grad():
        whole = model(images)
        monkeypatch.setattr(LeanFFN, 'piece_bytes', 4096)
        for ours, theirs in zip(model(images), whole):
            torch.testing.assert_close(ours, theirs)
