"""The counter counts what it should and refuses what it does not know."""
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmasvit import AsViT
from mmasvit.analysis import count_macs, counting_size, use_explicit_paths


def test_linear_and_convolution_without_bias():
    linear, conv = nn.Linear(5, 7), nn.Conv2d(3, 4, 3, padding=1)
    assert count_macs(lambda: linear(torch.rand(2, 11, 5))) == 2 * 11 * 5 * 7
    assert count_macs(lambda: conv(torch.rand(2, 3, 6, 8))) == 2 * 6 * 8 * 3 * 4 * 9


def test_elementwise_operators_are_free():
    x = torch.rand(3, 4, 8, 8)
    assert count_macs(lambda: (x.softmax(1) + x.mean()).relu().topk(2)) == 0


@pytest.mark.parametrize('parts, side', [
    (dict(rpn_head={}, roi_head={}), 1024), (dict(bbox_head={}), 1024), (dict(head={}), 224)])
def test_detectors_of_one_stage_and_two_are_counted_at_1024_px(parts, side):
    assert counting_size(Config(dict(model=dict(backbone={}, **parts)))) == (side, side)


def test_pooling_of_a_single_token_is_free():
    maps = torch.rand(1, 1, 1, 4).permute(0, 3, 1, 2)
    assert count_macs(lambda: nn.AdaptiveAvgPool2d(1)(maps)) == 0


def test_unknown_operator_is_an_error():
    with pytest.raises(RuntimeError, match='unknown cost: aten.cumprod'):
        count_macs(lambda: torch.rand(3, 3).cumprod(0))


@pytest.mark.parametrize('size', [(64, 96), (28, 28), (31, 4)])
def test_explicit_paths_are_switched_on_everywhere(size):
    model = AsViT(arch='seed')
    use_explicit_paths(model)
    assert count_macs(lambda: model(torch.rand(1, 3, *size))) == (
        model.topology.count_macs(size))
