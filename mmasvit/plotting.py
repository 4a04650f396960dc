"""What all figures share: no window system, one look, files that are whole."""
from pathlib import Path
from typing import Any, Tuple, Union

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmasvit.files import replacing

LABELS = dict(ntk_condition_number='NTK condition number', bbox_mAP='box AP',
              segm_mAP='mask AP')
SMOOTH = 20  # steps of the running mean


def subplots(rows: int = 1, columns: int = 1, figsize: Tuple[float, float] = (6, 4),
             **options) -> Tuple[Figure, Any]:
    """As ``matplotlib.pyplot.subplots``, of a figure that no backend knows of."""
    figure = Figure(figsize=figsize, layout='constrained')
    return figure, figure.subplots(rows, columns, **options)


def save_figure(figure: Figure, out_file: Union[str, Path], dpi: int = 120) -> None:
    """Write a figure as a PNG, whole or not at all."""
    with replacing(out_file) as temporary:
        figure.savefig(temporary, dpi=dpi, format='png')


def label(measure: str) -> str:
    """A measure's name for people."""
    return LABELS.get(measure, measure.replace('_', ' '))


def scale_for(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic scale for positive values that span more than a factor of 20."""
    known = values[np.isfinite(values)]
    if len(known) and 0 < 20 * known.min() < known.max():
        axes.set_yscale('log')


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the last ``SMOOTH`` values that are numbers, at each place."""
    is_number = np.isfinite(values)
    total = np.cumsum(np.where(is_number, values, 0.))
    count = np.cumsum(is_number)
    total[SMOOTH:] -= total[:-SMOOTH].copy()
    count[SMOOTH:] -= count[:-SMOOTH].copy()
    return total / np.maximum(count, 1)
