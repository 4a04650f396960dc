"""A study's numbers as a table, and what they say."""
from pathlib import Path
from statistics import fmean
from typing import Dict, List, NamedTuple, Sequence

from mmasvit.complexity import Summary, find_measure, is_measure, summarise
from mmasvit.files import TableFile, replacing, write_json
from mmasvit.measuring import Objective
from mmasvit.measuring.ledger import Item as Entry, Repeat
from mmasvit.search.reward import scores
from mmasvit.study.correlation import Correlation, kendall_tau
from mmasvit.study.figure import plot_study
from mmasvit.study.study import Study
from mmasvit.topology import Topology


class Row(NamedTuple):
    """A topology of a study.

    Attributes:
        topology: The topology.
        score: What it came to in training: an accuracy or an AP in per cent.
        measures: Its measures, under their names with the protocol.
    """
    topology: Topology
    score: float
    measures: Dict[str, Summary]


class Finding(NamedTuple):
    """What a measure says about the score.

    Attributes:
        correlation: Of the measure, as it is, with the scores.
        higher_is_better: As the measure is meant.
        seconds: What it took per topology, on average.
    """
    correlation: Correlation
    higher_is_better: bool
    seconds: float

    @property
    def says(self) -> str:
        """Whether the measure does what it is meant to, in words."""
        if not self.correlation.is_clear:
            return 'nothing clear'
        as_meant = (self.correlation.tau > 0) == self.higher_is_better
        return 'as meant' if as_meant else 'the opposite'


def collect(study: Study, known: Dict[Entry, Repeat]) -> List[Row]:
    """A row per topology of a study that is at its end."""
    rows = []
    for topology in study.topologies:
        measures = {}
        for setting in study.settings:
            names = dict.fromkeys(study.qualified(name, setting) for name in study.measures)
            measures.update(summarise([
                {name: known[topology, repeat][name] for name in names}
                for repeat in range(setting.repeats)]))
        rows.append(Row(topology, known[topology, 0][study.score].value, measures))
    _add_composites(study, rows)
    return rows


def _add_composites(study: Study, rows: Sequence[Row]) -> None:
    """Score each topology among all of them; nothing of it is kept in the ledger."""
    for composite, given in (study.composites or {}).items():
        objective = Objective(given)
        for setting in study.settings:
            names = {name: study.qualified(name, setting) for name in objective.names}
            values = scores([{name: row.measures[own].mean for name, own in names.items()}
                             for row in rows], objective)
            # told apart as the measure that it depends on most
            _, _, words = max(names.values(), key=lambda own: own.count('/')).partition('/')
            own = f'{composite}/{words}' if words else composite
            for row, value in zip(rows, values):
                row.measures[own] = Summary(value, [value], sum(
                    row.measures[name].seconds for name in names.values()))


def correlate(rows: Sequence[Row]) -> Dict[str, Finding]:
    """Kendall's tau of every measure with the scores."""
    trained = [row.score for row in rows]
    return {name: Finding(
        kendall_tau([row.measures[name].mean for row in rows], trained),
        _higher_is_better(name.partition('/')[0]),
        fmean(row.measures[name].seconds for row in rows))
        for name in sorted(rows[0].measures)}


def _higher_is_better(name: str) -> bool:
    """As a measure is meant; a composite is a score."""
    return not is_measure(name) or find_measure(name).higher_is_better


def write_study(folder: str, rows: Sequence[Row], findings: Dict[str, Finding],
                score: str) -> None:
    """Write ``study.csv``, ``study.json``, ``study.png`` and ``table.md``.

    Args:
        folder: Where.
        rows: One per topology.
        findings: What each measure says.
        score: What the scores are called.
    """
    columns = ['topology', score, *findings, *(f'{name}/seconds' for name in findings)]
    TableFile(Path(folder, 'study.csv'), columns, [dict(
        topology=str(row.topology), **{score: row.score},
        **{name: row.measures[name].mean for name in findings},
        **{f'{name}/seconds': row.measures[name].seconds for name in findings})
        for row in rows])
    write_json(Path(folder, 'study.json'), {
        name: dict(**finding.correlation._asdict(), says=finding.says,
                   higher_is_better=finding.higher_is_better, seconds=finding.seconds)
        for name, finding in findings.items()})
    plot_study(rows, findings, score, Path(folder, 'study.png'))
    lines = ['| ' + ' | '.join(HEADINGS) + ' |', '|' + '---|' * len(HEADINGS)]
    lines += ['| ' + ' | '.join(cells) + ' |' for cells in to_cells(findings)]
    with replacing(Path(folder, 'table.md')) as temporary:
        Path(temporary).write_text('\n'.join(lines) + '\n', encoding='utf-8')


HEADINGS = ('measure', 'better', 'tau', '95 % interval', 'says', 's / topology')


def to_cells(findings: Dict[str, Finding]) -> List[Sequence[str]]:
    """Findings for people, in the order of ``HEADINGS``."""
    return [(name, 'high' if finding.higher_is_better else 'low',
             f'{finding.correlation.tau:+.2f}',
             '{:+.2f} to {:+.2f}'.format(*finding.correlation.interval), finding.says,
             f'{finding.seconds:.2f}') for name, finding in findings.items()]
