"""A checkpoint that is not the model's is refused, in a line that says why."""
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmasvit.engine import checkpoints
from mmasvit.errors import InputError

TINY = '4,2,2|2,1,2|2,1,2|2,1,2|8,8'
NAMES = ('red', 'green', 'blue')


def classifier(arch=TINY, classes=4):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(
        type='ImageClassifier', neck=dict(type='GlobalAveragePooling'),
        backbone=dict(type='AsViT', arch=arch, out_indices=(3, )),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=64)))


def detector():
    init_default_scope('mmdet')
    return MODELS.build(dict(
        type='RPN', backbone=dict(type='AsViT', arch=TINY),
        neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=5),
        rpn_head=dict(type='RPNHead', in_channels=8, feat_channels=8),
        train_cfg=dict(rpn=None), test_cfg=dict(rpn=None)))


def refused(model, state, **options):
    with pytest.raises(InputError) as error:
        checkpoints.check_fit(model, dict(state_dict=state), 'some.pth', **options)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_what_fits_is_loaded():
    model, other = classifier(), classifier()
    for wrapped in (model, torch.nn.ModuleDict(dict(module=model)).requires_grad_(True)):
        if wrapped is not model:
            wrapped.module = model  # as DistributedDataParallel and TTA models have it
        checkpoints.check_fit(wrapped, dict(state_dict=other.state_dict()), 'some.pth')
        assert torch.equal(model.head.fc.weight, other.head.fc.weight)


def test_a_classifiers_checkpoint_is_none_of_a_detector():
    line = refused(detector(), classifier().state_dict())
    assert "is of backbone, head, the config's model of backbone, neck, bbox_head" in line
    assert 'tensors are missing (neck' in line and '2 left over (head.fc.weight' in line
    checkpoints.check_fit(detector(), dict(state_dict=classifier().state_dict()),
                          'some.pth', whole=False)


def test_each_kind_of_misfit_is_named():
    state = classifier().state_dict()
    assert '2 of another shape (head.fc.weight: copying' in refused(
        classifier(classes=5), state)
    deeper = classifier('4,2,2|2,1,2|2,1,2,2|2,1,2|8,8')
    assert 'stages.2.blocks.1' in refused(deeper, state)
    assert 'left over (backbone.stages.2.blocks.1' in refused(
        classifier(), deeper.state_dict())
    for key in list(state):
        rest = {name: value for name, value in state.items() if name != key}
        if key.startswith('backbone.norm'):  # a detector has others than a classifier
            continue
        assert f'1 tensors are missing ({key})' in refused(classifier(), rest)


def test_a_start_with_nothing_that_fits_is_refused():
    assert 'does not fit the model' in refused(
        classifier(), {'weight': torch.zeros(1)}, whole=False)


@pytest.mark.parametrize('content', [{}, [1], dict(state_dict={}), dict(a=1)])
def test_what_holds_no_weights(tmp_path, content):
    torch.save(content, tmp_path / 'some.pth')
    with pytest.raises(InputError, match='some.pth holds no weights'):
        checkpoints.read(str(tmp_path / 'some.pth'))


def test_what_cannot_be_read(tmp_path):
    torch.save(dict(a=torch.zeros(1000)), tmp_path / 'some.pth')
    whole = (tmp_path / 'some.pth').read_bytes()
    (tmp_path / 'some.pth').write_bytes(whole.replace(b'data.pkl', b'data.xyz'))
    with pytest.raises(InputError, match='some.pth cannot be read: '):
        checkpoints.read(str(tmp_path / 'some.pth'))


def test_weights_alone_cannot_be_resumed():
    whole = dict(meta={}, message_hub={}, optimizer={}, state_dict={})
    checkpoints.check_resumable(whole, 'some.pth')
    del whole['optimizer']
    with pytest.raises(InputError, match='no optimizer, weights only; .*load_from=some'):
        checkpoints.check_resumable(whole, 'some.pth')


def config(classes, wrap=False):
    dataset = dict(type='CocoDataset', metainfo=dict(classes=classes) if classes else {})
    if wrap:
        dataset = dict(type='RepeatDataset', dataset=dataset)
    return Config(dict(default_scope='mmdet', test_dataloader=dict(dataset=dataset),
                       train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize('wrap', [False, True])
def test_the_numbers_of_classes_are_the_checkpoints(wrap):
    cfg, trained = config(NAMES, wrap), ('blue', 'red', 'green')
    for meta in (dict(dataset_meta=dict(classes=trained)), dict(CLASSES=trained),
                 dict(dataset_meta=dict(CLASSES=list(trained)))):
        checkpoints.settle_classes(cfg, dict(meta=meta), 'some.pth')
        assert checkpoints.classes_of_config(cfg) == trained


def test_classes_of_other_names_are_refused():
    checkpoint = dict(meta=dict(dataset_meta=dict(classes=NAMES)))
    with pytest.raises(InputError, match=r'of the classes \(red, green, blue\), the con'):
        checkpoints.settle_classes(config(('cat', 'dog')), checkpoint, 'some.pth')
    with pytest.raises(InputError, match=r'of \(person, bicycle, .*, \.\.\.\)'):
        checkpoints.settle_classes(config(None), checkpoint, 'some.pth')
    # without an annotation file nobody needs the config's names
    checkpoints.settle_classes(config(None), checkpoint, 'some.pth', defaults=False)
    checkpoints.settle_classes(config(('cat', 'dog')), {}, 'some.pth')
    with pytest.raises(InputError, match='--resume: checkpoint some.pth is of the class'):
        checkpoints.refuse_other_classes(config(('green', 'blue', 'red')), checkpoint,
                                         'some.pth')
