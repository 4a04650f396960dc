"""The data of a config: what is refused, put right, passed over."""
import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coco_sets import CLASSES, config, sound, write_images, write_set
from helpers import call
from PIL import Image

pytest.importorskip('mmdet')

from mmdet.registry import DATASETS, METRICS  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402
from mmengine.config import Config  # noqa: E402

from mmasvit.engine.preflight import check_data  # noqa: E402
from mmasvit.errors import InputError  # noqa: E402

BOTH = ('train_dataloader', 'val_dataloader')


@pytest.fixture(scope='module', autouse=True)
def modules():
    register_all_modules()


def names_by_box(dataset):
    """What each object is called, as pictures and checkpoints have it."""
    names = dataset.metainfo['classes']
    return {(info['img_id'], *row['bbox']): names[row['bbox_label']]
            for info in map(dataset.get_data_info, range(len(dataset)))
            for row in info['instances']}


def names_in(coco):
    meant = {row['id']: row['name'] for row in coco['categories']}
    return {(row['image_id'], x, y, x + w, y + h): meant[row['category_id']]
            for row in coco['annotations'] for x, y, w, h in [row['bbox']]}


def build(cfg, loader):
    return DATASETS.build(dict(cfg[loader].dataset, serialize_data=False))


def test_sound_data_is_taken_as_it_is(tmp_path, capsys):
    cfg = config(write_set(tmp_path))
    before = copy.deepcopy(cfg.to_dict())
    report = check_data(cfg)
    assert cfg.to_dict() == before and not capsys.readouterr().out
    assert list(report.splits) == ['train', 'val'] and not report.remarks
    assert json.loads(json.dumps(report.to_json()))['splits']['val']['objects'] == 11
    assert not Path(cfg.work_dir).exists()


def test_names_follow_the_files_order(tmp_path, capsys):
    cfg = config(write_set(tmp_path), classes=('blue', 'red', 'green'))
    colours = [(0, 0, 255), (255, 0, 0), (0, 255, 0)]
    cfg.train_dataloader.dataset.metainfo.palette = colours
    assert names_by_box(build(cfg, 'train_dataloader')) != names_in(sound())
    check_data(cfg)
    assert names_by_box(build(cfg, 'train_dataloader')) == names_in(sound())
    assert names_by_box(build(cfg, 'val_dataloader')) == names_in(sound(seed=1))
    assert cfg.train_dataloader.dataset.metainfo.palette[0] == (255, 0, 0)
    assert 'another order' in capsys.readouterr().out


def test_labels_of_val_are_those_of_train(tmp_path):
    val = sound(seed=1)
    val['categories'].reverse()
    cfg = config(write_set(tmp_path, val=val))
    check_data(cfg)
    train, val_set = (build(cfg, loader) for loader in BOTH)
    assert train.metainfo['classes'] == val_set.metainfo['classes'] == CLASSES
    assert names_by_box(train) == names_in(sound())
    assert names_by_box(val_set) == names_in(val)
    metric = METRICS.build(cfg.val_evaluator)
    found = [metric._coco_api.cats[number]['name']
             for number in metric._coco_api.get_cat_ids(cat_names=CLASSES)]
    assert tuple(found) == CLASSES


def test_labels_of_a_checkpoint_are_those_of_the_test(tmp_path):
    """Whatever the order of the file and of the config."""
    trained = ('blue', 'red', 'green')
    cfg = config(write_set(tmp_path), classes=('green', 'red', 'blue'))
    check_data(cfg, ('val_dataloader', ), order=trained)
    dataset = build(cfg, 'val_dataloader')
    assert dataset.metainfo['classes'] == trained
    assert names_by_box(dataset) == names_in(sound(seed=1))
    metric = METRICS.build(cfg.val_evaluator)
    assert trained == tuple(metric._coco_api.cats[number]['name']
                            for number in metric._coco_api.get_cat_ids(cat_names=trained))


def test_users_file_stays_and_its_copy_is_read(tmp_path):
    val = sound(seed=1)
    for number, row in enumerate(val['annotations']):
        row['id'] = number
        del row['area'], row['iscrowd']
    cfg = config(write_set(tmp_path, val=val))
    before = (tmp_path / 'val.json').read_bytes()
    report = check_data(cfg)
    assert (tmp_path / 'val.json').read_bytes() == before
    assert {found.kind for found in report.splits['val'].findings} == {
        'area-missing', 'iscrowd-missing', 'annotation-id'}
    copied = Path(cfg.work_dir, 'annotations', 'val.json')
    assert copied == Path(cfg.val_evaluator.ann_file)
    assert copied == Path(cfg.val_dataloader.dataset.ann_file) and copied.is_absolute()
    assert cfg.train_dataloader.dataset.ann_file == 'train.json'
    rows = json.loads(copied.read_text())['annotations']
    assert [row['id'] for row in rows] == list(range(1, 13))
    for row in rows:
        assert row['area'] == row['bbox'][2] * row['bbox'][3] and row['iscrowd'] == 0
    assert report.splits['val'].ann_file == str(tmp_path / 'val.json')
    # a second look, as on --resume, finds nothing to mend in the copy
    assert not check_data(cfg).remarks


