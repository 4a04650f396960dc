"""Detectors whose neck leaves a map out, trained by several processes."""
import detectors
import pytest

from mmasvit.engine.preflight import check_levels
from mmasvit.errors import InputError


def without_gradient(cfg):
    """Parameters that a step of the config's detector leaves without a gradient."""
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    data = model.data_preprocessor(detectors.batch(), training=True)
    losses, _ = model.parse_losses(model(**data, mode='loss'))
    losses.backward()
    return [name for name, p in model.named_parameters()
            if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('name', ['retinanet', 'fcos', 'atss', 'mask_rcnn'])
def test_refused_where_a_norm_gets_no_gradient(name, tmp_path):
    """The line names the levels with which every parameter gets one."""
    cfg = detectors.config(name, tmp_path)
    check_levels(cfg)  # one process
    cfg.launcher = 'pytorch'
    unused = without_gradient(cfg)
    if name == 'mask_rcnn':
        assert not unused
        return check_levels(cfg)
    assert unused == ['backbone.norm0.weight', 'backbone.norm0.bias']
    with pytest.raises(InputError, match=r'set out_indices=\(1, 2, 3\) .* last 3 of in'):
        check_levels(cfg)
    allowed = cfg.copy()
    allowed.find_unused_parameters = True
    check_levels(allowed)
    cfg.model.backbone.out_indices = (1, 2, 3)
    cfg.model.neck.update(start_level=0, in_channels=cfg.model.neck.in_channels[1:])
    check_levels(cfg)
    assert not without_gradient(cfg)


def test_refused_inside_of_another_model(tmp_path):
    cfg = detectors.config('retinanet', tmp_path)
    cfg.model = dict(type='SoftTeacher', detector=cfg.model)
    cfg.launcher = 'pytorch'
    with pytest.raises(InputError, match='start_level=1'):
        check_levels(cfg)
    cfg.model.detector.backbone.frozen_stages = 1  # its norm does not train
    check_levels(cfg)
