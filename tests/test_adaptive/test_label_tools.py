"""From a trained ReViT to labels, an assigner's config and the curves."""
import csv
import json

import cv2
import numpy as np
import pytest
import torch
from helpers import fails, make_coco, works
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from revits import STRIDES, build, classifier

from mmasvit.adaptive.labels import classification_labels
from mmasvit.engine.launch import load_config

LABEL, SWEEP = 'tools/label_token_lengths.py', 'tools/sweep_budgets.py'


def write_config(path, model, **others):
    imports = dict(imports=['mmasvit'])
    Config(dict(custom_imports=imports, model=model, **others)).dump(path)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder of a classifier's config, checkpoint and images."""
    folder = tmp_path_factory.mktemp('classifier')
    rng = np.random.default_rng(0)
    for part, number in (('train', 2), ('val', 6)):
        for name in 'abcd':
            (folder / part / name).mkdir(parents=True)
            for i in range(number):
                noise = rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / part / name / f'{i}.png'), noise)

    def loader(part):
        return dict(batch_size=5, num_workers=0,
                    sampler=dict(type='DefaultSampler', shuffle=True),
                    dataset=dict(type='CustomDataset', data_root=str(folder),
                                 data_prefix=part, pipeline=[
                                     dict(type='LoadImageFromFile'),
                                     dict(type='PackInputs')]))

    model = dict(type='ReViT', model=classifier(), token_strides=STRIDES)
    write_config(folder / 'c.py', model, default_scope='mmpretrain',
                 train_dataloader=loader('train'), val_dataloader=loader('val'),
                 val_cfg=dict(), val_evaluator=dict(type='Accuracy'))
    revit = build()
    with torch.no_grad():  # let it name each class now and then
        revit.model.head.fc.weight.mul_(300)
    torch.save(dict(state_dict=revit.state_dict(), meta={}), folder / 'c.pth')
    return folder


def label(folder, *words, out='labels.json'):
    return works(LABEL, folder / 'c.py', folder / 'c.pth', '--out', folder / out, *words)


@pytest.fixture(scope='module')
def labelled(run):
    return run, label(run, '--img-size', '32')


@pytest.mark.slow
def test_labels_are_by_id_and_say_where_they_come_from(labelled):
    folder, printed = labelled
    labels = json.loads((folder / 'labels.json').read_text())
    images = labels['images']
    assert sorted(images) == [f'{name}/{i}.png' for name in 'abcd' for i in range(6)]
    for one in images.values():
        expected = classification_labels(np.array([one['quality']]))[0]
        assert one['label'] == expected
    assert {one['part'] for one in images.values()} == {'train', 'val'}
    assert 'none of them among the 8 of train_dataloader' in printed
    backwards = ','.join(map(str, range(23, -1, -1)))
    label(folder, '--cfg-options', 'val_dataloader.batch_size=1',
          f'val_dataloader.dataset.indices=[{backwards}]',
          out='again.json')
    assert json.loads((folder / 'again.json').read_text())['images'] == images


def test_assigner_learns_the_labels_of_the_file(labelled):
    folder, _ = labelled
    labels = json.loads((folder / 'labels.json').read_text())
    cfg = load_config(str(folder / 'labels_assigner.py'))
    init_default_scope('mmpretrain')
    seen = {}
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        data = DATASETS.build(loader.dataset)
        assert data.metainfo['classes'] == ('16', '8', '4')
        for i in range(len(data)):
            entry = data.get_data_info(i)
            seen[entry['img_id']] = entry['gt_label']
            assert data[i]['inputs'].shape == (3, 32, 32)
    assert seen == {name: one['label'] for name, one in labels['images'].items()}


