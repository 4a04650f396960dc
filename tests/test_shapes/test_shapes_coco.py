"""The set on disk: all of it or nothing, the same bytes each time, crops, tool."""
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from helpers import ROOT, call
from pycocotools.coco import COCO

from mmasvit.shapes.coco import ShapesSettings, make_shapes_coco
from mmasvit.shapes.crops import (in_plain_view, make_classification_crops,
                                  square_around)
from mmasvit.shapes.scenes import CATEGORIES, make_image

TOOL = 'tools/make_shapes_coco.py'
SMALL_SET = ShapesSettings(images=10, val_images=8, size=128, seed=7)


@pytest.fixture(scope='module')
def coco_dir(tmp_path_factory):
    """Give a small set with crops, made in two processes."""
    out_dir = tmp_path_factory.mktemp('sets') / 'shapes'
    assert make_shapes_coco(out_dir, SMALL_SET, workers=2)
    assert make_classification_crops(out_dir, 32, workers=2)
    return out_dir


def contents(root):
    """Return the bytes of all files below a directory, by relative path."""
    return {str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob('*')) if path.is_file()}


# ---------------------------------------------------------------------------- the set


@pytest.mark.parametrize('split', ['train', 'val'])
def test_set_is_what_pycocotools_expects(coco_dir, split):
    coco = COCO(coco_dir / 'annotations' / f'instances_{split}2017.json')
    count = dict(train=SMALL_SET.images, val=SMALL_SET.val_images)[split]
    folder = coco_dir / f'{split}2017'
    assert len(coco.imgs) == count == len(list(folder.iterdir()))
    assert [entry['name'] for entry in coco.dataset['categories']] == list(CATEGORIES)
    assert {'info', 'licenses'} < set(coco.dataset)
    for entry in coco.dataset['images']:
        image = cv2.imread(str(folder / entry['file_name']))
        assert image.shape == (entry['height'], entry['width'], 3) == (
            SMALL_SET.size, SMALL_SET.size, 3)
        assert coco.getAnnIds(entry['id'], iscrowd=False)
    assert len(coco.getAnnIds(iscrowd=True)) == 1
    assert [entry['id'] for entry in coco.dataset['annotations']] == list(
        range(1, len(coco.anns) + 1))
    for annotation in coco.dataset['annotations']:
        mask = coco.annToMask(annotation)
        assert mask.sum() == pytest.approx(annotation['area'], rel=0.2)


def test_same_settings_same_bytes_in_any_number_of_processes(coco_dir, tmp_path):
    make_shapes_coco(tmp_path / 'again', SMALL_SET, workers=1)
    make_classification_crops(tmp_path / 'again', 32, workers=1)
    assert contents(tmp_path / 'again') == contents(coco_dir)


def test_an_image_depends_on_seed_split_and_position_only(coco_dir, tmp_path):
    def annotations(root):
        text = (root / 'annotations' / 'instances_train2017.json').read_text()
        return json.loads(text)['annotations']

    more = ShapesSettings(images=13, val_images=1, size=SMALL_SET.size, seed=7)
    make_shapes_coco(tmp_path / 'more', more)
    first = contents(coco_dir / 'train2017')
    second = contents(tmp_path / 'more' / 'train2017')
    assert first == {name: second[name] for name in first}
    few = annotations(coco_dir)
    assert few == annotations(tmp_path / 'more')[:len(few)]
    images = [make_image(*key, 64)[0].tobytes()
              for key in [(7, 0, 1), (7, 0, 2), (7, 1, 1), (8, 0, 1)]]
    assert len(set(images)) == 4


# -------------------------------------------------------------------------- the crops


@pytest.mark.parametrize('split', ['train', 'val'])
def test_crops_show_every_object_in_plain_view_once(coco_dir, split):
    coco = COCO(coco_dir / 'annotations' / f'instances_{split}2017.json')
    crops = contents(coco_dir / 'crops' / split)
    seen = {
        f'{CATEGORIES[entry["category_id"] - 1]}/{entry["id"]:012d}.jpg': entry
        for entry in coco.dataset['annotations']
        if in_plain_view(entry, coco.imgToAnns[entry['image_id']])}
    assert set(crops) == set(seen) and 0 < len(seen) < len(coco.anns)
    for entry in seen.values():
        assert not entry['iscrowd']
        assert entry['occlusion'] + entry['truncation'] <= 0.1
    for data in crops.values():
        assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape == (32, 32, 3)
    folders = sorted(path.name for path in (coco_dir / 'crops' / split).iterdir())
    assert folders == sorted(CATEGORIES)  # the same labels, however few the objects


def annotation(number, bbox, **more):
    return dict(dict(id=number, bbox=bbox, iscrowd=0, occlusion=0., truncation=0.), **more)


