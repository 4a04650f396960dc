"""Auto-scaling as the train loop of a Runner."""
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Iterator, List, Optional, Sequence, Tuple

import torch
from mmengine.dist import is_main_process
from mmengine.registry import LOOPS

from mmasvit.arguments import from_dict, whole_number
from mmasvit.engine.loops.measuring import MeasuringArguments, MeasuringLoop
from mmasvit.errors import InputError
from mmasvit.limits import Constraint
from mmasvit.measuring import Evaluator
from mmasvit.plotting import label
from mmasvit.progress import progress_bar
from mmasvit.scaling.family import Member, check_targets
from mmasvit.scaling.growth import (WIDTH_FACTORS, GrowthRule, Scaling, Step, Watch,
                                    random_walks)
from mmasvit.scaling.report import (choice_columns, history_columns, history_row,
                                    step_rows, write_family)
from mmasvit.scaling.seed import SeedTopology
from mmasvit.topology import MAX_WIDTH


@dataclass(frozen=True, kw_only=True)
class ScalingArguments(MeasuringArguments):
    """Keys of ``train_cfg`` of a scaling.

    Args:
        targets: Sizes that a member is wanted for, by ``params``, ``macs`` or any other
            cost that limits know, each an ascending list. Each gets configs of the largest member not above it.
        stop: The same costs: ends with the first member that has so many.
            Defaults to none; choices beyond ``constraint`` are not measured, and it
            ends when there is no other. One of the two must be given.
        width_factors: See :class:`~mmasvit.scaling.GrowthRule`. Defaults to the paper's.
        random_walks: Number of random scalings to compare with. Defaults to 10, the
            paper's.
        measure_random: Whether to measure them too, which costs about half of what the
            family does. Defaults to True.
    """
    targets: dict
    stop: Constraint = Constraint()
    width_factors: Sequence[float] = WIDTH_FACTORS
    random_walks: int = 10
    measure_random: bool = True

    def __post_init__(self):
        object.__setattr__(self, 'stop', from_dict(Constraint, 'stop', self.stop)
                           if not isinstance(self.stop, Constraint) else self.stop)
        whole_number('random_walks', self.random_walks, 0)
        if not isinstance(self.measure_random, bool):
            raise InputError('measure_random must be True or False, got '
                             f'{self.measure_random!r}')

    def counted_by(self, evaluator: Evaluator) -> 'ScalingArguments':
        """As of all loops; the stop counts alike."""
        return replace(super().counted_by(evaluator), stop=self.stop.counted_by(
            evaluator.costs, evaluator.cost_names, 'stop'))