@pytest.mark.slow
def test_curves_of_an_assigner_leave_its_training_images_out(labelled):
    folder, _ = labelled
    init_default_scope('mmpretrain')
    assigner = MODELS.build(load_config(str(folder / 'labels_assigner.py')).model)
    torch.save(dict(state_dict=assigner.state_dict()), folder / 'a.pth')
    words = (SWEEP, folder / 'c.py', folder / 'c.pth', '--work-dir', folder / 'sweep',
             '--labels', folder / 'labels.json', '--cfg-options',
             f'model.assigner.config={folder / "labels_assigner.py"}',
             f'model.assigner.checkpoint={folder / "a.pth"}')
    labels = json.loads((folder / 'labels.json').read_text())
    kept = [one for one in labels['images'].values() if one['part'] == 'val']
    printed = works(*words)
    assert f'\n{len(kept)} images of val_dataloader' in printed
    assert 'the assigner costs' in printed
    with open(folder / 'sweep' / 'budgets.csv') as file:
        table = list(csv.DictReader(file))
    fixed = [row for row in table if row['kind'] == 'fixed']
    np.testing.assert_allclose([float(row['score']) for row in fixed],
                               np.mean([one['quality'] for one in kept], axis=0))
    macs = [float(row['gmacs']) for row in fixed]
    assert macs == sorted(macs) and macs[0] < macs[2] / 2
    assert {row['kind'] for row in table} == {'fixed', 'oracle', 'assigner', 'control'}
    assert (folder / 'sweep' / 'budgets.png').is_file()

    other = dict(labels, checkpoint='0' * 64)
    (folder / 'other.json').write_text(json.dumps(other))
    strangers = dict(labels, images={f'x{name}': one
                                     for name, one in labels['images'].items()})
    (folder / 'strangers.json').write_text(json.dumps(strangers))
    for name, line in (('other', 'are of another model'),
                       ('strangers', 'are of other images')):
        assert line in fails(*(str(word).replace('/labels.json', f'/{name}.json')
                               for word in words))


@pytest.mark.slow
def test_images_of_training_and_other_models_are_refused(run):
    words = (LABEL, run / 'c.py', run / 'c.pth', '--out', run / 'no.json')
    assert '8 of the 8 images of val_dataloader are also in train_dataloader' in fails(
        *words, '--cfg-options', 'val_dataloader.dataset.data_prefix=train')
    assert "must be of type 'ReViT'" in fails(
        LABEL, 'configs/asvit_tiny_shapes.py', *words[2:])
    assert 'does not exist' in fails(*words[:2], run / 'none.pth', *words[3:])
    assert not (run / 'no.json').exists()


@pytest.mark.slow
def test_detector_is_labelled_and_swept(tmp_path):
    for part, seed in (('train', 0), ('val', 1)):
        make_coco(tmp_path / f'{part}.json', tmp_path / part, images=4, size=(96, 96),
                  seed=seed)
    cfg = load_config('configs/revit_cascade_asvit_tiny_shapes.py')
    cfg.model.model.backbone.init_cfg = None
    for loader, part in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val')):
        loader.dataset.update(data_root=str(tmp_path), ann_file=f'{part}.json',
                              data_prefix=dict(img=part),
                              metainfo=dict(classes=('cat', 'dog')))
        loader.num_workers = 0
    cfg.val_evaluator.ann_file = str(tmp_path / 'val.json')
    roi_head = cfg.model.model.roi_head
    for head in (*roi_head.bbox_head, roi_head.mask_head):
        head.num_classes = 2
    cfg.dump(tmp_path / 'c.py')
    init_default_scope('mmdet')
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}),
               tmp_path / 'c.pth')
    label(tmp_path)
    labels = json.loads((tmp_path / 'labels.json').read_text())
    assert sorted(labels['images']) == ['1', '2', '3', '4']
    assert 'score_threshold' in labels['rule']
    works(SWEEP, tmp_path / 'c.py', tmp_path / 'c.pth', '--work-dir', tmp_path / 's')
    with open(tmp_path / 's' / 'budgets.csv') as file:
        macs = [float(row['gmacs']) for row in csv.DictReader(file)
                if row['kind'] == 'fixed']
    assert macs == sorted(macs)
