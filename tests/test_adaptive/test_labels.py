"""Quality of an image's detections, and the label that follows."""
import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from helpers import make_coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmasvit.adaptive.label_file import read_labels
from mmasvit.adaptive.labels import (Matches, best_threshold, classification_labels,
                                     detection_labels, match)
from mmasvit.errors import InputError


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
    """Eight images with three objects each; one has none, one a crowd only."""
    folder = tmp_path_factory.mktemp('coco')
    coco = make_coco(folder / 'a.json', folder, images=8, size=(96, 96), seed=3)
    coco['annotations'] = [one for one in coco['annotations'] if one['image_id'] != 1]
    for one in coco['annotations']:
        one['iscrowd'] = int(one['image_id'] == 2)
        if one['iscrowd']:
            one['segmentation'] = dict(size=[96, 96], counts=[0, 96 * 96])
    (folder / 'a.json').write_text(json.dumps(coco))
    with redirect_stdout(io.StringIO()):
        return COCO(str(folder / 'a.json'))


def detections(annotations, jitter, seed=0, extra=2):
    """Objects shifted by some pixels, and boxes where there are none."""
    rng, found = np.random.default_rng(seed), []
    for one in annotations.dataset['annotations']:
        shift = rng.integers(-jitter, jitter + 1, 2)
        box = np.array(one['bbox']) + np.append(shift, [0, 0])
        found.append(dict(image_id=one['image_id'], category_id=one['category_id'],
                          bbox=box.tolist(), score=float(rng.uniform(0.3, 1))))
    for image in annotations.getImgIds()[1:]:
        for _ in range(extra):
            found.append(dict(image_id=image, category_id=1, score=float(rng.random()),
                              bbox=[*rng.integers(0, 60, 2).tolist(), 20, 20]))
    return found


def test_perfect_detections_and_none(annotations):
    for found, quality in ((detections(annotations, 0, extra=0), 1.), ([], 0.)):
        matches = match(annotations, found)
        assert set(matches) == set(annotations.getImgIds())
        for number, one in matches.items():
            without = number in (1, 2)  # nothing there, or a crowd that is ignored
            assert one.quality(0.) == (1. if without else quality)


def test_detections_where_there_is_nothing():
    one = Matches(np.array([.7]), np.zeros((10, 1), bool),
                  np.zeros((10, 1), bool), 0)
    assert (one.quality(.5), one.quality(.8)) == (0., 1.)


def test_counts_of_hits_are_those_of_pycocotools(annotations):
    found = detections(annotations, 2)
    matches = match(annotations, found)
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(annotations, annotations.loadRes(
            [dict(one) for one in found]), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
    # recall of all detections at each IoU, both ways, categories together
    objects = sum(one.objects for one in matches.values())
    recall = evaluation.eval['recall'][:, :, 0, -1]
    per_class = [sum(not one['iscrowd'] and one['category_id'] == c
                     for one in annotations.dataset['annotations']) for c in (1, 2)]
    hits = sum((one.hit & ~one.ignored).sum(1) for one in matches.values())
    np.testing.assert_allclose(hits, recall @ per_class, atol=1e-9)
    assert objects == sum(per_class) and hits[-1] < hits[0]


def test_best_threshold_is_the_best_of_all(annotations):
    found = detections(annotations, 4, extra=6)
    for one in found[::3]:
        one['score'] = 0.5  # ties
    matches = list(match(annotations, found).values())

    def f1(threshold):
        counted = [(m.scores >= threshold) & ~m.ignored for m in matches]
        hits = sum((m.hit & c).sum(1) for m, c in zip(matches, counted))
        number = sum(c.sum(1) for c in counted)
        return (2 * hits / (number + sum(m.objects for m in matches))).mean()

    best = best_threshold(matches)
    every = sorted({one['score'] for one in found})
    assert best in every and f1(best) == max(map(f1, every)) > f1(every[0])
    assert best_threshold(list(match(annotations, []).values())) == float('inf')


def test_detection_label_is_the_coarsest_within_the_margin():
    quality = [[.9, .95, .96], [.97, .2, .98], [.98, .99, 1.], [.5, .5, .9], [1, 0, .5]]
    assert detection_labels(quality).tolist() == [1, 0, 0, 2, 0]
    assert detection_labels(quality, 0.).tolist() == [2, 2, 2, 2, 0]


def test_classification_label_is_the_coarsest_that_is_right():
    right = [[1, 0, 1], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    for fallback, last in (('finest', 2), ('coarsest', 0), ('drop', -1)):
        assert classification_labels(right, fallback).tolist() == [0, 1, 2, last]
    with pytest.raises(InputError, match='fallback must be one of'):
        classification_labels(right, 'none')


@pytest.mark.parametrize('text, line', [
    (None, 'No such file'), ('{', 'is damaged'), ('{"checkpoint": "b"}', 'has no token'),
    ('{"checkpoint": "b", "token_strides": [4], "images": {}}', 'of another model')])
def test_bad_label_file(tmp_path, text, line):
    if text is not None:
        (tmp_path / 'labels.json').write_text(text)
    with pytest.raises(InputError, match=line):
        read_labels(tmp_path / 'labels.json', 'a')
