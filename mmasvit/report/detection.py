"""The sections of a detector's page that need its detections."""
from dataclasses import dataclass
from typing import Dict, List, Sequence

import numpy as np
from pycocotools.coco import COCO

from mmasvit.report import charts, matches, pictures
from mmasvit.report.page import (Bar, Block, Chart, Charts, Gallery, Matrix, Section,
                                 Table, Text, Tile, number)
from mmasvit.report.detector_run import Detections
from mmasvit.report.scores import Scores, category_ids, read_found, read_truth, score

WORDS = dict(bbox='box', segm='mask')
DEFAULT_THRESHOLD = 0.3  # where nothing is right at any
MAX_CLASSES = 25  # of a confusion matrix that a person can read
WORST, BEST = 8, 4  # pictures


@dataclass(frozen=True)
class Evaluation:
    """Detections, scored and judged.

    Args:
        truth: Ground truth.
        names: Names of the classes, in the order of their labels.
        ids: Their categories.
        scores: By kind, ``'bbox'`` and perhaps ``'segm'``.
        thresholds: Precision and recall over the scores, of the boxes.
        threshold: The score from which detections were judged.
        images: What became of each image's boxes.
        crowded: The largest number of detections in an image.
    """
    truth: COCO
    names: List[str]
    ids: List[int]
    scores: Dict[str, Scores]
    thresholds: matches.Thresholds
    threshold: float
    images: List[matches.ImageOutcome]
    crowded: int


def evaluate(detections: Detections) -> Evaluation:
    """Score detections and judge each."""
    truth = read_truth(detections.ann_file)
    ids = category_ids(truth, detections.classes)
    image_ids = [image.id for image in detections.images]
    found = {kind: read_found(truth, detections.found, kind)
             for kind in {'bbox', *detections.kinds}}
    scores = {kind: score(truth, found[kind], kind, image_ids, ids, detections.limits)
              for kind in detections.kinds}
    boxes = found['bbox']
    matched = matches.match(truth, boxes, 'bbox', image_ids, ids, detections.limits[-1])
    over_scores = matches.thresholds(truth, boxes, matched, image_ids, ids)
    threshold = over_scores.best or DEFAULT_THRESHOLD
    images = matches.judge(truth, boxes, matched, 'bbox', image_ids, ids, threshold)
    # mmdet hands labels to categories in the file's order: so are the names
    names = [str(truth.cats[one]['name']) for one in ids]
    crowded = max((len(boxes.imgToAnns[one]) for one in image_ids), default=0)
    return Evaluation(truth, names, ids, scores, over_scores, threshold, images, crowded)


def score_tiles(evaluation: Evaluation) -> List[Tile]:
    """The scores to see first."""
    return [Tile(f'{WORDS[kind]} AP', number(scores.summary['AP']),
                 f'AP50 {number(scores.summary["AP50"])}, '
                 f'AP75 {number(scores.summary["AP75"])}')
            for kind, scores in sorted(evaluation.scores.items())]


def sections(detections: Detections, evaluation: Evaluation) -> List[Section]:
    """Scores, curves, confusion, errors and pictures, in this order."""
    return [_score_section(detections, evaluation), _curve_section(evaluation),
            _error_section(evaluation), _confusion_section(evaluation),
            _picture_section(detections, evaluation)]


def _score_section(detections: Detections, evaluation: Evaluation) -> Section:
    kinds = sorted(evaluation.scores)
    columns = list(evaluation.scores[kinds[0]].summary)
    overall = Table(
        ['', *columns], [[WORDS[kind], *map(number, evaluation.scores[kind]
                                            .summary.values())] for kind in kinds])
    objects = _objects(evaluation)
    rows = []
    for i, (name, category) in enumerate(zip(evaluation.names, evaluation.ids)):
        row = [name, f'{objects[category]:,}']
        for kind in kinds:
            values = evaluation.scores[kind].by_class[i]
            row += [Bar(number(values['AP']), values['AP'] or 0), number(values['AP50'])]
        rows.append((evaluation.scores[kinds[0]].by_class[i]['AP'], row))
    # classes without objects last
    rows.sort(key=lambda pair: (pair[0] is None, -(pair[0] or 0)))
    header = ['class', 'objects']
    for kind in kinds:
        header += [f'{WORDS[kind]} AP', 'AP50']
    blocks: List[Block] = [overall, Table(header, [row for _, row in rows], shown=20)]
    if evaluation.crowded > 100:
        blocks.append(Text(
            "COCO's AP counts the 100 surest detections of an image; here an image has up "
            f'to {evaluation.crowded}.'))
    return Section('Average precision', blocks,
                   f'{len(detections.images)} held-out images, '
                   f'{sum(objects.values()):,} objects, scored by pycocotools. Small is '
                   'below 32² pixels, large above 96².')


def _objects(evaluation: Evaluation) -> Dict[int, int]:
    """Objects of each category in the images looked at."""
    counts = dict.fromkeys(evaluation.ids, 0)
    for image in evaluation.images:
        for one in evaluation.truth.imgToAnns[image.image_id]:
            if one['category_id'] in counts and not one['iscrowd']:
                counts[one['category_id']] += 1
    return counts