def test_an_evaluators_own_file_is_mended_too(tmp_path):
    scored = sound(seed=1)
    for row in scored['annotations']:
        del row['iscrowd']
    cfg = config(write_set(tmp_path))
    cfg.val_evaluator.ann_file = str(tmp_path / 'scored.json')
    (tmp_path / 'scored.json').write_text(json.dumps(scored))
    report = check_data(cfg)
    assert 'scored.json' in report.remarks[0]
    assert cfg.val_dataloader.dataset.ann_file == 'val.json'
    rows = json.loads(Path(cfg.val_evaluator.ann_file).read_text())['annotations']
    assert {row['iscrowd'] for row in rows} == {0}


def test_what_is_refused_leaves_nothing(tmp_path):
    train, val = sound(), sound(seed=1)
    del val['annotations'][0]['area'], train['annotations'][0]['bbox']
    cfg = config(write_set(tmp_path, train=train, val=val))
    before = copy.deepcopy(cfg.to_dict())
    with pytest.raises(InputError, match='train.json: 1 of 12 boxes are no list'):
        check_data(cfg)
    assert cfg.to_dict() == before and not Path(cfg.work_dir).exists()


@pytest.mark.parametrize('change, line', [
    (lambda c: c.model.roi_head.bbox_head.update(num_classes=80), 'bbox_head predicts'),
    (lambda c: c.model.roi_head.update(mask_head=[dict(num_classes=4)]),
     'mask_head predicts 4'),
    (lambda c: c.model.update(bbox_head=dict(num_classes=2)), 'bbox_head predicts 2'),
    (lambda c: c.train_dataloader.dataset.update(data_root='nowhere'), 'nowhere'),
    (lambda c: c.val_dataloader.dataset.update(ann_file='no.json'), 'does not exist'),
    (lambda c: c.val_dataloader.dataset.data_prefix.update(img='x'), '4 of 4 image'),
    (lambda c: c.val_dataloader.dataset.metainfo.update(classes=('red', 'blue')),
     r'the classes \(red, blue\) are not those of'),
    (lambda c: c.train_dataloader.dataset.pipeline[1].update(with_mask=False),
     'has a mask head, '),
    (lambda c: c.train_dataloader.dataset.metainfo.update(classes='red'),
     r"classes=\('red', \)"),
    (lambda c: c.val_evaluator.update(ann_file=c.val_evaluator.ann_file.replace(
        'val', 'train')), None)])
def test_what_does_not_fit_is_refused(tmp_path, change, line):
    train = sound()
    train['images'][3]['id'] = 40  # so that the two files differ
    for row in train['annotations'][9:]:
        row['image_id'] = 40
    cfg = config(write_set(tmp_path, train=train))
    change(cfg)
    with pytest.raises(InputError, match=line or 'lacks 1 of 4 images') as error:
        check_data(cfg)
    assert '\n' not in str(error.value)


def test_semantic_maps_are_looked_at_where_they_are_loaded(tmp_path):
    cfg = config(write_set(tmp_path))
    train = cfg.train_dataloader.dataset
    train.pipeline[1].update(with_seg=True)
    with pytest.raises(InputError, match=r'data_prefix has no folder of them \(seg='):
        check_data(cfg)
    train.data_prefix.update(seg='maps/')
    images = build(cfg, 'train_dataloader')
    maps = [Path(images.get_data_info(i)['seg_map_path']) for i in range(len(images))]
    for path in maps:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((64, 64), np.uint8)).save(path)
    check_data(cfg)
    maps[1].unlink()
    with pytest.raises(InputError, match=f'1 of 4 semantic maps: .*{maps[1].name}'):
        check_data(cfg)


@pytest.mark.parametrize('change', [
    lambda c: c.model.roi_head.update(semantic_head=dict(num_classes=183)),
    lambda c: c.model.roi_head.mask_head.update(num_classes=1, class_agnostic=True),
    lambda c: c.model.update(rpn_head=dict(num_classes=1)),
    lambda c: c.val_evaluator.pop('ann_file'),
    lambda c: c.train_dataloader.dataset.update(ann_file='s3://bucket/train.json'),
    lambda c: c.train_dataloader.update(dataset=dict(
        type='RepeatDataset', times=2,
        dataset=copy.deepcopy(c.train_dataloader.dataset))),
    lambda c: (c.train_dataloader.dataset.data_prefix.update(img='x'),
               c.train_dataloader.dataset.pipeline[0].update(imdecode_backend='pillow')),
    lambda c: c.pop('val_evaluator')])
def test_what_mmdet_runs_rightly_is_not_refused(tmp_path, change):
    cfg = config(write_set(tmp_path))
    change(cfg)
    check_data(cfg)


