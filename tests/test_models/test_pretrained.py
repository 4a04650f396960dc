"""From a classifier's checkpoint into a detector's backbone, and what is refused."""
import re

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

import mmasvit  # noqa: F401
from mmasvit import AsViT
from mmasvit.errors import InputError
from mmasvit.topology import FAMILY

TINY = '4,2,2,1|2,1,2,2|3,1,2,1|2,1,3,1|16,8'


def pretrained(checkpoint, arch=TINY, prefix='backbone.', **options):
    """A backbone as a detector's config builds it, not yet initialised."""
    init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
    if prefix is not None:
        init_cfg['prefix'] = prefix
    return AsViT(arch, init_cfg=init_cfg, **options)


def error_of(*args, **kwargs):
    """The one line that refuses the checkpoint."""
    backbone = pretrained(*args, **kwargs)
    with pytest.raises(InputError) as caught:
        backbone.init_weights()
    line = str(caught.value)
    assert '\n' not in line and str(args[0]) in line
    return line


def classifier(arch=TINY, **options):
    """An mmpretrain classifier with weights of its own."""
    width = AsViT(arch).topology.widths[-1]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(
            type='ImageClassifier', backbone=dict(
                type='AsViT', arch=arch, out_indices=(3, ), **options),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='VisionTransformerClsHead', num_classes=10,
                      in_channels=width, hidden_dim=width)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


@pytest.fixture
def saved(tmp_path):
    """A classifier and the file it was saved to."""
    model = classifier()
    path = tmp_path / 'classifier.pth'
    torch.save(dict(state_dict=model.state_dict(), meta=dict(epoch=1)), path)
    return model, path


def save_shapes(arch, path, **options):
    """A checkpoint of all the right shapes whose file is small."""
    backbone = AsViT(arch, out_indices=(3, ), **options)
    state = {f'backbone.{name}': torch.zeros(()).expand(value.shape)
             for name, value in backbone.state_dict().items()}
    torch.save(dict(state_dict=state), path)
    return path


# -------------------------------------------------------------------------- what loads


@pytest.mark.parametrize('prefix', ['backbone.', 'backbone'])
def test_classifier_becomes_a_detector_backbone(saved, log, prefix):
    model, path = saved
    backbone = pretrained(path, prefix=prefix, pretrain_img_size=224)
    backbone.init_weights()
    state = model.backbone.state_dict()
    own = backbone.state_dict()
    assert set(own) - set(state) == {f'norm{i}.{kind}' for i in range(3)
                                     for kind in ('weight', 'bias')}
    for name, value in state.items():
        assert torch.equal(own[name], value), name
    for i in range(3):  # norms the classifier lacks start as the identity
        assert (own[f'norm{i}.weight'] == 1).all() and (own[f'norm{i}.bias'] == 0).all()
    line, = [message for message in log.messages if 'loaded' in message]
    assert f'loaded {len(state)} of {len(own)} tensors from {path}' in line
    assert "prefix 'backbone.'" in line
    assert 'newly initialised: norm0, norm1, norm2' in line
    assert 'resized' not in line


def test_both_compute_the_same_features(saved):
    model, path = saved
    backbone = pretrained(path, out_indices=(1, 3))
    backbone.init_weights()
    x = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(x)[-1], model.eval().backbone(x)[-1])


def test_a_parent_loads_its_backbone_too(saved):
    """A detector calls its own ``init_weights``, not the backbone's."""
    model, path = saved
    parent = BaseModule(init_cfg=dict(type='Constant', layer='Linear', val=7.))
    parent.backbone = pretrained(path)
    parent.init_weights()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(parent.backbone.state_dict()[name], value), name


