"""A COCO file is read whatever is in it, unless it is none."""
import gc
import json

import numpy as np
import pycocotools.mask
import pytest
from coco_sets import sound

from mmasvit.coco.annotations import (LOST, PARTLY_LOST, POLYGONS, RLE, UNREADABLE, WHOLE,
                                      CocoFile)
from mmasvit.errors import InputError


def read(tmp_path, content):
    path = tmp_path / 'set.json'
    path.write_bytes(content if isinstance(content, bytes)
                     else json.dumps(content).encode())
    return CocoFile.read(path)


def test_columns_hold_the_rows(tmp_path):
    coco = sound()
    file = read(tmp_path, coco)
    rows = coco['annotations']
    assert file.annotations.ids == [row['id'] for row in rows]
    assert file.annotations.boxes.tolist() == [row['bbox'] for row in rows]
    assert file.annotations.crowds.tolist() == [row['iscrowd'] == 1 for row in rows]
    assert file.images.file_names == [row['file_name'] for row in coco['images']]
    assert set(file.annotations.masks) == {POLYGONS} and file.names[0] == 'red'


@pytest.mark.parametrize('content, line', [
    (b'', 'is not json'), (b'{"images": ', 'is not json'), (b'[1]', 'is a json list'),
    (b'\xff\xfe', 'is not json'), (b'[' * 100_000, 'is not json'),
    (dict(sound(), categories=[]), 'has no categories'),
    (dict(sound(), images=[]), 'has no images'),
    (dict(sound(), images=[1]), 'images must be a list of dicts'),
    (dict(sound(), images={'1': {}}), 'images must be a list of dicts'),
    (dict(sound(), annotations='none'), 'annotations must be a list of dicts')])
def test_what_is_no_coco_file_is_refused(tmp_path, content, line):
    with pytest.raises(InputError, match=line) as error:
        read(tmp_path, content)
    assert '\n' not in str(error.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        CocoFile.read(tmp_path / 'nothing.json')
    with pytest.raises(InputError):
        CocoFile.read(tmp_path)


def test_nan_and_byte_order_mark_are_read(tmp_path):
    coco = sound()
    coco['annotations'][1]['bbox'][2] = float('nan')
    coco['images'][0]['file_name'] = 'ö.png'
    file = read(tmp_path, b'\xef\xbb\xbf' + json.dumps(
        coco, ensure_ascii=False).encode())
    assert np.isnan(file.annotations.boxes[1]).all()
    assert np.isfinite(file.annotations.boxes[0]).all()
    assert file.images.file_names[0] == 'ö.png'


def test_no_annotations_are_told_from_an_empty_list(tmp_path):
    coco = dict(sound(), annotations=[])
    assert read(tmp_path, coco).annotated
    del coco['annotations']
    assert not read(tmp_path, coco).annotated


def test_compressed_masks_are_those_of_pycocotools(tmp_path):
    """Both ways: what it writes is whole, what it cannot decode is not."""
    rng = np.random.default_rng(0)
    coco = sound(images=8, objects=5)
    for row in coco['annotations']:
        mask = np.asfortranarray(rng.random((48, 64)) < rng.random()**3, np.uint8)
        row['segmentation'] = pycocotools.mask.encode(mask)
        row['segmentation']['counts'] = row['segmentation']['counts'].decode()
    file = read(tmp_path, coco)
    assert set(file.annotations.masks) == {RLE}
    assert set(file.annotations.mask_faults) == {WHOLE}
    for row in coco['annotations']:
        row['segmentation']['counts'] = row['segmentation']['counts'][:-3]
    faults = read(tmp_path, coco).annotations.mask_faults
    for row, fault in zip(coco['annotations'], faults):
        try:
            pycocotools.mask.decode(row['segmentation'])
        except ValueError:
            assert fault == UNREADABLE


@pytest.mark.parametrize('mask, fault', [
    ([[0, 0, 9, 0, 9, 9]], WHOLE), ([[0, 0, 9, 0, 9, 9], [1, 2]], PARTLY_LOST),
    ([[1, 2, 3, 4, 5, 6, 7]], LOST), ([[]], LOST), ([1, 2, 3, 4, 5, 6], UNREADABLE),
    ([[0, 0, 9, 0, 9, '9']], UNREADABLE), ('text', UNREADABLE), (dict(), WHOLE),
    (dict(counts=[4], size=[2, 2]), WHOLE), (dict(counts=[3], size=[2, 2]), UNREADABLE),
    (dict(counts=[4]), UNREADABLE), (dict(counts='', size=[2, 2]), UNREADABLE)])
def test_faults_of_masks(tmp_path, mask, fault):
    coco = sound()
    coco['annotations'][0]['segmentation'] = mask
    assert read(tmp_path, coco).annotations.mask_faults[0] == fault


def test_the_collector_is_as_it_was(tmp_path):
    assert gc.isenabled()
    with pytest.raises(InputError):
        read(tmp_path, b'')
    assert gc.isenabled()
