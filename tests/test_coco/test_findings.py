"""Each kind of fault is found, once, with its count; a sound file is not blamed."""
import json
from dataclasses import replace

import numpy as np
import pytest
from coco_sets import CLASSES, HEIGHT, WIDTH, sound

from mmasvit.coco.annotations import CocoFile
from mmasvit.coco.checks import CHECKS, find_faults
from mmasvit.coco.view import Use, View

TRAIN = Use(classes=CLASSES, masks=True, filter_empty=True)
VAL = Use(classes=CLASSES, train=False, scored=True, masks=True, masks_scored=True)
RLE = dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH])


def view(tmp_path, coco, use=TRAIN):
    path = tmp_path / 'set.json'
    path.write_text(json.dumps(coco))
    return View(CocoFile.read(path), use)


def setting(table, key, value, rows=slice(None, 3)):
    """A damage: the value (or what a function makes of the old one) in some rows."""
    def damage(coco):
        for row in coco[table][rows]:
            row[key] = value(row[key]) if callable(value) else value
    return damage


def without(table, key, rows=slice(None, 3)):
    def damage(coco):
        for row in coco[table][rows]:
            del row[key]
    return damage


def again(table, **change):
    return lambda coco: coco[table].append(dict(coco[table][0], **change))


def fewer(coco):
    coco['annotations'] = [row for row in coco['annotations'] if row['category_id'] != 30]


OBJECTS = 'annotations'
ALL = slice(None)
# kind, damage, refused, count, use
FAULTS = [
    ('category-incomplete', without('categories', 'id', slice(1)), True, 1, TRAIN),
    ('category-incomplete', setting('categories', 'name', 7, slice(2)), True, 2, TRAIN),
    ('category-id-repeated', again('categories', name='black'), True, 1, TRAIN),
    ('class-name-repeated', again('categories', id=0), True, 1, TRAIN),
    ('class-missing', setting('categories', 'name', 'black', slice(1)), True, 1, TRAIN),
    ('class-repeated', lambda coco: None, True, 1,
     replace(TRAIN, classes=(*CLASSES, 'red'))),
    ('class-unnamed', lambda coco: None, False, 4, replace(TRAIN, classes=CLASSES[:2])),
    ('class-empty', fewer, False, 1, TRAIN),
    ('image-id-missing', without('images', 'id'), True, 3, TRAIN),
    ('image-id-repeated', setting('images', 'id', 1, slice(2)), True, 1, TRAIN),
    ('ids-of-two-types', setting('images', 'id', str), True, 3, VAL),
    ('ids-of-two-types', setting('categories', 'id', str, slice(1)), True, 1, VAL),
    ('file-name-missing', without('images', 'file_name'), True, 3, TRAIN),
    ('file-name-repeated', setting('images', 'file_name', 'a.png'), False, 1, TRAIN),
    ('image-size-missing', without('images', 'width'), True, 3, TRAIN),
    ('image-size-missing', setting('images', 'height', -1), True, 3, TRAIN),
    ('image-size-missing', setting('images', 'height', '48'), True, 3, TRAIN),
    ('image-too-small', setting('images', 'height', 47), False, 3,
     replace(TRAIN, min_size=HEIGHT)),
    ('annotation-id-repeated', setting(OBJECTS, 'id', 5, slice(2)), True, 1, TRAIN),
    ('annotation-id', without(OBJECTS, 'id'), False, 3, TRAIN),
    ('annotation-id', setting(OBJECTS, 'id', lambda number: number - 1, ALL), False, 1,
     VAL),
    ('annotation-id', setting(OBJECTS, 'id', str, ALL), False, 12, VAL),
    ('annotation-without-image', without(OBJECTS, 'image_id'), True, 3, TRAIN),
    ('image-id-unknown', setting(OBJECTS, 'image_id', 99), False, 3, TRAIN),
    ('image-id-type', setting(OBJECTS, 'image_id', str), True, 3, TRAIN),
    ('category-id-unknown', setting(OBJECTS, 'category_id', 11), True, 3, TRAIN),
    ('category-id-unknown', without(OBJECTS, 'category_id'), True, 3, TRAIN),
    ('box-unreadable', setting(OBJECTS, 'bbox', lambda box: [*map(str, box)]), True, 3,
     TRAIN),
    ('box-unreadable', setting(OBJECTS, 'bbox', [1, 2, 3]), True, 3, TRAIN),
    ('box-unreadable', setting(OBJECTS, 'bbox', [1, 2, 3, float('nan')]), True, 3, TRAIN),
    ('box-unreadable', without(OBJECTS, 'bbox'), True, 3, TRAIN),
    ('box-fraction', setting(OBJECTS, 'bbox', lambda box: [v / 64 for v in box], ALL),
     True, 12, TRAIN),
    ('box-outside', setting(OBJECTS, 'bbox', [WIDTH, 0, 9, 9]), False, 3, TRAIN),
    ('box-small', setting(OBJECTS, 'bbox', [0, 0, 0.9, 9]), False, 3, TRAIN),
    ('box-over-edge', setting(OBJECTS, 'bbox', [WIDTH - 5, 0, 7, 9]), False, 3, TRAIN),
    ('area-missing', without(OBJECTS, 'area'), False, 3, TRAIN),
    ('area-missing', setting(OBJECTS, 'area', 'big'), False, 3, TRAIN),
    ('area-zero', setting(OBJECTS, 'area', 0), False, 3, TRAIN),
    ('iscrowd-missing', without(OBJECTS, 'iscrowd'), False, 3, VAL),
    ('iscrowd-odd', setting(OBJECTS, 'iscrowd', '0'), True, 3, TRAIN),
    ('ignored', setting(OBJECTS, 'ignore', 1), False, 3, TRAIN),
    ('all-crowd', setting(OBJECTS, 'iscrowd', 1, ALL), True, 12, TRAIN),
    ('no-annotations', lambda coco: coco.pop(OBJECTS), True, 0, TRAIN),
    ('no-annotations', lambda coco: coco[OBJECTS].clear(), True, 0, VAL),
    ('no-objects', setting(OBJECTS, 'area', 0, ALL), True, 12, VAL),
    ('mask-missing', without(OBJECTS, 'segmentation'), True, 3, TRAIN),
    ('mask-missing', setting(OBJECTS, 'segmentation', []), True, 3, VAL),
    ('mask-broken', setting(OBJECTS, 'segmentation', 'polygon'), True, 3, TRAIN),
    ('mask-broken', setting(OBJECTS, 'segmentation', [[0, 0, 9, 0, 9, None]]), True, 3,
     TRAIN),
    ('mask-broken', setting(OBJECTS, 'segmentation',
                            dict(RLE, size=[WIDTH, HEIGHT])), True, 3, TRAIN),
    ('mask-broken', setting(OBJECTS, 'segmentation', dict(RLE, counts=[9])), True, 3,
     TRAIN),
    ('mask-broken', setting(OBJECTS, 'segmentation', dict(RLE, counts='a')), True, 3,
     TRAIN),
    ('polygon-short', setting(OBJECTS, 'segmentation', [[0, 0, 9, 9]]), False, 3, TRAIN),
    ('polygon-short', setting(OBJECTS, 'segmentation', [[0, 0, 9, 0, 9, 9], [1, 2]]),
     True, 3, VAL),
]


