"""However a file is damaged, a run is refused, or gets just what the report counted.

    python -m pytest tests/test_coco/test_random_damage.py --hypothesis-profile=thousand
"""
import contextlib
import copy
import io
import json
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from coco_sets import HEIGHT, WIDTH, config, sound, write_images, write_set
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip('mmdet')

from mmdet.registry import DATASETS, METRICS  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402

from mmasvit.engine.preflight import check_data  # noqa: E402
from mmasvit.errors import InputError  # noqa: E402

QUIET = dict(deadline=None, derandomize=True, database=None,
             suppress_health_check=list(HealthCheck))
settings.register_profile('thousand', max_examples=1000, **QUIET)
settings.register_profile('suite', max_examples=100, **QUIET)

KEYS = {
    'images': ['id', 'file_name', 'width', 'height'],
    'categories': ['id', 'name'],
    'annotations': ['id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd',
                    'segmentation', 'ignore'],
}
ODD = [None, 'text', '1', '', 0, 1, 2, 10, 20, -1, 0.5, 1.0, 1e9, True, False, [], {}, [1],
       float('nan'), float('inf'), 'red', [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]],
       [[0, 0, 9, 0, 9, 9], [1, 2]], [1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], [50, 40, 30, 30],
       [-9, -9, 5, 5], [-3, 2, 20, 20], [5, 5, 0, 9], [5, 5, 9, -3], ['1', '2', '3', '4'],
       [1, 2, 3], [None] * 4, dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH]),
       dict(size=[HEIGHT, WIDTH], counts=[5, 5]), dict(size=[WIDTH, HEIGHT], counts='text'),
       dict(size=[HEIGHT, WIDTH], counts='')]


@st.composite
def damages(draw):
    """A function that damages one thing, or one thing in all rows, of a COCO dict."""
    table = draw(st.sampled_from(list(KEYS)))
    key = draw(st.sampled_from(KEYS[table]))
    kind = draw(st.sampled_from(['set', 'set', 'delete', 'copy row', 'drop row', 'swap',
                                 'shift', 'to text', 'drop table', 'corners']))
    value = draw(st.sampled_from(ODD))
    every = draw(st.integers(1, 5))  # this row, and so many on
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
       changes=st.lists(damages(), min_size=1, max_size=3))
@settings(settings.get_profile('suite') if settings.default.max_examples == 100
          else settings.default)
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
        return
    for name in ('train', 'val'):
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = DATASETS.build(cfg[f'{name}_dataloader'].dataset)
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
