"""What a search leaves behind: history, result, figure and configs."""
from dataclasses import asdict
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple, Union

from mmasvit.arguments import Either, numeric, real
from mmasvit.complexity import Summary
from mmasvit.datasets.probe_images import source_name
from mmasvit.emit import emit_configs
from mmasvit.files import read_result, read_table, write_json
from mmasvit.genotypes import Genotype, parse
from mmasvit.limits import OWN_COSTS, Costs, own_costs
from mmasvit.measuring import Objective
from mmasvit.measuring.objective import Values
from mmasvit.search.figure import plot_search
from mmasvit.search.history import Evaluation, best_of, rate
from mmasvit.search.search import TopologySearch

Row = Dict[str, object]  # one line of history.csv: text, numbers

# topology.json, as far as anybody reads it
RESULT = {
    'topology': parse, 'params': real, 'macs': real, 'strategy': str,
    'objective': lambda given: Objective(given), 'steps': int, 'seed': int,
    'topologies_per_step': int,
    'topologies_measured': int, 'entropy': Either(real, None), 'entropy_of_space': real,
    'measures': {str: dict(mean=numeric, values=[numeric])},
    'best_seen': dict(step=real, topology=parse, params=real),
    'policy': Either({str: {str: real}}, None),
    'setting': dict(protocol=str, image_size=int, repeats=int),
    'data': dict(source=Either(str, dict(type=str))),
    'seconds': dict(measures={str: real}),
    'constraint': {str: Either(real, None)},
    'latency?': numeric, 'detector_shape?': [int],
    'references?': {str: dict(milliseconds=real, params=real, macs=real)}}


def columns(objective: Objective, costs: Sequence[str] = OWN_COSTS) -> Tuple[str, ...]:
    """Columns of ``history.csv``: a row per topology and step, none depends on time.

    Entropy is that of the policy the topology was drawn from, the baseline that which
    was taken off its reward; the costs are those of the evaluator, unless measures of
    the objective have their names.
    """
    return ('step', 'topology', *objective.names,
            *(f'{name}_reward' for name in objective.names), 'reward', 'baseline',
            'entropy', *objective.columns(costs))


def to_row(one: Evaluation, costs: Costs = own_costs) -> Row:
    """The row of an evaluation, with what its topology costs."""
    row = dict(step=one.step, topology=str(one.topology), **one.measures,
               **{f'{name}_reward': part for name, part in one.parts.items()},
               reward=one.reward, baseline=one.baseline, entropy=one.entropy)
    return {**row, **{name: cost for name, cost in costs(one.topology).items()
                      if name not in row}}


def write_results(work_dir: str, search: TopologySearch, objective: Objective,
                  found: Genotype, summaries: Dict[str, Summary], facts: dict,
                  costs: Costs = own_costs) -> None:
    """Write ``topology.json``, ``search.png`` and ``configs/``.

    Args:
        work_dir: Folder to write to.
        search: The search at its end.
        objective: What it looked for.
        found: Its result.
        summaries: The result's measures.
        facts: What it was made with: seeds, settings, versions, times.
        costs: What topologies cost. Defaults to what they say themselves.
    """
    history, space = search.history, search.strategy.space
    policy = search.strategy.learned_policy
    shares = policy and policy.probabilities()
    result = dict(
        topology=str(found), fields=asdict(found), **costs(found),
        measures={name: dict(mean=summary.mean, values=summary.values)
                  for name, summary in summaries.items()},
        best_seen=dict(to_row(best_of(history, objective), costs),
                       score=max(rate(history, objective))),
        entropy=policy and policy.entropy().item(), entropy_of_space=space.entropy,
        policy=shares and {name: dict(zip(map(str, space.choices[name]), probabilities))
                           for name, probabilities in shares.items()},
        topologies_measured=len({one.topology for one in history}), **facts)
    plot_search(history, objective, shares, space.choices, Path(work_dir, 'search.png'))
    folder = Path(work_dir, 'configs')
    folder.mkdir(exist_ok=True)
    emit_configs(found, folder, 'found', _provenance(found, objective, facts),
                 image_size=facts.get('detector_shape'))
    # last: where it is, all is
    write_json(Path(work_dir, 'topology.json'), result)


def _provenance(found: Genotype, objective: Objective, facts: dict) -> str:
    setting = facts['setting']
    return (f'Topology {found}\nfound by tools/search_topology.py: '
            f'{facts["strategy"]}, {facts["steps"]} steps, seed {facts["seed"]},\n'
            f'{setting["protocol"]} protocol, {setting["image_size"]} px, initialisations '
            f'{setting["repeats"]} per topology, images: {source_name(facts["data"])},\n'
            f'by {", ".join(objective.names)}.')


class Finished(NamedTuple):
    """A finished search, read from its work directory.

    Attributes:
        folder: The work directory.
        result: ``topology.json``.
        rows: ``history.csv``, numbers as numbers.
    """
    folder: str
    result: dict
    rows: List[Row]

    @property
    def topology(self) -> Genotype:
        """What it found."""
        return parse(self.result['topology'])

    @property
    def objective(self) -> Objective:
        """What it looked for."""
        return Objective(self.result['objective'])

    @property
    def measures(self) -> List[Values]:
        """The measures of its history."""
        return [{name: row[name] for name in self.objective.names} for row in self.rows]


def read_results(folder: Union[str, Path]) -> Finished:
    """Read a work directory.

    Raises:
        InputError: If it holds no finished search.
    """
    result = read_result(Path(folder, 'topology.json'), 'topology search', RESULT)
    rows = read_table(Path(folder, 'history.csv'),
                      columns(Objective(result['objective'])), texts=('topology', ))
    return Finished(str(folder), result, rows)