@pytest.mark.parametrize('kind, damage, refuse, count, use', FAULTS, ids=[
    f'{number}-{fault[0]}' for number, fault in enumerate(FAULTS)])
def test_fault_is_found(tmp_path, kind, damage, refuse, count, use):
    coco = sound()
    damage(coco)
    findings = {finding.kind: finding
                for finding in find_faults(view(tmp_path, coco, use))}
    found = findings[kind]
    assert (found.refuse, found.count) == (refuse, count), found
    assert found.count <= found.total and '\n' not in found.text
    if not refuse:
        assert not any(finding.refuse for finding in findings.values())


@pytest.mark.parametrize('use', [TRAIN, VAL, Use(), replace(VAL, scored=False)])
def test_a_sound_file_is_not_blamed(tmp_path, use):
    assert find_faults(view(tmp_path, sound(), use)) == []


def test_every_check_has_its_kind_here():
    """A check that nothing here sets off is one that nobody has seen working."""
    kinds = {fault[0] for fault in FAULTS} | {'box-corners'}
    source = {name for check in CHECKS for name in check.__code__.co_consts
              if isinstance(name, str) and '-' in name and ' ' not in name}
    assert source - kinds <= {'image-id-unknown'}


def test_corners_are_told_from_boxes_that_stick_out(tmp_path):
    coco = sound(images=20)
    for row in coco['annotations']:
        x, y, w, h = row['bbox']
        row['bbox'] = [x, y, x + w, y + h]
    kinds = [finding.kind for finding in find_faults(view(tmp_path, coco))]
    assert kinds[0] == 'box-corners'
    coco['annotations'][0]['bbox'] = [30, 30, 10, 10]  # no corners: right is left of left
    kinds = [finding.kind for finding in find_faults(view(tmp_path, coco))]
    assert 'box-corners' not in kinds and 'box-over-edge' in kinds


def test_a_name_nearly_right_is_guessed(tmp_path):
    found, = find_faults(view(tmp_path, sound(), replace(
        TRAIN, classes=('red', 'geen', 'blue'))))[:1]
    assert "'green'" in found.text and '(geen)' in found.text


def test_nothing_scored_needs_no_objects(tmp_path):
    coco = sound()
    del coco['annotations']
    assert find_faults(view(tmp_path, coco, Use(classes=CLASSES, train=False))) == []


def test_boxes_alone_do_for_a_detector_without_masks(tmp_path):
    coco = sound()
    for row in coco['annotations']:
        del row['segmentation']
    assert find_faults(view(tmp_path, coco, Use(classes=CLASSES))) == []


def test_root_category_without_objects_does_no_harm(tmp_path):
    coco = sound()
    coco['categories'].insert(0, dict(id=0, name='project'))
    seen = view(tmp_path, coco)
    assert find_faults(seen) == [] and seen.classes == CLASSES
    assert sorted(set(seen.labels)) == [0, 1, 2]


def test_counts_are_those_of_a_loop(tmp_path):
    coco = sound(images=100)
    rng = np.random.default_rng(0)
    for row in coco['annotations']:
        row['bbox'] = [float(value) for value in rng.uniform(
            (-30, -30, -3, -3), (WIDTH + 9, HEIGHT + 9, 30, 30))]
    seen = view(tmp_path, coco)
    kept = []
    for row in coco['annotations']:
        x, y, w, h = row['bbox']
        across = max(0, min(x + w, WIDTH) - max(x, 0))
        down = max(0, min(y + h, HEIGHT) - max(y, 0))
        kept.append(across * down > 0 and w >= 1 and h >= 1)
    assert seen.kept.tolist() == kept and 0 < sum(kept) < len(kept)
    counts = seen.per_class()
    for label, name in enumerate(CLASSES):
        rows = [row for row, keep in zip(coco['annotations'], kept)
                if keep and row['category_id'] == 10 * (label + 1) and not row['iscrowd']]
        assert counts[label] == dict(name=name, objects=len(rows), images=len(
            {row['image_id'] for row in rows}))
