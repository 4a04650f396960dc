"""What becomes of detections: planted errors, and laws that hold for any."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from mmasvit.report import matches
from mmasvit.report.quiet import quiet
from mmasvit.report.scores import read_found


def coco(objects, detections, classes=3):
    """Ground truth and detections out of (image, category, box[, crowd]) and
    (image, category, box, score)."""
    truth = COCO()
    boxes = [dict(id=number, image_id=image, category_id=category, bbox=list(box),
                  area=box[2] * box[3], iscrowd=int(bool(crowd)),
                  segmentation=dict(size=[100, 100], counts=[10000]) if crowd else [])
             for number, (image, category, box, *crowd) in enumerate(objects, 1)]
    truth.dataset = dict(
        images=[dict(id=number, width=100, height=100, file_name='')
                for number in (1, 2)],
        categories=[dict(id=number, name=f'c{number}')
                    for number in range(1, classes + 1)], annotations=boxes)
    with quiet():
        truth.createIndex()
    found = [dict(image_id=image, category_id=category, bbox=list(box), score=score)
             for image, category, box, score in detections]
    return truth, read_found(truth, found, 'bbox')


def judged(objects, detections, threshold=0.):
    truth, found = coco(objects, detections)
    matched = matches.match(truth, found, 'bbox', [1, 2], [1, 2, 3])
    images = matches.judge(truth, found, matched, 'bbox', [1, 2], [1, 2, 3], threshold)
    return images, matches.confusion(images, [1, 2, 3]).tolist(), {
        kind: count for kind, count in matches.count_errors(images).items() if count}


OBJECTS = [(1, 1, (0, 0, 20, 20)), (1, 2, (40, 0, 20, 20)), (2, 3, (0, 50, 20, 20))]


def test_perfect_detections():
    images, confusion, errors = judged(OBJECTS, [(*one, .9) for one in OBJECTS])
    assert confusion == np.diag([1, 1, 1, 0]).tolist() and not errors
    assert [image.f1 for image in images] == [1, 1]


def test_swapped_classes():
    swap = {1: 2, 2: 1, 3: 3}
    _, confusion, errors = judged(
        OBJECTS, [(image, swap[category], box, .9) for image, category, box in OBJECTS])
    assert confusion == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert errors == dict(classification=2)


def test_shifted_boxes():
    """Half a box aside: IoU 1/3 with the object that was meant."""
    _, confusion, errors = judged(OBJECTS, [
        (image, category, (x + 10, y, width, height), .9)
        for image, category, (x, y, width, height) in OBJECTS])
    assert confusion == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [1, 1, 1, 0]]
    assert errors == dict(localisation=3, missed=3)


def test_missed_objects_and_scores_below_the_threshold():
    detections = [(*OBJECTS[0], .9), (*OBJECTS[1], .4)]
    _, confusion, errors = judged(OBJECTS, detections, threshold=.5)
    assert confusion == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    assert errors == dict(missed=2)
    assert judged(OBJECTS, [])[1] == [[0, 0, 0, 1]] * 3 + [[0] * 4]
    assert judged([], [(*OBJECTS[0], .9)])[2] == dict(background=1)


def test_each_kind_of_error():
    _, confusion, errors = judged(OBJECTS, [
        (*OBJECTS[0], .9), (*OBJECTS[0], .8),           # found, and found again
        (1, 3, (40, 0, 20, 20), .9),                    # of the wrong class
        (2, 1, (10, 50, 20, 20), .9),                   # wrong class and place
        (1, 1, (70, 70, 20, 20), .9)])                  # nothing there
    assert errors == dict(duplicate=1, classification=1, both=1, background=1, missed=1)
    assert confusion == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [3, 0, 0, 0]]


def test_a_crowd_neither_helps_nor_harms():
    crowd = (1, 1, (0, 0, 100, 100), True)
    images, confusion, errors = judged([crowd, *OBJECTS[1:]], [
        (*OBJECTS[1], .9), (*OBJECTS[2], .9), (1, 1, (70, 70, 20, 20), .9)])
    assert not errors and np.array(confusion).sum() == 2
    assert sum(image.objects for image in images) == 2


boxes = st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 4),
                  st.integers(1, 4)).map(lambda box: tuple(10 * side for side in box))
objects = st.tuples(st.integers(1, 2), st.integers(1, 3), boxes)


@settings(max_examples=60, deadline=None)
@given(st.lists(objects, max_size=8), st.lists(st.tuples(
    objects, st.integers(1, 99)).map(lambda one: (*one[0], one[1] / 100)), max_size=8))
def test_everything_is_counted_once_and_two_ways_agree(things, detections):
    truth, found = coco(things, detections)
    matched = matches.match(truth, found, 'bbox', [1, 2], [1, 2, 3])
    over = matches.thresholds(truth, found, matched, [1, 2], [1, 2, 3])
    for i, threshold in enumerate(over.scores):
        images = matches.judge(truth, found, matched, 'bbox', [1, 2], [1, 2, 3],
                               threshold)
        counts = matches.confusion(images, [1, 2, 3])
        assert counts[:3].sum(1).tolist() == [
            sum(one[1] == category for one in things) for category in (1, 2, 3)]
        assert counts[:, :3].sum(0).tolist() == [
            sum(one[1] == category and one[3] >= threshold for one in detections)
            for category in (1, 2, 3)]
        right, claimed = counts.trace(), counts[:, :3].sum()
        assert over.precision[i] == pytest.approx(right / claimed)
        assert over.recall[i] == pytest.approx(right / max(1, len(things)))
        errors = matches.count_errors(images)
        assert right + sum(errors.values()) - errors['missed'] == claimed
