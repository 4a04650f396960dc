"""Figures of topology searches and of scaling."""
from pathlib import Path
from statistics import fmean
from typing import Dict, List, Optional, Sequence, Union

import numpy as np
from matplotlib.ticker import NullFormatter, ScalarFormatter

from mmasvit.scaling.family import PUBLISHED_RULES, Extent, Member
from mmasvit.search.space import values_of
from mmasvit.topology import FAMILY, Topology
from mmasvit.visualization import plt, save_figure

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
    save_figure(figure, out_file, dpi=110)


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
    save_figure(figure, out_file, dpi=110)


def plot_scaling(members: Sequence[Member], walks: Sequence[Sequence[Member]],
                 out_file: Union[str, Path]) -> None:
    """Draw a family as figure 3 of the paper does.

    On the left total width over total depth, beside random scaling, the paper's family
    and published rules; then both measures over the size, with the numbers of the steps.

    Args:
        members: The family with its measures.
        walks: Random scalings; their measures are drawn where they are known.
        out_file: PNG to write.
    """
    figure, (extents, *panels) = plt.subplots(1, 3, figsize=(15, 4.8),
                                              layout='constrained')
    _plot_extents(extents, members, walks)
    for axes, name in zip(panels, ('length_distortion', 'ntk_condition_number')):
        _plot_measure(axes, name, members, walks)
    save_figure(figure, out_file, dpi=110)


def _plot_extents(axes: plt.Axes, members: Sequence[Member],
                  walks: Sequence[Sequence[Member]]) -> None:
    """Total width over total depth."""
    steps = min(map(len, walks), default=0)  # every step is one block deeper
    if steps > 1:
        widths = np.array([[member.extent.width for member in walk[:steps]]
                           for walk in walks])
        depths = [member.extent.depth for member in walks[0][:steps]]
        mean, deviation = widths.mean(0), widths.std(0)
        axes.fill_between(depths, mean - deviation, mean + deviation, color='0.8',
                          linewidth=0)
        axes.plot(depths, mean, color='0.5', label=f'{len(walks)} random scalings, '
                                                   'mean and deviation')
    ours = np.array([member.extent for member in members])
    axes.plot(*ours.T, 'o-', color='C0', markersize=3, label='this family')
    axes.plot(*zip(*(Extent.of(FAMILY[name].depths, FAMILY[name].widths)
                     for name in ('seed', 'small', 'base', 'large'))),
              '*', color='C1', markersize=11, label="the paper's seed, S, B, L")
    for color, marker, (rule, models) in zip(('C2', 'C3'), 'sD', PUBLISHED_RULES.items()):
        axes.plot(*zip(*models.values()), marker + '--', color=color, markersize=5,
                  linewidth=1, label=f'{rule}-{", ".join(models)}')
        for name, extent in models.items():
            axes.annotate(name, extent, textcoords='offset points', xytext=(5, -9),
                          fontsize=8, color=color)
    axes.set(title='how networks grow', xlabel='total depth (blocks)',
             ylabel='total width (channels of all blocks)', xscale='log', yscale='log')
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlim(3.5, 64)  # room for the label of ResNet-152
    axes.set_xticks([4, 8, 16, 32, 48])
    axes.set_yticks([500, 1000, 2000, 5000, 10_000, 20_000, 50_000])
    axes.grid(alpha=0.3)
    axes.legend(loc='best', fontsize=8)


def _plot_measure(axes: plt.Axes, name: str, members: Sequence[Member],
                  walks: Sequence[Sequence[Member]]) -> None:
    """A measure over the parameters, with the numbers of the steps."""
    def curve(family: Sequence[Member]) -> np.ndarray:
        points = np.array([(member.costs['params'] / 1e6, member.summaries[name].mean)
                           for member in family if member.summaries])
        return points[np.isfinite(points).all(1)] if len(points) else np.zeros((0, 2))

    random = [points for points in map(curve, walks) if len(points) > 1]
    if random:
        shared = np.geomspace(max(points[0, 0] for points in random),
                              min(points[-1, 0] for points in random), 200)
        table = np.array([np.interp(np.log(shared), np.log(points[:, 0]), points[:, 1])
                          for points in random])
        mean, deviation = table.mean(0), table.std(0)
        axes.fill_between(shared, mean - deviation, mean + deviation, color='0.8',
                          linewidth=0)
        axes.plot(shared, mean, color='0.5', label=f'{len(random)} random scalings')
    ours = curve(members)
    axes.plot(*ours.T, 'o-', color='C0', markersize=3, label='this family')
    for member in members:
        if member.summaries and np.isfinite(value := member.summaries[name].mean):
            axes.annotate(str(member.step), (member.costs['params'] / 1e6, value),
                          textcoords='offset points', xytext=(0, 5), fontsize=7,
                          ha='center')
    axes.set(title=LABELS[name], xlabel='parameters (millions)', xscale='log')
    known = ours[:, 1]
    if len(known) and 0 < 20 * known.min() < known.max():
        axes.set_yscale('log')
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    axes.set_xticks([size for size in (1, 2, 5, 10, 20, 50, 100, 200) if
                     low <= size <= high])
    axes.grid(alpha=0.3)
    axes.legend(loc='best', fontsize=8)


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
