"""Every shipped config, built at its full size and trained one step at a small one."""
import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from shipped import (build, classifier_batch, detector_batch, elastic_hooks,
                     train_two_steps, without_gradient)

from mmasvit import ElasticTokenHook
from mmasvit.adaptive.reuse import check_windows
from mmasvit.paper import TABLE_6, TABLE_6_EPOCHS

ALL = sorted(path.name for kind in ('asvit', 'mobilenet')
             for path in (ROOT / 'configs').glob(f'*{kind}*.py')
             if not path.name.startswith('search'))
SUPERNETS = [name for name in ALL if name.startswith('supernet')]
REVITS = [name for name in ALL if name.startswith('revit')]
SIMMIMS = [name for name in ALL if name.startswith('simmim')]
DVTS = [name for name in ALL if name.startswith('dvt')]
CONFIGS = [name for name in ALL if name not in REVITS + DVTS + SIMMIMS + SUPERNETS]
DETECTORS = [name for name in CONFIGS if name.startswith('cascade')]
CLASSIFIERS = [name for name in CONFIGS if name not in DETECTORS]
# the same model as another config that is trained; a test below makes sure of it
SAME_MODEL = ['asvit_large_in1k_elastic19.py', 'asvit_large_in1k_elastic56.py',
              'cascade_asvit_large_coco_elastic.py',
              # trained as it is emitted, in test_supernets/test_bn_search.py
              'cascade_mobilenet_bnnas_coco.py']


@pytest.mark.slow
@pytest.mark.parametrize('name', [n for n in CLASSIFIERS if n not in SAME_MODEL])
def test_classifier_trains(name):
    cfg, model = build(name)
    train_two_steps(cfg, model, classifier_batch(cfg, 64))
    assert without_gradient(model) == []


@pytest.mark.slow
@pytest.mark.parametrize('name', [n for n in DETECTORS if n not in SAME_MODEL])
def test_detector_trains(name):
    cfg, model = build(name)
    # the parameters of later cascade stages need positive boxes there
    for stage in model.roi_head.bbox_assigner:
        stage.pos_iou_thr = stage.neg_iou_thr = stage.min_pos_iou = 0.5
    train_two_steps(cfg, model, detector_batch(cfg, 128))
    assert without_gradient(model) == []


@pytest.mark.parametrize('name', ALL)
def test_docstring_says_how_to_run_it(name):
    head = (ROOT / 'configs' / name).read_text().split('"""')[1]
    assert f'configs/{name}' in head


@pytest.mark.parametrize('name', [name for name in CONFIGS if 'elastic' in name])
def test_elastic_config_is_its_base_with_a_schedule(name):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    base = Config.fromfile(ROOT / 'configs' / f'{name.split("_elastic")[0]}.py')
    (hook, ) = elastic_hooks(cfg)
    assert cfg.custom_hooks == base.custom_hooks + [hook]
    assert cfg.model.backbone.pop('resample_outputs', True) == (name in DETECTORS)
    built = ElasticTokenHook(**{key: hook[key] for key in hook if key != 'type'})
    stages = built.schedule.stages(cfg.train_cfg.max_epochs)
    assert [stage.stride for stage in stages] == [16, 8, 4]
    for model in (cfg.model, base.model):
        model.backbone.pop('init_cfg', None)  # the checkpoint of an elastic classifier
    assert cfg.model == base.model and cfg.optim_wrapper == base.optim_wrapper
    assert cfg.param_scheduler == base.param_scheduler


@pytest.mark.slow
@pytest.mark.parametrize('name', [n for n in REVITS if 'imagenette' not in n])
def test_revit_config_is_its_base_as_a_revit(name):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    base = Config.fromfile(ROOT / 'configs' / name.removeprefix('revit_'))
    model = cfg.model.model
    assert model.backbone.pop('resample_outputs', True) == ('cascade' in name)
    for one in (model, base.model):
        one.backbone.pop('init_cfg', None)
    assert model == base.model and cfg.optim_wrapper == base.optim_wrapper
    init_default_scope(cfg.default_scope)
    revit = MODELS.build(cfg.model)
    assert revit.token_strides == revit.backbone.token_strides == (16, 8, 4)


@pytest.mark.slow
@pytest.mark.parametrize('name, base', list(zip(DVTS, (
    'revit_asvit_imagenette.py', 'asvit_small_in1k.py'))))
def test_dvt_config_is_its_base_as_a_cascade(name, base):
    cfg, base = (Config.fromfile(ROOT / 'configs' / one) for one in (name, base))
    plain = base.model.get('model', base.model)
    assert dict(plain.backbone, **cfg.model.backbone) == cfg.model.backbone
    for key in ('neck', 'head', 'train_cfg'):
        assert cfg.model.get(key) == plain.get(key)
    assert cfg.optim_wrapper == base.optim_wrapper
    _, model = build(name)
    assert model.token_strides == (16, 8, 4) and not model.share_weights
    backbone = model.networks[0].backbone
    check_windows(backbone.windows, (backbone.pretrain_img_size, ) * 2, (16, 8, 4))


def test_dvt_trains():
    cfg, model = build('dvt_asvit_imagenette.py')
    train_two_steps(cfg, model, classifier_batch(cfg, 128))
    # a window of one token has one logit: what is made of it changes no softmax
    assert {name.rpartition('relations')[0] for name in without_gradient(model)} <= {
        'networks.1.backbone.reuses.8.3.'}


@pytest.mark.parametrize('row, row_of_table', list(zip(
    (19, 37, 56), TABLE_6.values())))
def test_elastic_classifiers_are_the_rows_of_table_6(row, row_of_table):
    cfg = Config.fromfile(ROOT / 'configs' / f'asvit_large_in1k_elastic{row}.py')
    assert cfg.train_cfg.max_epochs == TABLE_6_EPOCHS
    (hook, ), (milestones, paper) = elastic_hooks(cfg), row_of_table
    assert tuple(map(tuple, hook.milestones)) == milestones and int(paper + .5) == row


@pytest.mark.parametrize('size, params', [('small', 29.05), ('base', 52.62),
                                          ('large', 88.15)])
def test_classifier_has_the_papers_size(size, params):
    _, model = build(f'asvit_{size}_in1k.py')
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == params


@pytest.mark.slow
def test_large_detector_has_the_papers_size():
    _, model = build('cascade_asvit_large_coco.py')
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    assert abs(millions / 138.8 - 1) < 0.01


@pytest.mark.parametrize('name', DETECTORS)
def test_detector_channels_are_the_backbones(name):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    init_default_scope(cfg.default_scope)
    backbone = MODELS.build(cfg.model.backbone)
    assert tuple(cfg.model.neck.in_channels) == backbone.out_channels
    assert tuple(cfg.model.rpn_head.get('anchor_generator', {}).get(
        'strides', (4, 8, 16, 32))[:4]) == backbone.out_strides
