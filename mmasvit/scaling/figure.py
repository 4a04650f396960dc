"""The figure of a scaling."""
from pathlib import Path
from typing import Sequence, Union

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from mmasvit.measuring import Objective
from mmasvit.paper import PUBLISHED_RULES, Extent
from mmasvit.plotting import label, save_figure, scale_for, subplots
from mmasvit.scaling.family import Member
from mmasvit.topology import FAMILY


def plot_scaling(members: Sequence[Member], walks: Sequence[Sequence[Member]],
                 objective: Objective, out_file: Union[str, Path]) -> None:
    """Draw a family as figure 3 of the paper does.

    On the left total width over total depth, beside random scaling, the paper's family
    and published rules; then each measure over the size, with the numbers of the steps.

    Args:
        members: The family with its measures.
        walks: Random scalings; their measures are drawn where they are known.
        objective: Which measures are drawn.
        out_file: PNG to write.
    """
    columns = 1 + len(objective.names)
    figure, (extents, *panels) = subplots(1, columns, figsize=(5 * columns, 4.8))
    _plot_extents(extents, members, walks)
    for axes, name in zip(panels, objective.names):
        _plot_measure(axes, name, members, walks)
    save_figure(figure, out_file, dpi=110)


def _plot_extents(axes: Axes, members: Sequence[Member],
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


def _plot_measure(axes: Axes, name: str, members: Sequence[Member],
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
    axes.set(title=label(name), xlabel='parameters (millions)', xscale='log')
    scale_for(axes, ours[:, 1])
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    axes.set_xticks([size for size in (1, 2, 5, 10, 20, 50, 100, 200) if
                     low <= size <= high])
    axes.grid(alpha=0.3)
    axes.legend(loc='best', fontsize=8)