def _curve_section(evaluation: Evaluation) -> Section:
    drawn = []
    for kind, scores in sorted(evaluation.scores.items()):
        known = {name: curve for name, curve in zip(evaluation.names, scores.precisions)
                 if curve is not None}
        if not known:
            continue
        many = len(known) >= len(charts.SERIES)
        series, faint = {}, []
        if len(known) > 1:
            series['mean of classes'] = (scores.recalls, np.mean(list(known.values()), axis=0))
        for name, curve in known.items():
            # a name may begin with matplotlib's sign for "not in the legend"
            label = f'_{name}' if many else name.lstrip('_') or name
            series[label] = (scores.recalls, curve)
            faint += [label] if many else []
        drawn.append(Chart(
            f'Precision over recall, {WORDS[kind]}es' if kind == 'bbox' else
            'Precision over recall, masks', charts.lines(
                series, 'recall', 'precision', y_limits=(0, 1.02), x_limits=(0, 1.02),
                faint=faint), 'at IoU 0.5' + (', a thin line per class' if many else '')))
    over = evaluation.thresholds
    if len(over.scores) > 1:
        drawn.append(Chart('What a score is worth', charts.lines(
            {'precision': (over.scores, over.precision),
             'recall': (over.scores, over.recall), 'F1': (over.scores, over.f1)},
            'least score of a detection that counts', y_limits=(0, 1.02),
            x_limits=(0, 1.02)),
            f'boxes at IoU 0.5, all classes; F1 is highest at {evaluation.threshold:.2f}'))
    return Section('Precision and recall', [Charts(drawn)] if drawn else [
        Text('There is nothing to draw: no object, or no detection.')])


def _error_section(evaluation: Evaluation) -> Section:
    counts = matches.count_errors(evaluation.images)
    right = sum(image.right for image in evaluation.images)
    total = max(1, max(counts.values()), right)
    meanings = dict(matches.ERRORS, missed='objects that no detection is on')
    rows = [['right', 'an object of this class, IoU at least 0.5',
             Bar(f'{right:,}', right / total)]]
    rows += [[kind, meanings[kind], Bar(f'{count:,}', count / total)]
             for kind, count in sorted(counts.items(), key=lambda item: -item[1])]
    return Section('Kinds of error', [Table(['', '', 'number'], rows, text_columns=2)],
                   f'Boxes that score at least {evaluation.threshold:.2f}, where F1 is '
                   'highest; kinds as in TIDE.')


def _confusion_section(evaluation: Evaluation) -> Section:
    counts = matches.confusion(evaluation.images, evaluation.ids)
    blocks: List[Block] = []
    if len(evaluation.names) <= MAX_CLASSES:
        shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
        shares[-1] = counts[-1] / np.maximum(1, counts.sum(0))
        blocks.append(Matrix(
            [*evaluation.names, 'background'], [*evaluation.names, 'missed'],
            counts.tolist(), shares.tolist(), 'Shaded by share of the row. Background: '
            'detections that are on no object of their own, shaded by share of the '
            'column.'))
    blocks += _confused(counts, evaluation.names)
    return Section('Confusion', blocks, f'Boxes that score at least '
                   f'{evaluation.threshold:.2f}, IoU at least 0.5.')


def _confused(counts: np.ndarray, names: Sequence[str], most: int = 10) -> List[Block]:
    """The pairs of classes most often taken for each other."""
    pairs = [(counts[i, j], i, j) for i in range(len(names)) for j in range(len(names))
             if i != j and counts[i, j]]
    if not pairs or len(names) < 3:
        return []
    rows = [[names[i], names[j], f'{count:,}', f'{100 * count / counts[i].sum():.1f} %']
            for count, i, j in sorted(pairs, key=lambda pair: -pair[0])[:most]]
    return [Table(['object', 'taken for', 'times', 'of its objects'], rows,
                  text_columns=2)]


def _picture_section(detections: Detections, evaluation: Evaluation) -> Section:
    paths = {image.id: image.path for image in detections.images}
    masks = detections.found if 'segm' in evaluation.scores else None
    some = [image for image in evaluation.images if image.objects or image.outcomes]
    ranked = sorted(some, key=lambda image: (
        image.f1, -(image.wrong + len(image.missed)), image.image_id))
    worst = [image for image in ranked[:WORST] if image.f1 < 1]
    left = [image for image in ranked if image not in worst]
    best = sorted(left, key=lambda image: (-image.f1, -image.objects))[:BEST]
    blocks: List[Block] = []
    for images, caption in ((worst, 'The worst'), (best, 'The best')):
        drawn = [picture for picture in (
            pictures.draw(paths[image.image_id], image, evaluation.truth, masks)
            for image in images) if picture]
        if drawn:
            blocks.append(Gallery(drawn, caption, legend=not blocks))
    return Section('Pictures', blocks or [Text('The images cannot be read any more.')],
                   'Ranked by F1 of the image. Point at a box to read what it is.')