@LOOPS.register_module(force=True)
class AutoScaleLoop(MeasuringLoop):
    """Algorithm 2 of the paper: every step measures the choices and grows by the best.

    The Runner's model is a :class:`~mmasvit.scaling.SeedTopology`; nothing is optimised.
    Any number of processes gives the same family. At the end the work directory holds
    ``family.json``, ``history.csv``, ``choices.csv``, ``scaling.png`` and ``configs/``.

    Args:
        runner: See :class:`~mmasvit.engine.loops.measuring.MeasuringLoop`.
        dataloader: The same.
        **arguments: See :class:`ScalingArguments`.
    """
    arguments_type, model_type = ScalingArguments, SeedTopology
    kind, result = 'scaling', 'family.json'

    def _prepare(self) -> None:
        given, seed = self._arguments, self._model.topology
        rule = GrowthRule(round(1 / given.setting.rules.scaling_width),
                          given.width_factors, given.constraint)
        self._evaluator.check(seed)
        self._scaling = Scaling(seed, rule, given.stop, self._evaluator, given.objective)
        self._targets = check_targets(given.targets, seed, given.stop, given.constraint)
        for target in self._targets:
            self._evaluator.check_growth(seed, f'targets.{target.cost}', target.cost,
                                         target.size)
        for word, limits in (('constraint', given.constraint), ('stop', given.stop)):
            for name, limit in limits.given.items():
                self._evaluator.check_growth(seed, f'{word}.{name}', name, limit)

    def _describe(self) -> dict:
        rule = self._scaling.rule
        return dict(
            seed_topology=str(self._model.topology), width_factors=rule.width_factors,
            measured_width=f'1/{rule.unit}')

    def _extent(self) -> dict:
        given = self._arguments
        return dict(stop=given.stop.to_dict(), random_walks=given.random_walks,
                    measure_random=given.measure_random)

    def run(self) -> torch.nn.Module:
        """Scale; write the results at the end."""
        self._begin()
        objective, costs = self._arguments.objective, self._evaluator.cost_names
        self._tables = (self._table('history.csv', history_columns(objective, costs)),
                        self._table('choices.csv', choice_columns(objective, costs)))
        self._scaling.measure_seed()
        while step := self._scaling.step(known_only=True):
            self._record(step)
        self._before_steps()
        while step := self._run_step():
            self._record(step)
        walks = self._random_walks()
        if is_main_process():
            self._finish(walks)
        self.runner.visualizer.close()
        return self._after_steps()

    def _record(self, step: Step) -> None:
        history, choices = self._tables
        if history:
            history.append([history_row(step)])
            choices.append(step_rows(step))
        self._iter += 1

    def _run_step(self) -> Optional[Step]:
        """One step, with a bar, a line of log and the hooks of an iteration."""
        runner, last = self.runner, self._scaling.members[-1]
        runner.call_hook('before_train_iter', batch_idx=self._iter)
        start = time.perf_counter()
        with _bar(f'step {last.step + 1}, from {_short(last)}') as watch:
            step = self._scaling.step(watch)
        if step is None:
            return None
        row = history_row(step)
        measures = ', '.join(f'{label(name)} {row[name]:.5g}'
                             for name in self._arguments.objective.names)
        runner.logger.info(
            f'step {step.number}: {_short(step.member)}, {measures}; '
            f'{_counts(step, last, len(self._scaling.rule.choices))}; '
            f'{time.perf_counter() - start:.1f} s')
        numbers = {name: value for name, value in row.items()
                   if isinstance(value, (int, float)) and name != 'step'}
        runner.visualizer.add_scalars(numbers, step=step.number)
        runner.call_hook('after_train_iter', batch_idx=self._iter, outputs=numbers)
        return step

    def _random_walks(self) -> List[List[Member]]:
        """Random scalings of the same seed by the same rule, and their measures."""
        scaling, given = self._scaling, self._arguments
        walks = random_walks(given.random_walks, scaling.members[0].topology,
                             scaling.rule, given.stop, given.setting.seed)
        if not given.measure_random or not walks:
            return walks
        topologies = [member.topology for walk in walks for member in walk]
        with _bar(f'{len(walks)} random scalings') as watch:
            measured = dict(zip(topologies, scaling.measure(topologies, watch)))
        return [[member._replace(summaries=measured[member.topology]) for member in walk]
                for walk in walks]

    def _finish(self, walks: List[List[Member]]) -> None:
        """Write the results, from what was measured now or before."""
        scaling = self._scaling
        steps, random = self._seconds(walks)
        write_family(self.runner.work_dir, scaling, self._targets, walks,
                     self._arguments.objective, self._facts(steps=steps, random=random))
        self.runner.logger.info(
            f'{len(scaling.members) - 1} steps, to {_short(scaling.members[-1])}; '
            f'results in {self.runner.work_dir}')

    def _seconds(self, walks: List[List[Member]]) -> Tuple[List[float], float]:
        """Seconds of measuring for each step, and for the walks beyond the steps."""
        scaling = self._scaling
        seen = {scaling.rule.measured(scaling.members[0].topology)}
        spent = []
        walked = [member.topology for walk in walks for member in walk]
        for asked in (*map(scaling.rule.grow, (
                member.topology for member in scaling.members[:-1])), walked):
            new = {scaling.rule.measured(topology) for topology in asked} - seen
            seen |= new
            spent.append(sum(self._evaluator.seconds(new).values()))
        return spent[:-1], spent[-1]


@contextmanager
def _bar(text: str) -> Iterator[Watch]:
    """A bar over the items of a step."""
    with progress_bar(1) as show:
        yield lambda done, total: show(done, lambda: text, total)


def _counts(step: Step, last: Member, choices: int) -> str:
    """How many of the choices were measured, and what became of the others."""
    words = [f'{len(step.ranked)} networks from {choices} choices']
    if step.over:
        words.append(f'{step.over} beyond the limits')
    same = choices - step.over - len(step.ranked)
    if same:
        words.append(f'{same} the same as another')
    if last.topology.widths[0] == MAX_WIDTH:
        words.append(f'all widths at their cap of {MAX_WIDTH}')
    return ', '.join(words)


def _short(member: Member) -> str:
    """Depths, width and size in a few words."""
    topology = member.topology
    return (f'{topology.depths} x {topology.embed_dims} '
            f'({member.costs["params"] / 1e6:.2f} M parameters, '
            f'{member.costs["macs"] / 1e9:.2f} G MACs)')
