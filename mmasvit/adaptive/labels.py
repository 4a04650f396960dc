"""Token-length labels: the coarsest stride that is good enough for an image."""
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmasvit.arguments import one_of
from mmasvit.report.quiet import quiet

FALLBACKS = ('finest', 'coarsest', 'drop')
DROPPED = -1
MARGIN = 0.02


def classification_labels(right: np.ndarray, fallback: str = 'finest') -> np.ndarray:
    """The coarsest stride whose prediction is right.

    Args:
        right: Whether it is ``(images, strides)``, the coarsest stride first.
        fallback: For images that none has right: ``'finest'``, ``'coarsest'`` or
            ``'drop'``.

    Returns:
        Places among the strides ``(images,)``; :data:`DROPPED` for dropped ones.
    """
    one_of('fallback', fallback, FALLBACKS)
    right = np.asarray(right, bool)
    otherwise = dict(finest=right.shape[1] - 1, coarsest=0, drop=DROPPED)[fallback]
    return np.where(right.any(1), right.argmax(1), otherwise)


def detection_labels(quality: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """The coarsest stride whose quality is within ``margin`` of the finest's.

    Args:
        quality: Of each image at each stride ``(images, strides)``, the coarsest first.
        margin: What may be lost.

    Returns:
        Places among the strides ``(images,)``.
    """
    quality = np.asarray(quality, float)
    # 0.98 is within 0.02 of 1, whatever floats make of it
    return (quality >= quality[:, -1:] - margin - 1e-9).argmax(1)


@dataclass(frozen=True)
class Matches:
    """What pycocotools' matching says of an image's detections.

    Args:
        scores: Of the detections ``(D,)``.
        hit: Whether each has an object of its own, at each IoU ``(T, D)``.
        ignored: Whether it counts neither way, as in crowd regions ``(T, D)``.
        objects: Number of objects that count.
    """
    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    objects: int

    def quality(self, threshold: float) -> float:
        """F1 of the detections of at least a score, its mean over IoU 0.50:0.05:0.95.

        Of an image without objects it is 1 without detections, and 0 with any.
        """
        counted = (self.scores >= threshold) & ~self.ignored
        hits, found = (self.hit & counted).sum(1), counted.sum(1)
        # 2 TP + FP + FN = found + objects
        total = found + self.objects
        return float(np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.).mean())


def match(annotations: COCO, found: Sequence[dict], kind: str = 'bbox'
          ) -> Dict[int, Matches]:
    """Match detections with objects by pycocotools' own rules.

    Args:
        annotations: The objects.
        found: Detections in COCO's results format.
        kind: ``'bbox'`` or ``'segm'``.

    Returns:
        For each image id its matches.
    """
    parts: Dict[int, List[dict]] = {number: [] for number in annotations.getImgIds()}
    evaluation = evaluate(annotations, found, kind)
    iou_thresholds = len(evaluation.params.iouThrs)
    every = list(evaluation.params.areaRng[0])
    for part in evaluation.evalImgs:
        if part is not None and list(part['aRng']) == every:
            parts[part['image_id']].append(part)
    return {number: Matches(
        np.concatenate([np.zeros(0), *(part['dtScores'] for part in own)]),
        _columns([part['dtMatches'] > 0 for part in own], iou_thresholds),
        _columns([part['dtIgnore'] for part in own], iou_thresholds),
        int(sum((np.asarray(part['gtIgnore']) == 0).sum() for part in own)),
    ) for number, own in parts.items()}


def average_precision(annotations: COCO, found: Sequence[dict], kind: str,
                      images: Sequence[int]) -> float:
    """COCO's AP over some of the images, arguments as of :func:`match`."""
    with quiet():
        evaluation = evaluate(annotations, found, kind, images)
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def evaluate(annotations: COCO, found: Sequence[dict], kind: str,
             images: Optional[Sequence[int]] = None) -> COCOeval:
    """A ``COCOeval`` after its ``evaluate``, of detections that may be none."""
    with quiet():
        if found:
            # loadRes writes into the entries it is given
            results = annotations.loadRes([dict(one) for one in found])
        else:
            results = COCO()
            results.dataset = dict(annotations.dataset, annotations=[])
            results.createIndex()
        evaluation = COCOeval(annotations, results, kind)
        if images is not None:
            evaluation.params.imgIds = list(images)
        evaluation.evaluate()
    return evaluation


def _columns(tables: Sequence[np.ndarray], rows: int) -> np.ndarray:
    return np.concatenate([np.zeros((rows, 0), bool),
                           *(np.asarray(table, bool) for table in tables)], axis=1)


def best_threshold(matches: Sequence[Matches]) -> float:
    """The score that maximises F1 over a set, its mean over IoU 0.50:0.05:0.95.

    Args:
        matches: Of all images, at the finest stride.

    Returns:
        The threshold; infinity where nothing was found that counts.
    """
    scores = np.concatenate([one.scores for one in matches])
    if not len(scores):
        return float('inf')
    order = np.argsort(-scores, kind='stable')
    hit, ignored = (np.concatenate([getattr(one, name) for one in matches], axis=1)
                    [:, order] for name in ('hit', 'ignored'))
    hits, found = (hit & ~ignored).cumsum(1), (~ignored).cumsum(1)
    total = found + sum(one.objects for one in matches)
    f1 = (2 * hits / np.maximum(total, 1)).mean(0)
    scores = scores[order]
    last_of_ties = np.append(scores[1:] < scores[:-1], True)
    best = np.where(last_of_ties, f1, -1.).argmax()
    return float(scores[best])
