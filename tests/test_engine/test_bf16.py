"""Training under bfloat16 autocast, on the CPU too."""
from contextlib import nullcontext

import detectors
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmasvit import AsViT
from mmasvit.engine.optimizers import Bf16OptimWrapper, use_bf16

TINY = '4,2,2|2,1,2|3,1,2|2,1,2|8,8'


class Classifier(BaseModel):
    """A backbone and a linear layer."""

    def __init__(self):
        super().__init__()
        self.backbone = AsViT(TINY, out_indices=(3, ), pretrain_img_size=32)
        self.fc = nn.Linear(64, 2)

    def forward(self, images, labels, mode='loss'):
        self.scores = self.fc(self.backbone(images)[0].mean(dim=(2, 3)))
        return dict(loss=nn.functional.cross_entropy(self.scores.float(), labels))


def build(wrapper, **options):
    """A classifier and its optimizer in the wrapper."""
    torch.manual_seed(0)
    model = Classifier().train()
    model.backbone.init_weights()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return model, wrapper(optimizer=optimizer, **options)


@pytest.fixture
def batch():
    """Dark and bright noise."""
    images = torch.randn(8, 3, 32, 32)
    labels = torch.arange(8) % 2
    return dict(images=images + labels.view(-1, 1, 1, 1) - .5, labels=labels)


def test_forward_pass_is_in_bfloat16_and_nothing_else(batch):
    model, wrapper = build(Bf16OptimWrapper)
    inside = set()
    model.backbone.patch_embed.projection.register_forward_hook(
        lambda module, inputs, output: inside.add(output.dtype))
    with wrapper.optim_context(model):
        loss = model(**batch)['loss']
    assert inside == {torch.bfloat16} and model.scores.dtype == torch.float32
    assert not torch.is_autocast_enabled('cpu')
    wrapper.backward(loss)
    for name, p in model.named_parameters():
        assert p.dtype == p.grad.dtype == torch.float32, name
        assert torch.isfinite(p.grad).all(), name
    wrapper.step()
    for state in wrapper.optimizer.state.values():
        assert state['exp_avg'].dtype == torch.float32


def test_learns_as_in_float32(batch):
    losses = {}
    for wrapper in (Bf16OptimWrapper, OptimWrapper):
        model, optim_wrapper = build(wrapper, clip_grad=dict(max_norm=5.))
        losses[wrapper] = [model.train_step(batch, optim_wrapper)['loss'].item()
                           for _ in range(30)]
    for low, exact in zip(losses[Bf16OptimWrapper][:5], losses[OptimWrapper][:5]):
        assert low == pytest.approx(exact, rel=.05) and low != exact
    assert losses[Bf16OptimWrapper][-1] < .5 * losses[Bf16OptimWrapper][0]


def test_tiny_gradients_survive():
    """float16 would need a scaled loss: 1e-12 is nothing there."""
    weight = nn.Parameter(torch.ones(2, 2))
    wrapper = Bf16OptimWrapper(optimizer=torch.optim.SGD([weight], lr=1.))
    with wrapper.optim_context(nn.Module()):
        loss = (torch.ones(1, 2) @ weight * 1e-12).sum()
    assert loss.dtype == torch.bfloat16
    wrapper.backward(loss)
    assert weight.grad.min() > 0


def test_gradients_accumulate(batch):
    model, wrapper = build(Bf16OptimWrapper, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    before = model.fc.weight.clone()
    model.train_step(batch, wrapper)
    assert torch.equal(model.fc.weight, before)
    model.train_step(batch, wrapper)
    assert not torch.equal(model.fc.weight, before)


def test_state_goes_through_a_checkpoint(batch, tmp_path):
    """Plain tensors and numbers, no scaler: a float32 run can go on with it."""
    model, wrapper = build(Bf16OptimWrapper)
    model.train_step(batch, wrapper)
    torch.save(wrapper.state_dict(), tmp_path / 'optimizer.pth')
    state = torch.load(tmp_path / 'optimizer.pth', weights_only=True)
    for other in (Bf16OptimWrapper, OptimWrapper):
        build(other)[1].load_state_dict(state)


def test_a_model_without_a_backbone_is_under_autocast_as_a_whole():
    model = nn.Sequential(nn.Linear(2, 2))
    wrapper = Bf16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=.1))
    with wrapper.optim_context(model):
        assert model(torch.rand(1, 2)).dtype == torch.bfloat16


def test_after_an_error_nothing_is_left_behind(batch):
    model, wrapper = build(Bf16OptimWrapper)
    with pytest.raises(RuntimeError), wrapper.optim_context(model):
        model(images=torch.rand(1, 7, 32, 32), labels=batch['labels'])
    assert not torch.is_autocast_enabled('cpu')
    assert not any(part._forward_hooks or part._forward_pre_hooks
                   for part in (model, model.backbone, model.fc))


@pytest.mark.parametrize('given, expected', [
    (dict(), dict(type='Bf16OptimWrapper')),
    (dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16', clip_grad=1),
     dict(type='Bf16OptimWrapper', clip_grad=1)),
    (dict(type='Own'), dict(type='Own'))])
def test_amp_of_a_config(given, expected):
    use_bf16(given)
    assert given == expected


@pytest.mark.slow
@pytest.mark.parametrize('name', detectors.NAMES)
def test_detectors_of_mmdet_train_with_coordinates_in_float32(name, tmp_path):
    """All that leaves a part is float32; the loss is that of float32 but for rounding."""
    model = detectors.build(name, tmp_path)
    wrapper = Bf16OptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=.1))
    received, inside = set(), set()
    for key, part in model.named_modules():
        if key in ('rpn_head', 'bbox_head', 'roi_head.bbox_head.0', 'encoder'):
            part.register_forward_pre_hook(
                lambda module, inputs: received.update(dtypes(inputs)))
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.register_forward_hook(lambda module, inputs, output, key=key: inside.add(
                (key.split('.')[0], output.dtype)))
    losses = []
    for context in (wrapper.optim_context(model), nullcontext()):
        torch.manual_seed(2)
        with context:
            data = model.data_preprocessor(detectors.batch(), True)
            losses.append(model.parse_losses(model(**data, mode='loss'))[0])
        if len(losses) == 1:
            assert {('backbone', torch.bfloat16), ('neck', torch.bfloat16)} <= inside
            # distances in pixels would be rounded by whole pixels
            assert (('bbox_head', torch.bfloat16) in inside) == (name == 'retinanet')
    assert received <= {torch.float32, torch.bool, torch.int64}
    losses[0].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=.03)
    assert losses[0].item() != losses[1].item()


def dtypes(output):
    """Of all tensors in nested tuples and lists."""
    if isinstance(output, torch.Tensor):
        return {output.dtype}
    if isinstance(output, (tuple, list)):
        return set().union(*map(dtypes, output))
    return set()


def test_is_registered():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=.1)
    wrapper = OPTIM_WRAPPERS.build(dict(type='Bf16OptimWrapper', optimizer=optimizer))
    assert type(wrapper) is Bf16OptimWrapper
