"""What auto-scaling leaves behind: family, history, figure and configs."""
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple, Union

from mmasvit.arguments import Either, numeric, real
from mmasvit.datasets.probe_images import source_name
from mmasvit.emit import emit_configs, suited_drop_path_rate
from mmasvit.errors import InputError
from mmasvit.files import read_result, write_json
from mmasvit.genotypes import parse
from mmasvit.limits import OWN_COSTS
from mmasvit.measuring import Objective
from mmasvit.scaling.family import Member, Target, at_size, nearest_below
from mmasvit.scaling.figure import plot_scaling
from mmasvit.scaling.growth import Scaling, Step
from mmasvit.stats import Spread
from mmasvit.topology import NUM_STAGES

_SIZES = (*(f'L{stage + 1}' for stage in range(NUM_STAGES)), 'C')

Row = Dict[str, object]

_MEMBER = dict(
    step=int, topology=parse, depths=[int], embed_dims=int, total_depth=real,
    total_width=real, params=real, macs=real,
    measures=Either({str: dict(mean=numeric, values=[numeric])}, None),
    **{'latency?': numeric})
# family.json, as far as anybody reads it
RESULT = dict(
    members=[_MEMBER], random=[dict(members=[_MEMBER])], seed_topology=parse,
    targets=[dict(_MEMBER, cost=str, target=real, configs=[str])],
    comparison=[dict(cost=str, size=real, measure=str, ours=numeric, random_mean=numeric,
                     random_deviation=numeric, walks=int, better_than=int)],
    setting=dict(protocol=str, seed=int, image_size=int),
    seconds=dict(steps=[real], random=real, clock=real),
    **{'objective?': lambda given: Objective(given), 'detector_shape?': [int],
       'references?': {str: dict(milliseconds=real, params=real, macs=real)}})


def choice_columns(objective: Objective, costs: Sequence[str] = OWN_COSTS
                   ) -> Tuple[str, ...]:
    """Columns of ``choices.csv``: a row per topology measured in a step.

    Nothing in it depends on time; the costs are those of the evaluator, unless measures
    of the objective have their names.
    """
    return ('step', 'chosen', 'stage', 'width_factors', 'topology',
            *objective.columns((*_SIZES, *costs)), *objective.names,
            *(f'{name}_rank' for name in objective.names), 'rank_sum')


def history_columns(objective: Objective, costs: Sequence[str] = OWN_COSTS
                    ) -> Tuple[str, ...]:
    """Columns of ``history.csv``: of those rows the chosen ones, with what they say
    about the others."""
    return tuple(name for name in choice_columns(objective, costs) if name != 'chosen') + (
        'measured', 'over_limit', 'least_rank_sum_shared_by')


def step_rows(step: Step) -> List[Row]:
    """Rows of ``choices.csv`` for a step, in the order of the ranking."""
    rows = []
    for ranked in step.ranked:
        choices = step.choices[ranked.topology]
        rows.append(dict(
            _describe(Member(step.number, ranked.topology, count=step.count)), step=step.number,
            chosen=int(not rows), stage=choices[0].stage,
            width_factors='|'.join(f'{choice.factor:g}' for choice in choices),
            **{name: summary.mean
               for name, summary in step.summaries[ranked.topology].items()},
            **{f'{name}_rank': number for name, number in ranked.ranks.items()},
            rank_sum=ranked.rank_sum))
    return rows


def history_row(step: Step) -> Row:
    """The row of ``history.csv`` for a step."""
    row = step_rows(step)[0]
    del row['chosen']
    least = [ranked.rank_sum for ranked in step.ranked].count(row['rank_sum'])
    return dict(row, measured=len(step.ranked), over_limit=step.over,
                least_rank_sum_shared_by=least)


def _describe(member: Member) -> Row:
    topology = member.topology
    return dict(topology=str(topology), **dict(zip(_SIZES, topology.depths)),
                C=topology.embed_dims, **member.costs)


def _record(member: Member) -> dict:
    """A member for ``family.json``."""
    measures = {name: dict(mean=summary.mean, values=summary.values)
                for name, summary in (member.summaries or {}).items()}
    return dict(
        step=member.step, topology=str(member.topology),
        depths=list(member.topology.depths), embed_dims=member.topology.embed_dims,
        total_depth=member.extent.depth, total_width=member.extent.width, **member.costs,
        measures=measures or None)


