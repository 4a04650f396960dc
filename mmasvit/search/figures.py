"""Figures of topology searches."""
from pathlib import Path
from statistics import fmean
from typing import Dict, List, Optional, Sequence, Union

import matplotlib
import numpy as np

from mmasvit.files import replacing
from mmasvit.search.space import values_of
from mmasvit.topology import Topology

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402

LABELS = dict(entropy='entropy of the policy (nats)', reward='reward',
              length_distortion='length distortion',
              ntk_condition_number='NTK condition number')
SMOOTH = 20  # steps of the running mean


def plot_search(rows: Sequence[Dict[str, object]],
                policy: Optional[Dict[str, List[float]]],
                choices: Dict[str, Sequence[int]], out_file: Union[str, Path]) -> None:
    """Draw how a search went and what it came to.

    Args:
        rows: The history.
        policy: Probabilities of the values of each choice; None draws how often each
            value was among the last half of the steps.
        choices: Values of each choice.
        out_file: PNG to write.
    """
    figure = plt.figure(figsize=(13, 8))
    curves, bars = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    # fixed, since a constrained layout takes longer than all the rest
    sides = dict(left=0.05, right=0.98)
    above = curves.subplots(1, 4, gridspec_kw=dict(sides, top=0.92, bottom=0.13,
                                                   wspace=0.25))
    below = bars.subplots(2, 6, sharey=True, gridspec_kw=dict(
        sides, top=0.84, bottom=0.07, hspace=0.4, wspace=0.15))
    steps = [row['step'] for row in rows]
    for axes, (name, label) in zip(above, LABELS.items()):
        values = np.array([row[name] for row in rows], float)
        values[~np.isfinite(values)] = np.nan
        if name == 'entropy':
            axes.plot(steps, values)
            axes.set_ylim(0, None)
        else:
            axes.plot(steps, values, '.', markersize=3, alpha=0.35)
            axes.plot(steps, _running_mean(values), color='C1',
                      label=f'mean of {SMOOTH} steps')
            axes.legend(loc='best', fontsize=8)
        known = values[np.isfinite(values)]
        if len(known) and 0 < 20 * known.min() < known.max():
            axes.set_yscale('log')
        axes.set(title=label, xlabel='step')
        axes.grid(alpha=0.3)
    shares = policy or _frequencies(rows[len(rows) // 2:], choices)
    bars.suptitle('probability of each value under the final policy' if policy
                  else 'share of each value in the second half of the steps')
    for axes, (name, values) in zip(below.flat, choices.items()):
        best = int(np.argmax(shares[name]))
        axes.bar([str(value) for value in values], shares[name], color=[
            'C1' if i == best else 'C0' for i in range(len(values))])
        axes.axhline(1 / len(values), color='grey', linewidth=0.8, linestyle='--')
        axes.set(title=name, ylim=(0, 1))
    _save(figure, out_file)


def plot_comparison(histories: Dict[str, List[np.ndarray]],
                    out_file: Union[str, Path]) -> None:
    """Draw the best score so far, and the mean of recent ones, over evaluations.

    Args:
        histories: For each label the scores of one or more searches.
        out_file: PNG to write.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout='constrained',
                                         sharex=True)
    for color, (label, searches) in enumerate(histories.items()):
        length = min(map(len, searches))
        steps = np.arange(1, length + 1)
        for axes, transform in ((left, np.maximum.accumulate), (right, _running_mean)):
            table = np.array([transform(scores)[:length] for scores in searches])
            axes.plot(steps, table.mean(0), color=f'C{color}', label=label)
            axes.fill_between(steps, table.min(0), table.max(0), color=f'C{color}',
                              alpha=0.2, linewidth=0)
    left.set(title='best score so far', ylabel='score', xlabel='topologies evaluated')
    right.set(title=f'mean score of {SMOOTH} evaluations', xlabel='topologies evaluated')
    for axes in (left, right):
        axes.grid(alpha=0.3)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', fontsize=9,
                  title='mean and extremes over seeds')
    _save(figure, out_file)


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the last ``SMOOTH`` values that are numbers, at each place."""
    number = np.isfinite(values)
    total = np.cumsum(np.where(number, values, 0.))
    count = np.cumsum(number)
    total[SMOOTH:] -= total[:-SMOOTH].copy()
    count[SMOOTH:] -= count[:-SMOOTH].copy()
    return total / np.maximum(count, 1)


def _frequencies(rows: Sequence[Dict[str, object]],
                 choices: Dict[str, Sequence[int]]) -> Dict[str, List[float]]:
    found = [values_of(Topology.parse(row['topology'])) for row in rows]
    return {name: [fmean(row[name] == value for row in found) for value in values]
            for name, values in choices.items()}


def _save(figure: plt.Figure, out_file: Union[str, Path]) -> None:
    with replacing(out_file) as temporary:
        figure.savefig(temporary, dpi=110, format='png')
    plt.close(figure)
