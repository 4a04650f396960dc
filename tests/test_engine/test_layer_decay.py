"""Which parameter learns at which rate, and which of them decay."""
from pathlib import Path

import detectors
import pytest
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from mmasvit import AsViT
from mmasvit.engine.optimizers.layer_decay import layer_depth_of
from mmasvit.errors import InputError

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
# where nothing decays, or all does as in mmdet's own schedule
WITHOUT_RULES = [f'supernet_{kind}_{data}.py' for kind in ('asvit', 'mobilenet')
                 for data in ('imagenette', 'in1k')] + ['cascade_mobilenet_bnnas_coco.py']
# 'elastic': the optimizer and the parameters of the config that they build on
TRAINING = sorted(path.name for path in CONFIGS.glob('*.py')
                  if not path.name.startswith(('search', 'scale')) and
                  'elastic' not in path.name and path.name not in WITHOUT_RULES)
OURS = 'LayerDecayOptimWrapperConstructor'
MMPRETRAINS = 'mmpretrain.LearningRateDecayOptimWrapperConstructor'
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def groups(model, constructor, lr=1., weight_decay=.5, **paramwise):
    """Settings of each parameter by name."""
    wrapper = build_optim_wrapper(model, dict(
        optimizer=dict(type='AdamW', lr=lr, weight_decay=weight_decay),
        constructor=constructor, paramwise_cfg=paramwise))
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: group for group in wrapper.optimizer.param_groups
            for p in group['params']}


@pytest.mark.slow
@pytest.mark.parametrize('constructor', [OURS, MMPRETRAINS])
@pytest.mark.parametrize('name', ['cascade', 'retinanet', 'dino'])
def test_rates_of_a_detector_fall_towards_the_tokenizer(name, constructor, tmp_path):
    model = detectors.build(name, tmp_path)
    found = groups(model, constructor, layer_decay_rate=.7)
    assert set(found) == {n for n, p in model.named_parameters() if p.requires_grad}
    depths = model.backbone.topology.depths
    top = sum(depths) + 1
    for key, group in found.items():
        words = key.split('.')
        if words[0] != 'backbone' or words[1].startswith('norm'):
            layer = top
        elif words[1] in ('patch_embed', 'pos_embed'):
            layer = 0
        else:
            stage = int(words[2])
            block = int(words[4]) if words[3] == 'blocks' else 0
            layer = 1 + sum(depths[:stage]) + block
        assert group['lr'] == pytest.approx(.7**(top - layer)), key


def classifier():
    init_default_scope('mmpretrain')
    return MODELS.build(dict(
        type='ImageClassifier', neck=dict(type='GlobalAveragePooling'),
        backbone=dict(type='AsViT', arch=detectors.ARCH, out_indices=(3, )),
        head=dict(type='LinearClsHead', num_classes=4, in_channels=64)))


def test_a_classifiers_rates_and_decays_are_those_of_mmpretrain():
    model = classifier()
    rules = dict(layer_decay_rate=.6, norm_decay_mult=0., bias_decay_mult=.25)
    ours, theirs = (groups(model, name, **rules) for name in (OURS, MMPRETRAINS))
    for name in theirs:
        for key in ('lr', 'weight_decay'):
            assert ours[name][key] == pytest.approx(theirs[name][key]), name


def test_custom_keys_say_what_they_say_and_nothing_else():
    model = classifier()
    found = groups(model, OURS, norm_decay_mult=0., bias_decay_mult=0., custom_keys={
        'backbone': dict(lr_mult=.5), 'pos_embed': dict(decay_mult=.1),
        'backbone.stages.0': dict(lr_mult=.1)})
    assert found['backbone.norm3.weight']['weight_decay'] == 0
    assert found['backbone.norm3.weight']['lr'] == .5
    assert found['backbone.stages.0.blocks.0.attn.qkv.bias']['weight_decay'] == 0
    assert found['backbone.stages.0.blocks.0.attn.qkv.weight']['lr'] == .1
    assert found['backbone.stages.1.blocks.0.attn.qkv.weight']['weight_decay'] == .5
    assert found['backbone.pos_embed']['weight_decay'] == pytest.approx(.05)
    assert found['backbone.pos_embed']['lr'] == .5  # from the key that speaks of it
    assert found['head.fc.weight']['lr'] == 1


def test_without_any_rule_there_is_nothing_to_say():
    assert {group['lr'] for group in groups(classifier(), OURS).values()} == {1.}


@pytest.mark.parametrize('rate', [0, -1, 1.5, 'abc', None])
def test_bad_rates(rate):
    with pytest.raises(InputError, match='layer_decay_rate must be above 0'):
        groups(classifier(), OURS, layer_decay_rate=rate)


def test_a_model_without_layers_is_refused():
    with pytest.raises(InputError, match='no part of Sequential has get_layer_depth'):
        groups(nn.Sequential(nn.Linear(2, 2)), OURS, layer_decay_rate=.5)


def test_backbones_anywhere_in_a_model_are_found():
    model = nn.ModuleDict(dict(student=nn.ModuleDict(dict(
        backbone=AsViT(detectors.ARCH), head=nn.Linear(2, 2)))))
    depth_of = layer_depth_of(model)
    assert depth_of('student.backbone.patch_embed.projection.weight') == (0, 6)
    assert depth_of('student.backbone.stages.3.blocks.0.norm1.weight') == (4, 6)
    layer, layers = depth_of('student.head.weight')
    assert layer == layers - 1


def shrunk(model):
    """A config's model with parameters of the same names and kinds, few of them."""
    if model.type == 'ReViT':
        return dict(model, model=shrunk(model.model))
    if model.backbone.type.endswith('AsViT'):
        model.backbone.arch = detectors.ARCH
    if model.type == 'SimMIM':
        model.neck.in_channels = 64
    elif 'roi_head' in model:
        if model.backbone.type.endswith('AsViT'):
            model.neck.in_channels = [8, 16, 32, 64]
        for head in model.roi_head.bbox_head:
            head.fc_out_channels = 8
    else:
        model.head.in_channels = 64
    return model


def says_zero(rules, module, name, full_name, parameter):
    """Whether a config's rules leave a parameter without decay, each read by itself."""
    custom = [settings['decay_mult'] for key, settings in
              rules.get('custom_keys', {}).items()
              if key in full_name and 'decay_mult' in settings]
    if custom:
        return custom == [0]
    if isinstance(module, NORMS) and 'norm_decay_mult' in rules:
        return rules['norm_decay_mult'] == 0
    return (name == 'bias' and rules.get('bias_decay_mult') == 0
            or parameter.ndim == 1 and rules.get('flat_decay_mult') == 0)


@pytest.mark.slow
@pytest.mark.parametrize('name', TRAINING)
def test_nothing_decays_where_a_shipped_config_says_so(name):
    cfg = Config.fromfile(CONFIGS / name)
    init_default_scope(cfg.default_scope)
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    model = MODELS.build(shrunk(cfg.model))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    decays = {id(p): group['weight_decay'] for group in wrapper.optimizer.param_groups
              for p in group['params']}
    base, rules = cfg.optim_wrapper.optimizer.weight_decay, cfg.optim_wrapper.paramwise_cfg
    kinds = set()
    for prefix, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            full = f'{prefix}.{key}'
            zero = says_zero(rules, module, key, full, parameter)
            kinds.add(zero)
            assert decays[id(parameter)] == (0 if zero else base), full
    assert kinds == {True, False}
