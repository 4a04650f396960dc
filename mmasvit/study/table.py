"""A study's numbers as a table, and what they say."""
from pathlib import Path
from statistics import fmean
from typing import Dict, List, NamedTuple, Sequence

from mmasvit.complexity import MEASURES, PATH_MEASURES, Summary, summarise
from mmasvit.files import TableFile, replacing, write_json
from mmasvit.measuring import Objective
from mmasvit.measuring.ledger import Item as Entry, Repeat
from mmasvit.search.reward import scores
from mmasvit.study.correlation import Correlation, kendall_tau
from mmasvit.study.figure import plot_study
from mmasvit.study.items import ACCURACY, qualified
from mmasvit.study.study import Study
from mmasvit.topology import Topology


class Row(NamedTuple):
    """A topology of a study.

    Attributes:
        topology: The topology.
        accuracy: What it came to.
        measures: Its measures, under their names with the protocol.
    """
    topology: Topology
    accuracy: float
    measures: Dict[str, Summary]


class Finding(NamedTuple):
    """What a measure says about accuracy.

    Attributes:
        correlation: Of the measure, as it is, with the accuracies.
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
            names = dict.fromkeys(qualified(name, setting) for name in study.measures)
            measures.update(summarise([
                {name: known[topology, repeat][name] for name in names}
                for repeat in range(setting.repeats)]))
        rows.append(Row(topology, known[topology, 0][ACCURACY].value, measures))
    _add_composites(study, rows)
    return rows


def _add_composites(study: Study, rows: Sequence[Row]) -> None:
    """Score each topology among all of them; nothing of it is kept in the ledger."""
    for composite, given in (study.composites or {}).items():
        objective = Objective(given)
        for setting in study.settings:
            names = {name: qualified(name, setting) for name in objective.names}
            values = scores([{name: row.measures[own].mean for name, own in names.items()}
                             for row in rows], objective)
            drawn = [own for own in names.values() if '/' in own]
            for row, value in zip(rows, values):
                own = f'{composite}/{setting.protocol}' if drawn else composite
                row.measures[own] = Summary(value, [value], sum(
                    row.measures[name].seconds for name in names.values()))


def correlate(rows: Sequence[Row]) -> Dict[str, Finding]:
    """Kendall's tau of every measure with the accuracies."""
    accuracies = [row.accuracy for row in rows]
    return {name: Finding(
        kendall_tau([row.measures[name].mean for row in rows], accuracies),
        _higher_is_better(name.partition('/')[0]),
        fmean(row.measures[name].seconds for row in rows))
        for name in sorted(rows[0].measures)}


def _higher_is_better(name: str) -> bool:
    """As a measure is meant; a composite is a score."""
    known = {**MEASURES, **PATH_MEASURES}
    return name not in known or known[name].higher_is_better


def write_study(folder: str, rows: Sequence[Row], findings: Dict[str, Finding]) -> None:
    """Write ``study.csv``, ``study.json``, ``study.png`` and ``table.md``."""
    columns = ['topology', ACCURACY, *findings, *(f'{name}/seconds' for name in findings)]
    TableFile(Path(folder, 'study.csv'), columns, [dict(
        topology=str(row.topology), accuracy=row.accuracy,
        **{name: row.measures[name].mean for name in findings},
        **{f'{name}/seconds': row.measures[name].seconds for name in findings})
        for row in rows])
    write_json(Path(folder, 'study.json'), {
        name: dict(**finding.correlation._asdict(), says=finding.says,
                   higher_is_better=finding.higher_is_better, seconds=finding.seconds)
        for name, finding in findings.items()})
    plot_study(rows, findings, Path(folder, 'study.png'))
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
