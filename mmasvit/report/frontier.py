"""What is reached at how many milliseconds: topologies beside published backbones."""
import math
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from markupsafe import Markup
from matplotlib.axes import Axes

from mmasvit.genotypes import parse
from mmasvit.measuring import Objective
from mmasvit.plotting import label
from mmasvit.report import charts
from mmasvit.report.page import Chart, Charts, Section, Table, number
from mmasvit.search.reward import scores

SCORE = 'score'


class Candidate(NamedTuple):
    """A topology whose latency is known.

    Attributes:
        topology: Its text.
        latency: Milliseconds.
        measures: Its measures.
        chosen: Whether it is what the run came to.
    """
    topology: str
    latency: float
    measures: Dict[str, float]
    chosen: bool = False


def frontier(points: Sequence[Tuple[float, float]]) -> List[int]:
    """Indices of the points that no other beats, by rising cost.

    A point is beaten by one that costs no more and is worth at least as much, and is not
    the same in both; of equal points the first stays.

    Args:
        points: Cost and worth of each.
    """
    best, kept = -math.inf, []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if points[i][1] > best:
            best = points[i][1]
            kept.append(i)
    return kept


def frontier_section(candidates: Sequence[Candidate], objective: Objective,
                     result: Mapping[str, object]) -> Section:
    """Score and measures over latency, with what other backbones take on the device.

    Args:
        candidates: Topologies of a run, those it chose among them.
        objective: What it looked for.
        result: Its results, for sizes and ``references``.
    """
    candidates = _once(candidates)
    rated = scores([one.measures for one in candidates], objective)
    latencies = [one.latency for one in candidates]
    best = frontier(list(zip(latencies, rated)))
    references = result.get('references') or {}
    drawn = [Chart('Score over latency', _over_latency(
        candidates, rated, SCORE, references))]
    for name, sign, _ in objective.parts:
        if name != 'latency':
            drawn.append(Chart(label(name), _over_latency(
                candidates, [sign * one.measures[name] for one in candidates],
                label(name), references, sign)))
    if references:
        drawn.append(Chart('Multiply-accumulates over latency', _beside_references(
            candidates, references, result)))
    table = Table(
        ['topology', 'latency (ms)', SCORE, *map(label, objective.names)],
        [[candidates[i].topology, number(latencies[i], 1), number(rated[i], 3),
          *(f'{candidates[i].measures[name]:.4g}' for name in objective.names)]
         for i in best], 'nothing measured is both faster and better', shown=15)
    return Section('Frontier', [Charts(drawn), table, *_reference_table(references)],
                   'Latency of one image through the backbone, by the device\'s profile. '
                   'Dotted: backbones of others and the paper\'s, as measured there.')


def _once(candidates: Sequence[Candidate]) -> List[Candidate]:
    """Each topology once; chosen if any of its occurrences is."""
    known: Dict[str, Candidate] = {}
    for one in candidates:
        before = known.get(one.topology, one)
        if math.isfinite(one.latency):
            known[one.topology] = one._replace(chosen=one.chosen or before.chosen)
    return list(known.values())


def _over_latency(candidates: Sequence[Candidate], worth: Sequence[float], y_label: str,
                  references: Mapping[str, dict], sign: int = 1) -> Markup:
    """Points, their frontier, and where other backbones are."""
    points = [(one.latency, value) for one, value in zip(candidates, worth)]
    finite = [i for i, (_, value) in enumerate(points) if math.isfinite(value)]
    best = [finite[i] for i in frontier([points[i] for i in finite])]

    def columns(indices: Sequence[int]) -> List[List[float]]:
        return [[points[i][0] for i in indices], [sign * points[i][1] for i in indices]]

    with charts.drawing(4.6, 3.0) as (axes, result):
        axes.scatter(*columns(finite), s=12, color=charts.SOFT, alpha=0.55, linewidths=0)
        axes.step(*columns(best), where='post', color=charts.SERIES[0], label='frontier')
        chosen = [i for i in finite if candidates[i].chosen]
        axes.scatter(*columns(chosen), s=44, marker='D', color=charts.SERIES[1],
                     label='chosen', zorder=3)
        values = columns(finite)[1]
        if values and 0 < 20 * min(values) < max(values):
            axes.set_yscale('log')
        _mark_references(axes, references)
        axes.set(xlabel='latency (ms)', ylabel=y_label)
        axes.legend(loc='best')
    return result[0]


def _mark_references(axes: Axes, references: Mapping[str, dict]) -> None:
    """A dotted line for each that lies within the axis."""
    low, high = axes.get_xlim()
    for name, cost in references.items():
        if low < cost['milliseconds'] < high:
            axes.axvline(cost['milliseconds'], color=charts.SOFT, linewidth=0.8,
                         linestyle=':')
            axes.annotate(name, (cost['milliseconds'], 1), xytext=(2, -2), rotation=90,
                          xycoords=('data', 'axes fraction'), va='top', fontsize=7,
                          textcoords='offset points', color=charts.SOFT)


def _beside_references(candidates: Sequence[Candidate], references: Mapping[str, dict],
                       result: Mapping[str, object]) -> Markup:
    """What an operation takes in which architecture."""
    shape = tuple(result['detector_shape'])
    setting = result['setting']
    splits_at = setting.get('pretrain_img_size') or (
        224 if setting.get('features') == 'pyramid' else setting['image_size'])
    gmacs = [parse(one.topology).count_macs(shape, pretrain_img_size=splits_at) / 1e9
             for one in candidates]
    with charts.drawing(4.6, 3.0) as (axes, drawn):
        axes.scatter([one.latency for one in candidates], gmacs, s=12,
                     color=charts.SOFT, alpha=0.55, linewidths=0, label='measured here')
        families: Dict[str, List[str]] = {}
        for name in references:
            families.setdefault(name.rpartition('-')[0], []).append(name)
        for colour, marker, (family, names) in zip(charts.SERIES, 'so^Dv*',
                                                   families.items()):
            points = [(references[name]['milliseconds'], references[name]['macs'] / 1e9)
                      for name in names]
            axes.plot(*zip(*sorted(points)), marker=marker, color=colour, linewidth=1,
                      markersize=4, label=family)
            for name, point in zip(names, points):
                axes.annotate(name.rpartition('-')[2], point, xytext=(4, -8),
                              textcoords='offset points', fontsize=7, color=colour)
        axes.set(xlabel='latency (ms)', ylabel='MACs (G)', xscale='log', yscale='log')
        charts.plain_numbers(axes.xaxis)
        charts.plain_numbers(axes.yaxis)
        axes.legend(loc='best')
    return drawn[0]


def _reference_table(references: Mapping[str, dict]) -> List[Table]:
    if not references:
        return []
    return [Table(['backbone', 'latency (ms)', 'parameters (M)', 'MACs (G)'], [
        [name, number(cost['milliseconds'], 1), number(cost['params'] / 1e6, 1),
         number(cost['macs'] / 1e9, 1)]
        for name, cost in sorted(references.items(),
                                 key=lambda item: item[1]['milliseconds'])],
        'measured on the device, at the same size')]
