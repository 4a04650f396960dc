"""However a file is damaged, a run is refused, or gets just what the report counted.

    EXAMPLES=1000 python -m pytest tests/test_coco/test_random_damage.py \\
        --hypothesis-show-statistics
"""
import contextlib
import copy
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from coco_sets import HEIGHT, WIDTH, config, sound, write_images, write_set
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

pytest.importorskip('mmdet')

from mmdet.registry import DATASETS, METRICS  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402

from mmasvit.engine.preflight import check_data  # noqa: E402
from mmasvit.errors import InputError  # noqa: E402

KEYS = {
    'images': ['id', 'file_name', 'width', 'height'],
    'categories': ['id', 'name'],
    'annotations': ['id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd',
                    'segmentation', 'ignore'],
}
ANY = [None, 'text', '1', '', 0, 1, 2, 10, 20, -1, 0.5, 1.0, 1e9, True, False, [], {}, [1],
       float('nan'), float('inf'), 'red']
LIKELY = {
    'id': [0, 1, 7, '7', 10, 20, 99, 100, -5, 2**40], 'image_id': [1, 2, 5, '1', 1.0],
    'category_id': [0, 10, 20, 30, 40, 20.0, '10'], 'iscrowd': [0, 1, None, True, '0'],
    'area': [None, 0, -2, 0.5, 5e4], 'ignore': [0, 1, True, 'yes'],
    'name': ['red', 'blue', 'black', 'Red', 'red '], 'file_name': ['0_0.png', '1_1.png'],
    'width': [64, 63, 48, 64.0, '64', -1], 'height': [48, 64, 48.0, 0],
    'bbox': [[50, 40, 30, 30], [-9, -9, 5, 5], [-3, 2, 20, 20], [5, 5, 0, 9], [5, 5, 9, -3],
             [5.5, 5.5, 0.9, 9], [64, 2, 9, 9], [63.5, 2, 9, 9], [0.1, 0.2, 0.3, 0.4],
             ['1', '2', '3', '4'], [1, 2, 3], [None] * 4, [5, 5, 9, float('nan')]],
    'segmentation': [[], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [1, 2, 3, 4], [[]],
                     [[0, 0, 9, 0, 9, 9], [1, 2]], [[0, 0, 9, 0, 9, 'x']],
                     dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH]),
                     dict(size=[HEIGHT, WIDTH], counts=[5, 5]),
                     dict(size=[WIDTH, HEIGHT], counts=[HEIGHT * WIDTH]),
                     dict(size=[HEIGHT, WIDTH], counts='P`2'),
                     dict(size=[HEIGHT, WIDTH], counts='text'),
                     dict(size=[HEIGHT, WIDTH], counts='')],
}


@st.composite
def damages(draw):
    """A function that damages one thing, or one thing in all rows, of a COCO dict."""
    table = draw(st.sampled_from([*KEYS, 'annotations']))
    key = draw(st.sampled_from(KEYS[table]))
    kind = draw(st.sampled_from(['set', 'set', 'set', 'set', 'delete', 'copy row',
                                 'drop row', 'swap', 'shift', 'to text', 'drop table',
                                 'corners']))
    value = draw(st.sampled_from(LIKELY[key]) | st.sampled_from(ANY))
    every = draw(st.integers(1, 12))  # this row, and so many on
    first = draw(st.integers(0, 11))

    def damage(coco):
        rows = coco.get(table) or []
        chosen = rows[first % len(rows)::every] if rows else []
        if kind == 'drop table':
            coco.pop(table, None)
        elif kind == 'copy row' and chosen:
            rows.append(dict(copy.deepcopy(chosen[0]), **{key: copy.deepcopy(value)}))
        elif kind == 'drop row' and chosen:
            rows.remove(chosen[0])
        elif kind == 'swap' and rows:
            rows.reverse()
        for row in chosen:
            if kind == 'set':
                row[key] = copy.deepcopy(value)
            elif kind == 'delete':
                row.pop(key, None)
            elif kind == 'shift' and isinstance(row.get(key), int):
                row[key] -= 1
            elif kind == 'to text':
                row[key] = str(row.get(key))
            elif kind == 'corners' and table == 'annotations':
                with contextlib.suppress(TypeError, ValueError, KeyError):
                    x, y, w, h = row['bbox']
                    row['bbox'] = [x, y, x + w, y + h]
    damage.__qualname__ = f'{kind} {table}.{key} {value!r} [{first}::{every}]'
    return damage


