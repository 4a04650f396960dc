"""Where the backbone is found: three spellings, two scopes, either package alone."""
import importlib
import os
import subprocess
import sys

import mmdet.registry
import mmengine.registry
import mmpretrain.registry
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

import mmasvit
from mmasvit import AsViT

TINY = '4,2,2|2,1,2|2,1,2|2,1,2|8,8'
REGISTRIES = [package.registry.MODELS for package in (mmengine, mmdet, mmpretrain)]


@pytest.mark.parametrize('scope', ['mmdet', 'mmpretrain', 'mmengine'])
@pytest.mark.parametrize('spelling', ['AsViT', 'mmdet.AsViT', 'mmpretrain.AsViT'])
@pytest.mark.parametrize('registry', REGISTRIES, ids=lambda registry: registry.scope)
def test_three_spellings_under_every_default_scope(registry, scope, spelling):
    with DefaultScope.overwrite_default_scope(scope):
        backbone = registry.build(dict(type=spelling, arch=TINY, out_indices=(0, )))
    assert type(backbone) is AsViT


def test_other_packages_find_it(tmp_path):
    """Packages of those names with registries of their own, as they all have one."""
    scopes = ['mmseg', 'mmpose', 'mmrotate', 'mmaction']
    for scope in scopes:
        folder = tmp_path / scope
        folder.mkdir()
        (folder / '__init__.py').write_text('')
        (folder / 'registry.py').write_text(
            'from mmengine.registry import MODELS as ROOT, Registry\n'
            f"MODELS = Registry('model', parent=ROOT, scope='{scope}')\n")
    program = ('import mmasvit; from mmengine.registry import MODELS\n'
               f'for scope in {scopes}:\n'
               "    print(type(MODELS.build(dict(type=f'{scope}.AsViT', arch='seed'))))")
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join(
                              [str(tmp_path), *sys.path])))
    assert done.stdout.count('mmasvit.models.as_vit.AsViT') == len(scopes), done.stderr


def test_a_package_that_cannot_be_imported_does_no_harm(tmp_path, monkeypatch):
    from mmasvit import registration
    (tmp_path / 'mmpose').mkdir()
    (tmp_path / 'mmpose/__init__.py').write_text("assert False, 'mmcv is too new'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registration, 'SCOPES', ('mmdet', 'mmpose'))
    assert list(registration._registries()) == ['mmdet']


def test_detector_and_classifier_build_it():
    """Inside another part's config the name is looked up anew."""
    for registry, spelling, scope in ((REGISTRIES[1], 'AsViT', 'mmdet'),
                                      (REGISTRIES[1], 'mmpretrain.AsViT', 'mmdet'),
                                      (REGISTRIES[2], 'AsViT', 'mmpretrain'),
                                      (REGISTRIES[2], 'mmdet.AsViT', 'mmpretrain')):
        backbone = dict(type=spelling, arch=TINY)
        with DefaultScope.overwrite_default_scope(scope):
            if scope == 'mmdet':
                model = registry.build(dict(
                    type='RPN', backbone=backbone,
                    neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8,
                              num_outs=5),
                    rpn_head=dict(type='RPNHead', in_channels=8, feat_channels=8),
                    train_cfg=dict(rpn=None), test_cfg=dict(rpn=None)))
            else:
                model = registry.build(dict(
                    type='ImageClassifier', backbone=backbone,
                    neck=dict(type='GlobalAveragePooling'),
                    head=dict(type='LinearClsHead', num_classes=4, in_channels=64)))
        assert type(model.backbone) is AsViT
        model.init_weights()
        with torch.no_grad():
            assert len(model.extract_feat(torch.randn(1, 3, 64, 64)))


@pytest.mark.parametrize('name', ['RandomLetter', 'asvit'])
def test_other_names_stay_unknown(name):
    with pytest.raises(KeyError):
        mmdet.registry.MODELS.build(dict(type=name))


def test_custom_imports_of_a_config_register_it(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("custom_imports = dict(imports=['mmasvit'])\n"
                    f"model = dict(type='AsViT', arch='{TINY}')\n")
    cfg = Config.fromfile(path)
    assert type(mmdet.registry.MODELS.build(cfg.model)) is AsViT


def test_registering_again_is_harmless():
    mmasvit.registration.register_all()
    importlib.reload(mmasvit.registration)
    importlib.reload(mmasvit)
    assert type(mmdet.registry.MODELS.build(dict(type='AsViT', arch=TINY))) is AsViT


def run(code):
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_a_second_copy_of_the_backbone_is_harmless():
    assert run(f'''
import sys
import mmasvit
first = mmasvit.AsViT
for name in [name for name in sys.modules
             if name.startswith(('mmasvit.models', 'mmasvit.registration'))]:
    del sys.modules[name]
del sys.modules['mmasvit']
import mmasvit
print(mmasvit.AsViT is not first)
from mmdet.registry import MODELS
for name in ('AsViT', 'mmdet.AsViT', 'mmpretrain.AsViT'):
    print(type(MODELS.build(dict(type=name, arch='{TINY}'))) is mmasvit.AsViT)
''') == ['True'] * 4


@pytest.mark.slow
@pytest.mark.parametrize('scope, absent', [('mmdet', 'mmpretrain'),
                                           ('mmpretrain', 'mmdet')])
def test_either_package_is_enough(scope, absent):
    assert run(f'''
import sys
sys.modules['{absent}'] = None  # as if it were not installed
import mmasvit
from mmengine.registry import DefaultScope
from {scope}.registry import MODELS
for name in ('AsViT', '{scope}.AsViT'):
    with DefaultScope.overwrite_default_scope('{scope}'):
        print(type(MODELS.build(dict(type=name, arch='{TINY}'))).__name__)
print(mmasvit.AsViT('seed').out_channels[-1], '{absent}' in sys.modules)
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
name = 'LayerDecayOptimWrapperConstructor'
print(OPTIM_WRAPPER_CONSTRUCTORS.get(name).__name__ == name)
print(callable(mmasvit.models.reference.convert_state_dict),
      callable(mmasvit.complexity.ntk_gram))
''') == ['AsViT', 'AsViT', '256', 'True', 'True', 'True', 'True']
