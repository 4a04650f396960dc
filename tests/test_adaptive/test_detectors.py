"""Detectors of several families as a ReViT."""
import detectors
import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from revits import STRIDES, Brightness, assigner

import mmasvit  # noqa: F401


@pytest.mark.parametrize('name', [
    'fcos', 'atss', 'retinanet', *(pytest.param(name, marks=pytest.mark.slow)
                                     for name in ('dino', 'mask_rcnn', 'solov2'))])
def test_losses_at_all_strides_and_predictions_per_image(name, tmp_path):
    cfg = detectors.config(name, tmp_path)
    preprocessor = cfg.model.data_preprocessor
    own = assigner(normalisation=dict(
        mean=preprocessor.mean, std=preprocessor.std,
        to_rgb=preprocessor.get('bgr_to_rgb', False)))
    init_default_scope('mmdet')
    torch.manual_seed(0)
    revit = MODELS.build(dict(type='ReViT', model=cfg.model, assigner=own))
    revit.init_weights()
    data = revit.train().data_preprocessor(detectors.batch(), True)
    losses = revit(**data, mode='loss')
    assert {key.split('.')[0] for key in losses} == {'s16', 's8', 's4'}
    assert {key for key in losses if 'distill' in key} == {
        's16.loss_distill', 's8.loss_distill'}
    total, _ = revit.parse_losses(losses)
    assert total.isfinite()
    total.backward()
    for key, parameter in revit.backbone.named_parameters():
        if cfg.model.neck.get('start_level') and key.startswith('norm0'):
            continue  # the neck begins with the next
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key

    revit.eval().assigner.model = Brightness()
    two, other = detectors.batch(), detectors.batch(64)
    two['inputs'] += [image // 8 for image in other['inputs']]
    two['data_samples'] += other['data_samples']
    two['data_samples'][1].set_metainfo(dict(scale_factor=(2., 2.), ori_shape=(32, 32)))
    both = revit.test_step(two)
    chosen = [sample.token_stride for sample in both]
    assert len(set(chosen)) == 2 and set(chosen) <= set(STRIDES)
    for sample, size in zip(both, (96, 32)):  # in order, and in the image's own pixels
        boxes = sample.pred_instances.bboxes
        assert boxes.isfinite().all() and (not len(boxes) or boxes.max() <= size)