@pytest.fixture(scope='module')
def folder():
    """Images of both parts, drawn once."""
    register_all_modules()
    root = Path(tempfile.mkdtemp())
    for name, seed in (('train', 0), ('val', 1)):
        write_images(root / name, sound(seed=seed))
    yield root
    shutil.rmtree(root)


@given(part=st.sampled_from(['train', 'val', 'both']), masks=st.booleans(),
       changes=st.lists(damages(), min_size=1, max_size=2))
@settings(max_examples=int(os.environ.get('EXAMPLES', 100)), deadline=None,
          derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_a_run_is_refused_or_gets_what_the_report_counted(folder, part, masks, changes):
    train, val = sound(seed=0), sound(seed=1)
    for coco, name in ((train, 'train'), (val, 'val')):
        if part in (name, 'both'):
            for change in changes:
                change(coco)
    write_set(folder, train, val, images=False)
    before = [(folder / name).read_bytes() for name in ('train.json', 'val.json')]
    cfg = config(folder, masks=masks)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            report = check_data(cfg)
    except InputError as error:
        assert '\n' not in str(error) and len(str(error)) < 1000
        event('refused')
        return
    event('accepted')
    for name in ('train', 'val'):
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = DATASETS.build(dict(cfg[f'{name}_dataloader'].dataset,
                                          serialize_data=False))  # seconds of gc
        compare(dataset, report.splits[name])
    score_ground_truth(cfg, dataset, masks)
    assert before == [(folder / name).read_bytes() for name in ('train.json', 'val.json')]


def compare(dataset, counted):
    """What mmdet yields against the report, and against what the pipeline makes of it."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    instances = [row for info in infos for row in info['instances']]
    assert len(infos) == counted.images
    assert sum(not row['ignore_flag'] for row in instances) == counted.objects
    assert sum(row['ignore_flag'] for row in instances) == counted.crowds
    names = dataset.metainfo['classes']
    found = [names[row['bbox_label']] for row in instances if not row['ignore_flag']]
    assert {row['name']: row['objects'] for row in counted.classes} == {
        name: found.count(name) for name in names}
    # the labels mean what the user's file says
    coco = json.loads(Path(counted.ann_file).read_text())
    meant = {row['id']: row['name'] for row in coco['categories']}
    boxes = {}
    for row in coco['annotations']:
        with contextlib.suppress(TypeError):
            x, y, w, h = row['bbox']
            boxes.setdefault((row['image_id'], x, y, x + w, y + h), set()).add(
                meant[row['category_id']])
    for info in infos:
        for row in info['instances']:
            assert names[row['bbox_label']] in boxes[(info['img_id'], *row['bbox'])]
    for i in range(len(dataset)):  # the pipeline takes all of it
        loaded = dataset[i]['data_samples']
        ignored = getattr(loaded, 'ignored_instances', None)
        assert len(loaded.gt_instances) + len(ignored) == len(infos[i]['instances'])


def score_ground_truth(cfg, dataset, masks):
    """Whoever predicts all objects has nothing missed: AP 1, and no traceback."""
    with contextlib.redirect_stdout(io.StringIO()):
        metric = METRICS.build(cfg.val_evaluator)
        metric.dataset_meta = dataset.metainfo
        for i in range(len(dataset)):
            sample = dataset[i]['data_samples']
            truth = sample.gt_instances
            found = dict(bboxes=truth.bboxes.tensor, labels=truth.labels,
                         scores=torch.ones(len(truth)))
            if masks:
                found['masks'] = truth.masks.to_tensor(torch.bool, 'cpu')
            metric.process({}, [dict(img_id=sample.img_id, ori_shape=sample.ori_shape,
                                     pred_instances=found)])
        scores = metric.evaluate(len(dataset))
    assert 0 <= scores['coco/bbox_mAP'] <= 1