@pytest.mark.parametrize('more, other, expected', [
    ({}, [100, 100, 20, 20], True),  # far away
    ({}, [30, 30, 20, 20], False),  # on top of it
    ({}, [45, 11, 50, 60], False),  # half of the context beside it
    ({}, [50, 30, 4, 4], True),  # a little in the corner of the context
    (dict(occlusion=0.2), [100, 100, 20, 20], False),
    (dict(occlusion=0.06, truncation=0.06), [100, 100, 20, 20], False),
    (dict(iscrowd=1), [100, 100, 20, 20], False),
])
def test_plain_view(more, other, expected):
    mine = annotation(1, [20, 20, 30, 30], **more)
    assert in_plain_view(mine, [mine, annotation(2, other)]) is expected


@pytest.mark.parametrize('bbox, expected', [
    ([40, 50, 20, 10], (35, 40, 30)),
    ([0, 0, 20, 10], (0, 0, 30)),
    ([90, 70, 10, 10], (85, 65, 15)),
    ([0, 10, 90, 20], (5, 0, 80)),
])
def test_squares_stay_in_the_image(bbox, expected):
    assert square_around(bbox, 1.5, 100, 80) == expected


# --------------------------------------------------------------------------- the tool


@pytest.mark.parametrize('args, complaint', [
    (['--images', '0'], 'images must be from 1'),
    (['--images', '-3'], 'images must be from 1'),
    (['--images', 'many'], "invalid int value: 'many'"),
    (['--val-images', '0'], 'val_images must be from 1'),
    (['--size', '63'], 'size must be from 64'),
    (['--size', '100000'], 'size must be from 64'),
    (['--seed', '-1'], 'seed must not be negative'),
    (['--crops', '4'], 'crops must be from 16'),
    (['--colour', 'red'], 'unrecognized arguments'),
])
def test_bad_options_write_nothing(tmp_path, args, complaint):
    status, _, err = call(TOOL, tmp_path / 'out', *args)
    assert status == 2 and complaint in err
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    file, full = tmp_path / 'file', tmp_path / 'full'
    file.write_text('mine')
    full.mkdir()
    (full / 'thesis.tex').write_text('mine')
    before = contents(tmp_path)
    for place, complaint in ((file, 'is a file'), (file / 'below', 'cannot write'),
                             (full, 'thesis.tex'), ('/proc/shapes', 'cannot write')):
        status, _, err = call(TOOL, place, '--images', 1)
        assert status == 2 and complaint in err
    assert contents(tmp_path) == before


def test_a_finished_set_is_left_alone(tmp_path):
    place = tmp_path / 'deep' / 'out'
    args = [place, '--images', 2, '--val-images', 1, '--size', 64]
    assert call(TOOL, *args)[:2] == (
        0, f'{place}: 2 training and 1 held-out images of 64 px written\n')
    image = place / 'train2017' / '000000000001.jpg'
    written = image.stat().st_mtime_ns
    status, out, _ = call(TOOL, *args)
    assert status == 0 and 'already there' in out
    status, out, _ = call(TOOL, *args, '--crops', 16)
    assert 'already there' in out and 'crops of 16 px written' in out
    assert image.stat().st_mtime_ns == written

    status, _, err = call(TOOL, *args, '--seed', 5)
    assert status == 2 and 'seed 0 instead of 5' in err
    status, _, err = call(TOOL, *args, '--crops', 32)
    assert status == 2 and 'crops' in err
    image.unlink()
    status, _, err = call(TOOL, *args)
    assert status == 2 and '1 of 2 images' in err


def test_a_set_of_another_version_is_refused(tmp_path):
    args = [tmp_path / 'out', '--images', 1, '--val-images', 1, '--size', 64]
    assert call(TOOL, *args)[0] == 0
    path = tmp_path / 'out' / 'annotations' / 'instances_val2017.json'
    path.write_text(path.read_text().replace('"generator":1', '"generator":99'))
    status, _, err = call(TOOL, *args)
    assert status == 2 and 'version 99' in err


def test_an_empty_directory_is_filled_with_ordinary_permissions(tmp_path):
    out_dir = tmp_path / 'out'
    out_dir.mkdir()
    mode = out_dir.stat().st_mode
    assert make_shapes_coco(out_dir, ShapesSettings(1, 1, 64))
    assert out_dir.stat().st_mode == mode


def test_a_failure_leaves_nothing(tmp_path):
    def full_disk(done, total):
        raise OSError('no space left')

    with pytest.raises(OSError, match='no space'):
        make_shapes_coco(tmp_path / 'out', SMALL_SET, progress=full_disk)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_interrupt_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        [sys.executable, ROOT / TOOL, tmp_path / 'out'], stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # a job in a shell's background ignores the signal, and its children with it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    while not list(tmp_path.glob('.out.*/train2017/*.jpg')):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert 'Traceback' not in err
    assert not list(tmp_path.iterdir())
