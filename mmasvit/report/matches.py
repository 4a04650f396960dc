"""What became of each detection and of each object: right, wrong in what way, missed.

pycocotools matches detections to objects of their class at IoU 0.5, as for AP50. Here the
detections that it leaves over get the kind of their error, as in TIDE (Bolya et al., ECCV
2020), by the object that explains them best.
"""
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import pycocotools.mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmasvit.report.quiet import quiet

IOU = 0.5  # overlap that makes a detection right
NEAR = 0.1  # overlap below which it is on background
ERRORS = dict(
    classification='on an object, of the wrong class',
    localisation=f'of the right class, IoU {NEAR} to {IOU}',
    both=f'of the wrong class, IoU {NEAR} to {IOU}',
    duplicate='on an object that a surer detection has found',
    background=f'on nothing: IoU below {NEAR} with every object')


@dataclass(frozen=True)
class Outcome:
    """A detection and what it is.

    Args:
        found: The detection in COCO's format.
        kind: ``'right'``, a key of :data:`ERRORS`, or ``'crowd'``: in a region marked
            as a crowd, where nothing counts.
        truth: The object that it is, for what is right; for errors of class and of place
            the one it was meant for, if no other detection has found that.
    """
    found: dict
    kind: str
    truth: Optional[dict] = None


