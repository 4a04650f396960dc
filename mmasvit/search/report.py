"""What a search leaves behind: history, result, figure and configs."""
import csv
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Dict, List, NamedTuple, Union

from mmasvit.complexity import Summary
from mmasvit.emit import emit_configs
from mmasvit.errors import InputError
from mmasvit.files import write_json
from mmasvit.search.reward import SIGNS
from mmasvit.search.search import Row, TopologySearch
from mmasvit.search.space import table_costs
from mmasvit.topology import Topology

# history.csv: a row per topology and step, nothing that depends on time. Entropy is that
# of the policy the topology was drawn from, the baseline that which was taken off its
# reward; the costs are counted as in mmasvit.search.space.table_costs.
COLUMNS = ('step', 'topology', *SIGNS, *(f'{name}_reward' for name in SIGNS), 'reward',
           'baseline', 'entropy', 'params', 'macs')


def write_results(work_dir: str, search: TopologySearch, found: Topology,
                  summaries: Dict[str, Summary], facts: dict) -> None:
    """Write ``topology.json``, ``search.png`` and ``configs/``.

    Args:
        work_dir: Folder to write to.
        search: The search at its end.
        found: Its result.
        summaries: The result's measures.
        facts: What it was made with: seeds, settings, versions, times.
    """
    # importing mmasvit must not choose a matplotlib backend for everybody
    from mmasvit.search.figures import plot_search
    best, rated = search.best(), search.scores()
    uses_policy = search.strategy == 'reinforce'
    result = dict(
        topology=str(found), fields=asdict(found), **table_costs(found),
        measures={name: dict(mean=summary.mean, values=summary.values)
                  for name, summary in summaries.items()},
        best_seen=dict(best, score=max(rated)),
        entropy=search.policy.entropy().item() if uses_policy else None,
        entropy_of_space=search.space.entropy,
        policy=_named(search) if uses_policy else None,
        topologies_measured=len({row['topology'] for row in search.rows}), **facts)
    plot_search(search.rows, search.policy.probabilities() if uses_policy else None,
                search.space.choices, Path(work_dir, 'search.png'))
    folder = Path(work_dir, 'configs')
    os.makedirs(folder, exist_ok=True)
    emit_configs(found, folder, 'found', _provenance(found, facts))
    # last: where it is, all is
    write_json(Path(work_dir, 'topology.json'), result)


def _named(search: TopologySearch) -> Dict[str, Dict[str, float]]:
    return {name: dict(zip(map(str, search.space.choices[name]), probabilities))
            for name, probabilities in search.policy.probabilities().items()}


def _provenance(found: Topology, facts: dict) -> str:
    setting = facts['setting']
    source = facts['data']['source']
    source = source if isinstance(source, str) else source['type']
    return (f'Topology {found}\nfound by tools/search_topology.py: '
            f'{facts["strategy"]}, {facts["steps"]} steps, seed {facts["seed"]},\n'
            f'{setting["protocol"]} protocol, {setting["image_size"]} px, initialisations '
            f'{setting["repeats"]} per topology, images: {source}.')


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


def read_results(folder: Union[str, Path]) -> Finished:
    """Read a work directory.

    Raises:
        InputError: If it holds no finished search.
    """
    try:
        result = json.loads(Path(folder, 'topology.json').read_text(encoding='utf-8'))
        with open(Path(folder, 'history.csv'), newline='', encoding='utf-8') as file:
            rows = [{name: value if name == 'topology' else float(value)
                     for name, value in row.items()} for row in csv.DictReader(file)]
        for needed in ('topology', 'strategy', 'setting', 'seed', 'data', 'policy',
                       'entropy', 'entropy_of_space', 'constraint', 'steps', 'best_seen',
                       'topologies_per_step', 'topologies_measured', 'seconds'):
            result[needed]
        if not rows or set(COLUMNS) - set(rows[0]):
            raise ValueError('the history has no rows, or not all columns')
    except OSError as error:
        raise InputError(f'{folder} holds no finished topology search: {error.strerror} '
                         f'({os.path.basename(error.filename)})') from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{folder}: topology.json or history.csv is damaged: {error}'
                         ) from None
    return Finished(str(folder), result, rows)
