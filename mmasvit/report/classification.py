"""The sections of a classifier's page that need its predictions."""
from typing import Callable, List, Tuple

import numpy as np

from mmasvit.report.classifier_run import TOP, Predictions
from mmasvit.report.page import (Bar, Block, Gallery, Matrix, Panel, Picture, Section,
                                 Table, Text, Tile)
from mmasvit.report.pictures import data_uri

MAX_CLASSES = 25  # of a confusion matrix that a person can read
WORST = 24  # pictures
LONGEST = 200  # side of each in pixels


def confusion(predictions: Predictions) -> np.ndarray:
    """Images by their label and by the predicted one, ``(classes, classes)`` int64."""
    number = len(predictions.classes)
    counts = np.zeros((number, number), np.int64)
    np.add.at(counts, (predictions.truth, predictions.predicted), 1)
    return counts


def score_tiles(predictions: Predictions) -> List[Tile]:
    """The scores to see first."""
    right = np.equal(predictions.truth, predictions.predicted)
    tiles = [Tile('accuracy', f'{100 * right.mean():.1f} %',
                  f'{right.sum():,} of {len(right):,} held-out images')]
    if len(predictions.classes) > TOP:
        tiles.append(Tile(f'among the first {TOP}',
                          f'{100 * np.mean(predictions.among_top):.1f} %'))
    return tiles


def sections(predictions: Predictions,
             read_images: Callable[[List[int]], List[Tuple[str, np.ndarray]]]
             ) -> List[Section]:
    """Accuracy by class, confusion, and the images that went most wrong.

    Args:
        predictions: The predictions.
        read_images: Gives names and pixels of the images at given places.
    """
    counts = confusion(predictions)
    return [_class_section(predictions.classes, counts),
            _confusion_section(predictions.classes, counts),
            _picture_section(predictions, read_images)]


def _class_section(names: List[str], counts: np.ndarray) -> Section:
    images, claimed, right = counts.sum(1), counts.sum(0), counts.diagonal()
    rows = []
    for i in np.lexsort((np.arange(len(names)), -right / np.maximum(1, images))):
        row = [names[i], f'{images[i]:,}']
        for of in (images[i], claimed[i]):
            share = right[i] / of if of else 0.
            row.append(Bar(f'{100 * share:.1f} %' if of else '–', share))
        rows.append(row)
    return Section('Accuracy by class', [Table(
        ['class', 'images', 'recall', 'precision'], rows, shown=20)],
        'Recall: its images that are named so. Precision: images named so that are its.')


def _confusion_section(names: List[str], counts: np.ndarray) -> Section:
    blocks: List[Block] = []
    if len(names) <= MAX_CLASSES:
        shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
        blocks.append(Matrix(names, names, counts.tolist(), shares.tolist(),
                             'Shaded by share of the row.'))
    pairs = [(int(counts[i, j]), i, j) for i, j in zip(*np.nonzero(counts)) if i != j]
    if pairs and len(names) > 2:
        blocks.append(Table(['class', 'taken for', 'times', 'of its images'], [
            [names[i], names[j], f'{count:,}', f'{100 * count / counts[i].sum():.1f} %']
            for count, i, j in sorted(pairs, key=lambda pair: -pair[0])[:10]],
            text_columns=2))
    return Section('Confusion', blocks)


def _picture_section(predictions: Predictions, read_images) -> Section:
    wrong = np.flatnonzero(np.not_equal(predictions.truth, predictions.predicted))
    if not len(wrong):
        return Section('Worst images', [Text('No image is named wrongly.')])
    of_truth = np.array(predictions.probability_of_truth)[wrong]
    places = wrong[np.argsort(of_truth, kind='stable')][:WORST].tolist()
    drawn = []
    for place, (name, pixels) in zip(places, read_images(places)):
        said = predictions.classes[predictions.predicted[place]]
        title = (f'{said} {predictions.probability[place]:.2f}; it is '
                 f'{predictions.classes[predictions.truth[place]]} '
                 f'{predictions.probability_of_truth[place]:.2f}')
        drawn.append(Picture(name, '', data_uri(pixels, LONGEST), pixels.shape[1],
                             pixels.shape[0], [Panel(title, ())]))
    return Section('Worst images', [Gallery(drawn, size='small')],
                   f'{len(wrong):,} images are named wrongly; here are those with the '
                   'least probability for what they are.')