@dataclass(frozen=True)
class ImageOutcome:
    """An image's detections, the surest first, and the objects without one."""
    image_id: int
    outcomes: List[Outcome]
    missed: List[dict]
    objects: int

    @property
    def right(self) -> int:
        """Number of detections that are right."""
        return sum(outcome.kind == 'right' for outcome in self.outcomes)

    @property
    def wrong(self) -> int:
        """Number of detections that are wrong."""
        return sum(outcome.kind in ERRORS for outcome in self.outcomes)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where there is nothing at all."""
        total = self.right + self.wrong + self.objects
        return 2 * self.right / total if total else 1.


@dataclass(frozen=True)
class Matched:
    """pycocotools' matches at one overlap.

    Args:
        truths: Object that a detection is, by the detection's id.
        crowd: Ids of detections that do not count.
    """
    truths: Dict[int, int]
    crowd: frozenset


def match(truth: COCO, found: COCO, kind: str, image_ids: Sequence[int],
          ids: Sequence[int], limit: int = 100) -> Matched:
    """Match detections to objects of their class.

    The surest is matched first, so the matches among detections above any score are
    the same as without the others.

    Args:
        truth: Ground truth.
        found: Detections.
        kind: ``'bbox'`` or ``'segm'``.
        image_ids: Images that were looked at.
        ids: Categories.
        limit: Detections per image and class that count.
    """
    evaluation = COCOeval(truth, found, kind)
    params = evaluation.params
    params.imgIds, params.catIds = list(image_ids), list(ids)
    params.iouThrs, params.maxDets = np.array([IOU]), [limit]
    params.areaRng, params.areaRngLbl = [[0, 1e10]], ['all']
    with quiet():
        evaluation.evaluate()
    truths, crowd = {}, set()
    for image in filter(None, evaluation.evalImgs):
        for number, matched, ignored in zip(image['dtIds'], image['dtMatches'][0],
                                            image['dtIgnore'][0]):
            if ignored:
                crowd.add(number)
            elif matched:
                truths[number] = int(matched)
    return Matched(truths, frozenset(crowd))


def judge(truth: COCO, found: COCO, matched: Matched, kind: str, image_ids: Sequence[int],
          ids: Sequence[int], threshold: float) -> List[ImageOutcome]:
    """What became of all detections of at least a score, image by image."""
    return [_judge_image(truth, found, matched, kind, number, ids, threshold)
            for number in image_ids]


def _judge_image(truth: COCO, found: COCO, matched: Matched, kind: str, image_id: int,
                 ids: Sequence[int], threshold: float) -> ImageOutcome:
    objects = [one for one in truth.imgToAnns[image_id]
               if one['category_id'] in ids and not one['iscrowd']]
    detections = sorted((one for one in found.imgToAnns[image_id]
                         if one['score'] >= threshold), key=lambda one: -one['score'])
    overlaps = _overlaps(truth, detections, objects, kind)
    same = np.array([[one['category_id'] == other['category_id'] for other in objects]
                     for one in detections], bool).reshape(overlaps.shape)
    by_id = {one['id']: one for one in objects}
    taken = {matched.truths[one['id']] for one in detections
             if one['id'] in matched.truths}
    free = np.array([one['id'] not in taken for one in objects], bool)
    outcomes = []
    for i, one in enumerate(detections):
        if one['id'] in matched.truths:
            outcomes.append(Outcome(one, 'right', by_id[matched.truths[one['id']]]))
        elif one['id'] in matched.crowd:
            outcomes.append(Outcome(one, 'crowd'))
        else:
            name, place = _explain(overlaps[i], same[i], free)
            meant = None
            if place is not None:
                meant, free[place] = objects[place], False
            outcomes.append(Outcome(one, name, meant))
    met = {outcome.truth['id'] for outcome in outcomes if outcome.truth
           and outcome.kind in ('right', 'classification')}
    return ImageOutcome(image_id, outcomes, [one for one in objects
                                             if one['id'] not in met], len(objects))


def _explain(overlap: np.ndarray, same: np.ndarray,
             free: np.ndarray) -> Tuple[str, Optional[int]]:
    """Kind of error of a detection, and the object without one that it was meant for.

    Args:
        overlap: IoU with each object, ``(objects, )``.
        same: Whether each is of the detection's class.
        free: Whether none has found it.
    """
    def best(among: np.ndarray) -> Tuple[float, int]:
        values = np.where(among, overlap, -1.)
        place = int(values.argmax()) if len(values) else -1
        return (values[place] if len(values) else -1.), place

    for name, fitting, least, meant in (
            ('duplicate', same, IOU, False), ('classification', ~same, IOU, True),
            ('localisation', same, NEAR, True), ('both', ~same, NEAR, False)):
        if best(fitting)[0] >= least:
            value, place = best(fitting & free)
            return name, place if meant and value >= least else None
    return 'background', None


def _overlaps(truth: COCO, detections: Sequence[dict], objects: Sequence[dict],
              kind: str) -> np.ndarray:
    """IoU of every detection with every object, ``(detections, objects)``."""
    if not detections or not objects:
        return np.zeros((len(detections), len(objects)))
    if kind == 'segm':
        shapes = ([one['segmentation'] for one in detections],
                  [truth.annToRLE(one) for one in objects])
    else:
        shapes = ([one['bbox'] for one in detections], [one['bbox'] for one in objects])
    return np.asarray(pycocotools.mask.iou(*shapes, [0] * len(objects)))


def count_errors(images: Sequence[ImageOutcome]) -> Dict[str, int]:
    """Number of detections of each kind of error, and of objects missed."""
    counts = dict.fromkeys([*ERRORS, 'missed'], 0)
    for image in images:
        for outcome in image.outcomes:
            if outcome.kind in ERRORS:
                counts[outcome.kind] += 1
        counts['missed'] += len(image.missed)
    return counts


def confusion(images: Sequence[ImageOutcome], ids: Sequence[int]) -> np.ndarray:
    """Objects by their class and by that of the detection on them.

    Returns:
        ``(classes + 1, classes + 1)`` int64; the last column counts objects missed, the
        last row detections that are on no object of their own.
    """
    place = {number: i for i, number in enumerate(ids)}
    counts = np.zeros((len(ids) + 1, len(ids) + 1), np.int64)
    for image in images:
        for outcome in image.outcomes:
            if outcome.kind == 'crowd':
                continue
            column = place[outcome.found['category_id']]
            met = outcome.truth and outcome.kind in ('right', 'classification')
            counts[place[outcome.truth['category_id']] if met else -1, column] += 1
        for one in image.missed:
            counts[place[one['category_id']], -1] += 1
    return counts


@dataclass(frozen=True)
class Thresholds:
    """Precision, recall and F1 of all that scores at least each threshold."""
    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def best(self) -> Optional[float]:
        """The score with the highest F1; None if nothing is right at any."""
        if not len(self.f1) or self.f1.max() <= 0:
            return None
        return float(self.scores[self.f1.argmax()])


def thresholds(truth: COCO, found: COCO, matched: Matched, image_ids: Sequence[int],
               ids: Sequence[int]) -> Thresholds:
    """Precision and recall over all classes, for each score that occurs."""
    wanted = set(image_ids)
    objects = sum(one['image_id'] in wanted and one['category_id'] in ids
                  and not one['iscrowd'] for one in truth.anns.values())
    counted = [(one['score'], number in matched.truths)
               for number, one in found.anns.items() if number not in matched.crowd]
    scores = np.array([score for score, _ in counted])
    order = np.argsort(-scores, kind='stable')
    scores, right = scores[order], np.array([hit for _, hit in counted], bool)[order]
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / max(1, objects)
    last = np.append(np.diff(scores) != 0, True) if len(scores) else np.zeros(0, bool)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    return Thresholds(scores[last], precision[last], recall[last], f1[last])