def test_all_datasets_under_wrappers_are_looked_at(tmp_path):
    cfg = config(write_set(tmp_path))
    inner = cfg.train_dataloader.dataset
    other = dict(copy.deepcopy(inner), ann_file='val.json')
    other['data_prefix'] = dict(img='val/')
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner, other])
    report = check_data(cfg)
    assert list(report.splits) == ['train', 'train_2', 'val']
    assert [found.kind for found in report.splits['val'].findings] == ['image-in-train']


@pytest.mark.parametrize('rows', [None, []])
def test_test_sets_without_annotations_are_for_prediction(tmp_path, rows):
    val = dict(sound(seed=1), annotations=rows)
    if rows is None:
        del val['annotations']
    cfg = config(write_set(tmp_path, val=val))
    with pytest.raises(InputError, match='nothing to score against'):
        check_data(cfg)
    cfg.val_evaluator.update(format_only=True, outfile_prefix='x')
    assert check_data(cfg).splits['val'].images == 4


def test_default_names_are_the_datasets_own(tmp_path):
    cfg = config(write_set(tmp_path))
    del cfg.train_dataloader.dataset['metainfo']
    with pytest.raises(InputError, match='no category for 80 of 80 classes'):
        check_data(cfg)


@pytest.mark.parametrize('change, line', [
    (lambda root: None, None),
    (lambda root: (root / 'val/c').rename(root / 'val/d'),
     r'it lacks 1 \(c\) and has 1 more \(d\)'),
    (lambda root: (root / 'train/z').mkdir(), r'there are 4 class folders.*\(and 1 more'),
    (lambda root: [(root / name / 'z').mkdir() for name in ('train', 'val')],
     'there are 4 class folders, the head predicts 3')])
def test_classification_folders(tmp_path, change, line):
    pytest.importorskip('mmpretrain')
    for part in ('train', 'val'):
        for name in 'abc':
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(
                tmp_path / part / name / '1.JPG')
    change(tmp_path)
    model = dict(head=dict(num_classes=3))
    cfg = Config(dict(default_scope='mmpretrain', model=model, **{
        f'{part}_dataloader': dict(dataset=dict(
            type='CustomDataset', data_root=str(tmp_path), data_prefix=part))
        for part in ('train', 'val')}))
    if line is None:
        assert check_data(cfg).splits['val'].images == 3
        return
    with pytest.raises(InputError, match=line):
        check_data(cfg)


PROCESS = """
import sys
import torch
import mmasvit
from mmasvit.coco import annotations
from mmasvit.engine.launch import load_config
from mmasvit.engine.preflight import check_data
torch.distributed.init_process_group('gloo')
rank = torch.distributed.get_rank()
if rank:
    annotations.parse = None  # whoever reads here fails
for path in sys.argv[1:]:
    cfg = load_config(path)
    try:
        check_data(cfg)
        print(f'<{rank} {cfg.val_dataloader.dataset.ann_file}>', flush=True)
    except ValueError as error:
        print(f'<{rank} {error}>', flush=True)
torch.distributed.barrier()  # who ends first would end the other
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_one_process_looks_for_all(tmp_path):
    """Every process reads the mended copy, or is refused by the same line."""
    val = sound(seed=1)
    del val['annotations'][0]['area']
    good = write_set(tmp_path / 'good', val=val)
    del val['annotations'][0]['bbox']
    bad = write_set(tmp_path / 'bad', val=val)
    for root in (good, bad):
        (root / 'cfg.py').write_text(config(root).pretty_text)
    script = tmp_path / 'process.py'
    script.write_text(PROCESS)
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone',
         '--nproc_per_node=2', str(script), str(good / 'cfg.py'), str(bad / 'cfg.py')],
        capture_output=True, text=True, check=True)
    lines = re.findall('<([01]) ([^<>]*)>', done.stdout)
    copied = str(good / 'work' / 'annotations' / 'val.json')
    refused, = {line for _, line in lines if line != copied}
    assert sorted(lines) == sorted((rank, line) for rank in '01'
                                   for line in (copied, refused))
    assert 'boxes are no list' in refused


def test_tool_prints_what_is_there(tmp_path):
    write_set(tmp_path)
    (tmp_path / 'cfg.py').write_text(config(tmp_path).pretty_text)
    for path in (tmp_path, tmp_path / 'cfg.py', tmp_path / 'train.json'):
        status, out, err = call('tools/check_data.py', path)
        assert status == 0, err
        assert '4 in 4 images' in out and 'REFUSED' not in out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'cfg.py', 'train', 'train.json', 'val', 'val.json']


def test_tool_says_what_would_be_refused(tmp_path):
    val = sound(seed=1)
    val['annotations'][0]['bbox'] = None
    val['annotations'][1]['category_id'] = '[red]'  # no markup
    write_set(tmp_path, val=val)
    status, out, err = call('tools/check_data.py', tmp_path)
    assert status == 2 and out.count('REFUSED val') == 2
    assert '([red])' in out
    status, out, err = call('tools/check_data.py', tmp_path / 'nothing')
    assert status == 2 and err.startswith('error: ') and not out
    write_images(tmp_path / 'empty', sound())
    status, out, err = call('tools/check_data.py', tmp_path / 'empty')
    assert status == 2 and err.count('\n') == 1
