"""Figures of topology searches."""
from pathlib import Path
from statistics import fmean
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
from matplotlib.figure import Figure

from mmasvit.measuring import Objective
from mmasvit.plotting import (SMOOTH, label, running_mean, save_figure, scale_for,
                              subplots)
from mmasvit.search.history import Evaluation

PER_LINE = 6  # choices in a line of bars


def plot_search(history: Sequence[Evaluation], objective: Objective,
                policy: Optional[Dict[str, List[float]]],
                choices: Dict[str, Sequence[int]], out_file: Union[str, Path]) -> None:
    """Draw how a search went and what it came to.

    Args:
        history: The evaluations.
        objective: Which measures are drawn.
        policy: Probabilities of the values of each choice; None draws how often each
            value was among the last half of the steps.
        choices: Values of each choice.
        out_file: PNG to write.
    """
    curves = {
        'entropy of the policy (nats)': [one.entropy for one in history],
        'reward': [one.reward for one in history],
        **{label(name): [one.measures[name] for one in history]
           for name in objective.names}}
    lines = -(-len(choices) // PER_LINE)
    figure = Figure(figsize=(max(13, 3.25 * len(curves)), 3.7 + 2.15 * lines))
    top, bottom = figure.subfigures(2, 1, height_ratios=(1, .575 * lines))
    # fixed, since a constrained layout takes longer than all the rest
    sides = dict(left=0.05, right=0.98)
    above = top.subplots(1, len(curves), gridspec_kw=dict(sides, top=0.92, bottom=0.13,
                                                          wspace=0.25))
    below = bottom.subplots(
        lines, PER_LINE, sharey=True, squeeze=False, gridspec_kw=dict(
            sides, top=1 - .32 / lines, bottom=.14 / lines, hspace=0.4, wspace=0.15))
    steps = [one.step for one in history]
    for axes, (title, numbers) in zip(above, curves.items()):
        values = np.array(numbers, float)
        values[~np.isfinite(values)] = np.nan
        if title.startswith('entropy'):
            axes.plot(steps, values)
            axes.set_ylim(0, None)
        else:
            axes.plot(steps, values, '.', markersize=3, alpha=0.35)
            axes.plot(steps, running_mean(values), color='C1',
                      label=f'mean of {SMOOTH} steps')
            axes.legend(loc='best', fontsize=8)
        scale_for(axes, values)
        axes.set(title=title, xlabel='step')
        axes.grid(alpha=0.3)
    shares = policy or _frequencies(history[len(history) // 2:], choices)
    bottom.suptitle('probability of each value under the final policy' if policy
                    else 'share of each value in the second half of the steps')
    for axes, (name, values) in zip(below.flat, choices.items()):
        best = int(np.argmax(shares[name]))
        axes.bar([str(value) for value in values], shares[name], color=[
            'C1' if i == best else 'C0' for i in range(len(values))])
        axes.axhline(1 / len(values), color='grey', linewidth=0.8, linestyle='--')
        axes.set(title=name, ylim=(0, 1))
    for axes in below.flat[len(choices):]:
        axes.remove()
    save_figure(figure, out_file, dpi=110)


def plot_comparison(histories: Dict[str, List[np.ndarray]],
                    out_file: Union[str, Path]) -> None:
    """Draw the best score so far, and the mean of recent ones, over evaluations.

    Args:
        histories: For each label the scores of one or more searches.
        out_file: PNG to write.
    """
    figure, (left, right) = subplots(1, 2, figsize=(11, 4.5), sharex=True)
    for color, (name, searches) in enumerate(histories.items()):
        length = min(map(len, searches))
        steps = np.arange(1, length + 1)
        for axes, transform in ((left, np.maximum.accumulate), (right, running_mean)):
            table = np.array([transform(scores)[:length] for scores in searches])
            axes.plot(steps, table.mean(0), color=f'C{color}', label=name)
            axes.fill_between(steps, table.min(0), table.max(0), color=f'C{color}',
                              alpha=0.2, linewidth=0)
    left.set(title='best score so far', ylabel='score', xlabel='topologies evaluated')
    right.set(title=f'mean score of {SMOOTH} evaluations', xlabel='topologies evaluated')
    for axes in (left, right):
        axes.grid(alpha=0.3)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', fontsize=9,
                  title='mean and extremes over seeds')
    save_figure(figure, out_file, dpi=110)


def _frequencies(history: Sequence[Evaluation],
                 choices: Dict[str, Sequence[int]]) -> Dict[str, List[float]]:
    found = [one.topology.values for one in history]
    return {name: [fmean(values[name] == value for values in found) for value in allowed]
            for name, allowed in choices.items()}
