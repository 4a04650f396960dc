"""No tensor is made on the wrong device: networks on tensors that pretend to be elsewhere.

Torch's fake tensors have shapes, types and devices and no values; where two devices meet,
they fail as real ones do. Without a card the engine of backward passes refuses fake CUDA
tensors, but not those of another device that is not the CPU either.
"""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from helpers import ROOT
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mmasvit import AsViT
from mmasvit.complexity.curve import curve_derivatives
from mmasvit.complexity.ntk import ntk_gram
from mmasvit.models.feedforward import LeanFFN

ARCH = '8,4,3,1|4,2,3,1|4,1,4,1|4,1,4,1|16,32'
SIZES = [(224, 224), (256, 309)]
OTHER = 'lazy'  # of a device that has a backward pass without being there
OPTIONS = {
    'plain': {},
    'exchange': dict(shift_windows=True, global_blocks=(0, 0, 1, 1)),
    'positions': dict(use_rel_pos_bias=True, use_conv_pos_embed=True),
    'strides': dict(token_strides=(16, 8, 4)),
    'area': dict(token_reduction='area', drop_path_rate=0.1),
    'maps as they come': dict(resample_outputs=False),
}


def pretend(model: nn.Module, device: str) -> nn.Module:
    """Put a network on a device that may not be there, within a fake mode."""
    return model._apply(lambda x: torch.empty(x.shape, dtype=x.dtype, device=device))


@pytest.mark.parametrize('options', OPTIONS.values(), ids=list(OPTIONS))
def test_maps_are_where_the_image_is(options):
    model = AsViT(ARCH, **options)
    with FakeTensorMode(), torch.no_grad():
        pretend(model, 'cuda')
        for stride in (4, 8, 16):
            model.set_token_stride(stride)
            for size in SIZES:
                for mode in (True, False):
                    outs = model.train(mode)(torch.rand(2, 3, *size, device='cuda'))
                    assert [out.device.type for out in outs] == ['cuda'] * 4


@pytest.mark.parametrize('options', OPTIONS.values(), ids=list(OPTIONS))
def test_gradients_are_where_the_image_is(options):
    model = AsViT(ARCH, **options)
    for module in model.modules():
        if isinstance(module, LeanFFN):  # torch asks the device for its random numbers
            module.recompute = False
    with FakeTensorMode():
        pretend(model, OTHER)
        for size in SIZES:
            image = torch.rand(2, 3, *size, device=OTHER, requires_grad=True)
            sum(out.sum() for out in model(image)).backward()
            assert image.grad.device.type == OTHER
            for name, parameter in model.named_parameters():
                assert parameter.grad.device.type == OTHER, name
            model.zero_grad()


@pytest.mark.parametrize('order, impl', [(1, 'fused'), (2, 'explicit')])
def test_derivatives_along_a_curve(order, impl):
    model = AsViT(ARCH, attn_impl=impl).eval()
    with FakeTensorMode():
        pretend(model, 'cuda')
        found = curve_derivatives(lambda x: model(x)[-1].mean((2, 3)),
                                  torch.rand(2, 3, 224, 224, device='cuda'),
                                  torch.rand(4), order=order)
        for value in (found, ) if order == 1 else found:
            assert value.shape == (4, 256) and value.device.type == 'cuda'


@pytest.mark.parametrize('images_lead', [True, False])
def test_kernels_come_to_the_cpu(images_lead):
    model = AsViT(ARCH, attn_impl='explicit').eval()

    def features(image):
        return model(image)[-1].mean((2, 3))

    features.images_lead = images_lead
    with FakeTensorMode():
        pretend(model, OTHER)
        gram = ntk_gram(model, features, torch.rand(3, 3, 64, 64, device=OTHER))
        assert gram.shape == (3, 3) and gram.device.type == 'cpu'


def test_heads_of_a_detector():
    """Up to where boxes are chosen by value, which fake tensors do not have."""
    cfg = Config.fromfile(str(ROOT / 'configs/cascade_asvit_tiny.py'))
    init_default_scope('mmdet')
    detector = MODELS.build(cfg.model)
    with FakeTensorMode(), torch.no_grad():
        pretend(detector, 'cuda')
        maps = detector.extract_feat(torch.rand(2, 3, 256, 309, device='cuda'))
        scores, boxes = detector.rpn_head(maps)
        masks = detector.roi_head.mask_head[0](torch.rand(4, 48, 14, 14, device='cuda'))
    assert {out.device.type for out in (*maps, *scores, *boxes, masks)} == {'cuda'}


class _Careless(nn.Module):
    """A norm that makes a tensor and does not say where."""

    def forward(self, x):
        return x * torch.ones(x.shape[-1])


def test_a_tensor_on_the_wrong_device_is_caught():
    model = AsViT(ARCH)
    model.stages[2].blocks[0].norm1 = _Careless()
    with FakeTensorMode():
        pretend(model, 'cuda')
        with pytest.raises(RuntimeError, match='device'):
            model(torch.rand(1, 3, 224, 224, device='cuda'))