def compare(members: Sequence[Member], walks: Sequence[Sequence[Member]],
            targets: Sequence[Target], objective: Objective) -> List[dict]:
    """The measures of a family and of random scaling, at equal size.

    Args:
        members: The family with its measures.
        walks: Random scalings with theirs.
        targets: The sizes.
        objective: Which measures, and which way each is better.

    Returns:
        For each target and measure ours, the walks' mean and deviation, how many walks
        reach the size, and how many of them ours is better than. Between two members a
        measure is interpolated (:func:`~mmasvit.scaling.family.at_size`).
    """
    rows = []
    for target in targets:
        for name, sign, _ in objective.parts:
            ours = at_size(members, name, target)
            theirs = [value for value in (at_size(walk, name, target) for walk in walks)
                      if value is not None]
            if ours is None or not theirs:
                continue
            mean, deviation = Spread.of(theirs)
            rows.append(dict(cost=target.cost, size=target.size, measure=name, ours=ours,
                             random_mean=mean, random_deviation=deviation,
                             walks=len(theirs),
                             better_than=sum(sign * ours > sign * value
                                             for value in theirs)))
    return rows


def write_family(work_dir: str, scaling: Scaling, targets: Sequence[Target],
                 walks: Sequence[Sequence[Member]], objective: Objective,
                 facts: dict) -> None:
    """Write ``configs/``, ``scaling.png`` and ``family.json``.

    Args:
        work_dir: Folder to write to.
        scaling: Scaling at its end.
        targets: Sizes that a member is wanted for.
        walks: Random scalings, with measures or without.
        objective: What made a choice the best.
        facts: What it was made with: seeds, settings, versions, times.
    """
    members = scaling.members
    folder = Path(work_dir, 'configs')
    folder.mkdir(exist_ok=True)
    chosen = []
    for target in targets:
        member = nearest_below(members, target)
        emitted = emit_configs(
            member.topology, folder, target.name,
            _provenance(members[0], member, target, facts),
            suited_drop_path_rate(member.costs['params']), facts.get('detector_shape'))
        chosen.append(dict(
            cost=target.cost, target=target.size, **_record(member),
            passed=any(one.costs[target.cost] > target.size for one in members),
            configs=[f'configs/{path.name}' for path in emitted]))
    measured = [walk for walk in walks if all(member.summaries for member in walk)]
    plot_scaling(members, walks, objective, Path(work_dir, 'scaling.png'))
    # last: where it is, all is
    write_json(Path(work_dir, 'family.json'), dict(
        members=[_record(member) for member in members], targets=chosen,
        random=[dict(walk=number, members=[_record(member) for member in walk])
                for number, walk in enumerate(walks)],
        comparison=compare(members, measured, targets, objective), **facts))


def _provenance(seed: Member, member: Member, target: Target, facts: dict) -> str:
    setting = facts['setting']
    words = dict(params='parameters', macs='multiply-accumulates',
                 latency='ms on the device that was profiled',
                 detector_params='parameters of the detector',
                 detector_macs='multiply-accumulates of the detector')[target.cost]
    return (f'Topology {member.topology}\ngrown by tools/scale_topology.py from '
            f'{seed.topology}\nin {member.step} steps; the largest of its family '
            f'with at most {target.size:.4g} {words}.\n'
            f'{setting["protocol"]} protocol, {setting["image_size"]} px, initialisations '
            f'{setting["repeats"]} per topology, seed {setting["seed"]}, images: '
            f'{source_name(facts["data"])}.')


class FinishedFamily(NamedTuple):
    """A finished scaling, read from its work directory.

    Attributes:
        folder: The work directory.
        result: ``family.json``.
    """
    folder: str
    result: dict


def read_family(folder: Union[str, Path]) -> FinishedFamily:
    """Read a work directory.

    Raises:
        InputError: If it holds no finished scaling.
    """
    path = Path(folder, 'family.json')
    result = read_result(path, 'scaling', RESULT)
    if not result['members']:
        raise InputError(f'{path} is damaged: it has no members')
    return FinishedFamily(str(folder), result)