def test_one_of_several_initialisations(saved):
    model, path = saved
    backbone = AsViT(TINY, init_cfg=[
        dict(type='Constant', layer='LayerNorm', val=.5),
        dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')])
    backbone.init_weights()
    assert torch.equal(backbone.pos_embed, model.backbone.pos_embed)
    assert (backbone.norm0.weight == .5).all()


@pytest.mark.parametrize('wrap, prefix', [
    (lambda state: state, None),
    (lambda state: dict(model=state), None),
    (lambda state: dict(state_dict=state), ''),
    (lambda state: {f'module.{name}': value for name, value in state.items()}, None),
], ids=['bare', 'model', 'state_dict', 'module'])
def test_usual_kinds_of_files(tmp_path, wrap, prefix):
    source = classifier().backbone.state_dict()
    torch.save(wrap(source), tmp_path / 'weights.pth')
    backbone = pretrained(tmp_path / 'weights.pth', prefix=prefix)
    backbone.init_weights()
    assert torch.equal(backbone.pos_embed, source['pos_embed'])


def test_checkpoint_of_a_runner(tmp_path):
    """It holds more than tensors: log buffers, optimizer, config."""
    from mmengine.runner import Runner
    from mmpretrain.structures import DataSample
    model = classifier()
    images = [dict(inputs=torch.rand(3, 32, 32),
                   data_samples=DataSample().set_gt_label(i)) for i in range(2)]
    Runner(model, str(tmp_path), log_level='ERROR', experiment_name='save',
           train_dataloader=dict(dataset=images, batch_size=2,
                                 sampler=dict(type='DefaultSampler', shuffle=True)),
           train_cfg=dict(by_epoch=True, max_epochs=1),
           optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3))).train()
    backbone = pretrained(tmp_path / 'epoch_1.pth')
    backbone.init_weights()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(backbone.state_dict()[name], value), name


def test_whole_classifier_at_another_resolution(saved):
    """``load_from`` of a config goes through mmengine's own loading."""
    from mmengine.runner import load_checkpoint
    model, path = saved
    larger = classifier(pretrain_img_size=256)
    head = model.head.layers.head.weight
    load_checkpoint(larger, str(path), strict=True)
    assert larger.backbone.pos_embed.shape == (1, 8, 64, 64)
    assert torch.equal(larger.head.layers.head.weight, head)
    torch.testing.assert_close(larger.backbone.pos_embed.mean(dim=(2, 3)),
                               model.backbone.pos_embed.mean(dim=(2, 3)),
                               rtol=0, atol=.02)


def test_position_embedding_is_resized(tmp_path, log):
    model = classifier(pretrain_img_size=64)
    model.backbone.pos_embed.data.fill_(.3)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    backbone = pretrained(tmp_path / 'weights.pth', pretrain_img_size=96)
    backbone.init_weights()
    torch.testing.assert_close(backbone.pos_embed.data, torch.full((1, 8, 24, 24), .3))
    assert 'position embedding resized from (16, 16) to (24, 24)' in log.text


@pytest.mark.parametrize('out_indices', [(0, 1), (0, )], ids=str)
def test_later_stages_are_left_over(saved, log, out_indices):
    model, path = saved
    backbone = pretrained(path, out_indices=out_indices)
    backbone.init_weights()
    state = model.backbone.state_dict()
    shared = [name for name in backbone.state_dict() if name in state]
    assert shared
    for name in shared:
        assert torch.equal(backbone.state_dict()[name], state[name]), name
    assert f'loaded {len(shared)} of {len(backbone.state_dict())}' in log.text


def test_model_without_output_norms(saved):
    model, path = saved
    backbone = pretrained(path, output_norm=False)
    backbone.init_weights()
    assert torch.equal(backbone.pos_embed, model.backbone.pos_embed)


def test_frozen_stages_are_loaded(saved):
    model, path = saved
    backbone = pretrained(path, frozen_stages=2)
    backbone.init_weights()
    name = 'stages.1.blocks.1.attn.qkv.weight'
    assert torch.equal(backbone.state_dict()[name], model.backbone.state_dict()[name])
    assert not backbone.get_parameter(name).requires_grad


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize('prefix', ['', None, 'encoder.', 'head.', 'back'])
def test_prefix_that_matches_nothing(saved, prefix):
    _, path = saved
    line = error_of(path, prefix=prefix)
    assert 'no tensor under prefix' in line
    assert "'backbone.'" in line and "'head.'" in line  # what would be right


def test_detector_backbone_is_left_as_it_was(saved, tmp_path):
    """A refused checkpoint is not loaded by half."""
    other = '4,2,2,1|2,1,2,1|3,1,2,1|2,1,3,1|16,8'  # one block less in stage 2
    backbone = pretrained(saved[1], arch=other)
    with pytest.raises(InputError):
        backbone.init_weights()
    assert not torch.equal(backbone.patch_embed.projection.weight,
                           saved[0].backbone.patch_embed.projection.weight)


