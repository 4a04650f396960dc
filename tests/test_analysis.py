"""The counter counts what it should and refuses what it does not know."""
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmasvit import AsViT
from mmasvit.analysis import (build_to_count, count_macs, count_model_macs, counting_size,
                              find_backbone, use_explicit_paths)
from mmasvit.errors import InputError


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


DETECTORS = {
    'detr': ('detr/detr_r50_8xb2-150e_coco.py', (3, )),
    'deformable': ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', (1, 2, 3)),
    'sparse': ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py', (0, 1, 2, 3)),
}


def detector(name, folder):
    """Config of a detector of mmdet with a tiny As-ViT."""
    base, levels = DETECTORS[name]
    path = folder / f'{name}.py'
    path.write_text(f"""
_base_ = 'mmdet::{base}'
model = dict(
    backbone=dict(_delete_=True, type='AsViT', arch='4,2,2|2,1,2|2,1,2|2,1,2|8,8',
                  out_indices={levels}),
    neck=dict(in_channels={[8 * 2**i for i in levels]}))
""")
    return Config.fromfile(path)


@pytest.mark.slow
@pytest.mark.parametrize('name', DETECTORS)
def test_detectors_that_give_no_maps_are_counted_whole(name, tmp_path):
    cfg = detector(name, tmp_path)
    model, size = build_to_count(cfg), (96, 128)
    backbone = find_backbone(model)
    assert count_macs(lambda: backbone(torch.rand(1, 3, *size))) == (
        backbone.count_macs(size))
    # a query more costs more: the transformer is in it
    whole = count_model_macs(model, size, detector=True)
    key = 'num_queries' if name != 'sparse' else 'rpn_head.num_proposals'
    cfg = detector(name, tmp_path)  # building changed the other
    cfg.merge_from_dict({f'model.{key}': 40})
    assert backbone.count_macs(size) < count_model_macs(
        build_to_count(cfg), size, detector=True) < whole


def test_a_model_that_cannot_be_run_is_named_in_one_line():
    class Broken(nn.Module):
        def forward(self, images, samples, mode):
            raise AttributeError('no\nsuch thing')

    with pytest.raises(InputError, match='^Broken as a whole cannot .*: no such thing$'):
        count_model_macs(Broken(), (32, 32), detector=False)


def test_a_backbone_inside_of_an_inner_model_is_found():
    inner = dict(backbone=dict(type='A'), rpn_head={})
    cfg = Config(dict(model=dict(type='SoftTeacher', detector=inner)))
    assert counting_size(cfg) == (1024, 1024)
    model = nn.ModuleDict(dict(student=nn.ModuleDict(dict(backbone=AsViT('seed')))))
    assert find_backbone(model) is model['student']['backbone']


def test_the_plan_of_a_soft_teacher_is_its_students(tmp_path):
    """The teacher sees other images; without one that trains, all are counted."""
    import detectors
    from mmasvit.engine.hooks.elastic_tokens import count_backbones, find_elastic
    detector = detectors.config('mask_rcnn', tmp_path).model
    detector.data_preprocessor = dict(type='DetDataPreprocessor')
    cfg = Config(dict(default_scope='mmdet', model=dict(
        type='SoftTeacher', detector=detector,
        semi_train_cfg=dict(freeze_teacher=True))))
    model = build_to_count(cfg, freeze=False)
    parts = find_elastic(model)
    macs, what = count_backbones(parts, (64, 64))
    assert len(parts) == 2 and what == 'backbone AsViT alone'
    assert macs[4] == parts[0].count_macs((64, 64), 4)
    model.requires_grad_(False)
    assert count_backbones(parts, (64, 64))[0][4] == 2 * macs[4]
