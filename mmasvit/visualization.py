"""Figures of what a Runner logged."""
import json
import math
from pathlib import Path
from typing import Dict, List, Union

import matplotlib

from mmasvit.files import replacing

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402


def save_figure(figure: plt.Figure, out_file: Union[str, Path], dpi: int = 120) -> None:
    """Write a figure as a PNG, whole or not at all, and close it."""
    with replacing(out_file) as temporary:
        figure.savefig(temporary, dpi=dpi, format='png')
    plt.close(figure)


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
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout='constrained')
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


def plot_study(rows: List[dict], results: Dict[str, dict],
               out_file: Union[str, Path]) -> None:
    """Draw every measure against accuracy, as figure 2 of the paper does.

    Args:
        rows: One per topology, with ``accuracy`` and the measures by name.
        results: Per measure, its ``tau``, ``interval`` and ``says``.
        out_file: PNG to write.
    """
    columns = min(4, len(results))
    lines = math.ceil(len(results) / columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3.2 * columns, 2.9 * lines),
                                layout='constrained', squeeze=False, sharey=True)
    accuracies = [row['accuracy'] for row in rows]
    for panel, (name, result) in zip(axes.flat, results.items()):
        values = [row[name] for row in rows]
        clear = result['says'] != 'nothing clear'
        panel.scatter(values, accuracies, s=14, color='C0' if clear else '0.6')
        if min(values) > 0 and max(values) > 20 * min(values):
            panel.set_xscale('log')
        panel.set_xlabel(name.replace('_', ' '), fontsize=8)
        panel.set_title('tau {:+.2f} ({:+.2f} to {:+.2f})'.format(
            result['tau'], *result['interval']), fontsize=9)
        panel.tick_params(labelsize=7)
        if panel.get_xscale() == 'linear':
            panel.locator_params(axis='x', nbins=4)
            panel.xaxis.get_offset_text().set_fontsize(7)
        panel.grid(alpha=0.3)
    for panel in axes.flat[len(results):]:
        panel.remove()
    for panel in axes[:, 0]:
        panel.set_ylabel('accuracy (%)', fontsize=8)
    save_figure(figure, out_file)