def test_small_is_not_base(tmp_path):
    line = error_of(save_shapes('small', tmp_path / 'small.pth'), arch='base')
    assert "holds As-ViT 'small', the model is As-ViT 'base'" in line
    assert 'tensors of another shape (' in line and 'missing (' in line
    misfits = int(re.search(r'(\d+) tensors of another shape', line)[1])
    missing = int(re.search(r'(\d+) missing', line)[1])
    assert misfits > 100 and missing == 12  # base has one block more


@pytest.mark.parametrize('arch, named', [
    (TINY.replace('2,1,2,2', '2,1,2,3'), '12 missing (stages.1.blocks.2.'),  # deeper
    (TINY.replace('2,1,2,2', '2,1,2,1'), '12 left over (stages.1.blocks.1.'),  # flatter
    (TINY.replace('3,1,2,1', '4,1,2,1'), 'of another shape (stages.2.downsample'),
    (TINY.replace('3,1,2,1', '3,1,5,1'), 'of another shape (stages.2.blocks.0.ffn'),
    (TINY.replace('16,8', '16,16'), 'of another shape (pos_embed (1, 8, 56, 56)'),
])
def test_another_arch_names_both(saved, arch, named):
    line = error_of(saved[1], arch=arch)
    assert named in line
    assert ('holds an As-ViT with kernels (4, 2, 3, 2), expansions (2, 2, 2, 3), '
            'depths (1, 2, 1, 1), width 8' in line)
    assert f"the model is As-ViT '{AsViT(arch).topology}'" in line


def test_no_position_embedding_on_either_side(tmp_path):
    path = save_shapes(TINY, tmp_path / 'bare.pth', use_abs_pos_embed=False)
    assert '1 missing (pos_embed)' in error_of(path)
    path = save_shapes(TINY, tmp_path / 'full.pth')
    assert '1 left over (pos_embed)' in error_of(path, use_abs_pos_embed=False)


def test_another_number_of_image_channels(saved):
    assert 'patch_embed.projection.weight' in error_of(saved[1], in_channels=1)


def test_members_are_recognised_by_their_shapes():
    from mmasvit.models.pretrained import describe_state_dict
    for name in FAMILY:
        state = AsViT(name, out_indices=(3, )).state_dict()
        assert describe_state_dict(state) == f"As-ViT '{name}'"
    assert describe_state_dict({'conv1.weight': torch.zeros(1)}) == 'no As-ViT'


def test_missing_file(tmp_path):
    assert 'nowhere.pth does not exist' in error_of(tmp_path / 'nowhere.pth')


def write_garbage(path, kind, saved):
    """Make a damaged checkpoint."""
    if kind == 'text':
        path.write_text('not a checkpoint\nbut two lines')
    elif kind == 'empty':
        path.write_bytes(b'')
    elif kind == 'truncated':
        path.write_bytes(saved.read_bytes()[:-2000])
    elif kind == 'list':
        torch.save([torch.zeros(3)], path)
    elif kind == 'tensor':
        torch.save(torch.zeros(3), path)
    elif kind == 'state is no dict':
        torch.save(dict(state_dict=3), path)
    elif kind == 'no tensors':
        torch.save(dict(state_dict={}), path)
    elif kind == 'numbers as keys':
        torch.save({0: torch.zeros(3)}, path)


@pytest.mark.parametrize('kind', ['text', 'empty', 'truncated', 'list', 'tensor',
                                  'state is no dict', 'no tensors', 'numbers as keys'])
def test_damaged_file(saved, tmp_path, kind):
    path = tmp_path / 'damaged.pth'
    write_garbage(path, kind, saved[1])
    line = error_of(path)
    assert any(words in line for words in (
        'cannot be read', 'is damaged', 'not a readable checkpoint',
        'no tensor under prefix'))


def test_folder_instead_of_a_file(tmp_path):
    assert 'checkpoint' in error_of(tmp_path)


def test_resnet_checkpoint(tmp_path):
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(64, 3, 7, 7)}),
               tmp_path / 'resnet.pth')
    assert 'fits AsViT' in error_of(tmp_path / 'resnet.pth')
