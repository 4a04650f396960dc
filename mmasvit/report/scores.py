"""COCO's scores of detections, by pycocotools."""
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmasvit.report.quiet import quiet

NAMES = ('AP', 'AP50', 'AP75', 'AP small', 'AP medium', 'AP large')


@dataclass(frozen=True)
class Scores:
    """Scores of boxes or of masks.

    Args:
        summary: COCO's six figures by name; None where there is nothing to score.
        by_class: AP, AP50 and AP75 of each class, in the order of the classes.
        recalls: The recalls that precision is known at, ``(101, )``.
        precisions: Precision at IoU 0.5 for each class, ``(101, )``; None without truths.
    """
    summary: Dict[str, Optional[float]]
    by_class: List[Dict[str, Optional[float]]]
    recalls: np.ndarray
    precisions: List[Optional[np.ndarray]]


def read_truth(ann_file: str) -> COCO:
    """Ground truth out of an annotation file that has been checked."""
    with quiet():
        return COCO(ann_file)


def read_found(truth: COCO, found: Sequence[dict], kind: str) -> COCO:
    """Detections as pycocotools has them; for masks their area is the mask's."""
    if kind == 'segm':
        found = [{key: value for key, value in one.items() if key != 'bbox'}
                 for one in found]
    else:
        found = [{key: value for key, value in one.items() if key != 'segmentation'}
                 for one in found]
    with quiet():
        if found:
            return truth.loadRes(found)
        empty = COCO()
        empty.dataset = dict(truth.dataset, annotations=[])
        empty.createIndex()
        return empty


def category_ids(truth: COCO, classes: Sequence[str]) -> List[int]:
    """Ids of the classes in the order that mmdet numbers its labels in."""
    return truth.getCatIds(catNms=list(classes))


def score(truth: COCO, found: COCO, kind: str, image_ids: Sequence[int],
          ids: Sequence[int], limits: Sequence[int] = (1, 10, 100)) -> Scores:
    """Score detections.

    Args:
        truth: Ground truth.
        found: Detections.
        kind: ``'bbox'`` or ``'segm'``.
        image_ids: Images that were looked at.
        ids: Categories, a class each.
        limits: Numbers of detections per image; COCO's AP counts 100.
    """
    evaluation = COCOeval(truth, found, kind)
    evaluation.params.imgIds, evaluation.params.catIds = list(image_ids), list(ids)
    evaluation.params.maxDets = list(limits)
    with quiet():
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval['precision']  # IoU, recall, class, area, limit
    # pycocotools sorts the categories
    place = {number: i for i, number in enumerate(evaluation.params.catIds)}
    by_class, curves = [], []
    for number in ids:
        some = precision[:, :, place[number], 0, -1]
        by_class.append(dict(AP=_mean(some), AP50=_mean(some[0]), AP75=_mean(some[5])))
        curves.append(some[0] if some[0].max(initial=-1) > -1 else None)
    summary = {name: None if value < 0 else float(value)
               for name, value in zip(NAMES, evaluation.stats)}
    return Scores(summary, by_class, evaluation.params.recThrs, curves)


def _mean(values: np.ndarray) -> Optional[float]:
    known = values[values > -1]
    return float(known.mean()) if known.size else None
