"""Figures of what a Runner logged."""
import json
from pathlib import Path
from typing import Dict, List, Union

from mmasvit.plotting import save_figure, subplots


def read_scalars(path: Union[str, Path]) -> List[Dict[str, float]]:
    """Rows of a ``scalars.json`` of mmengine's ``LocalVisBackend``."""
    with open(path, encoding='utf-8') as file:
        return [json.loads(line) for line in file if line.strip()]


def plot_training(rows: List[Dict[str, float]], out_file: Union[str, Path]) -> None:
    """Draw loss and average precision over the images seen.

    Args:
        rows: Rows of one run in the order they were logged. Training rows have ``loss``
            and ``iter``; validation rows have ``coco/...mAP``, and their ``step`` is an
            epoch, so that they are placed at the last training row before them.
        out_file: PNG to write.
    """
    iterations, losses, scores = [], [], {}
    for row in rows:
        if 'loss' in row:
            iterations.append(row['iter'])
            losses.append(row['loss'])
        for key, value in row.items():
            if key.endswith('_mAP') and iterations and value >= 0:
                scores.setdefault(key.split('/')[-1], []).append((iterations[-1], value))
    figure, (left, right) = subplots(1, 2, figsize=(10, 4))
    left.plot(iterations, losses)
    left.set(xlabel='iteration', ylabel='training loss', ylim=(0, None))
    for name, points in scores.items():
        right.plot(*zip(*points), marker='o', label=name.replace('_', ' '))
    right.set(xlabel='iteration', ylabel='average precision, held out', ylim=(0, None))
    if scores:
        right.legend()
    right.set_xlim(left.get_xlim())
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_figure(figure, out_file)
