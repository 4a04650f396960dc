"""Auto-scaling as the test loop of a Runner."""
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Iterator, List, Optional, Sequence

from mmengine.dist import get_world_size, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner

from mmasvit.complexity import Setting
from mmasvit.engine.loops.measuring import (build_evaluator, from_dict, plain,
                                            probe_dataloader, versions)
from mmasvit.progress import progress_bar
from mmasvit.errors import InputError
from mmasvit.files import TableFile
from mmasvit.models import AsViT
from mmasvit.scaling.report import (CHOICE_COLUMNS, HISTORY_COLUMNS, history_row,
                                   step_rows, write_family)
from mmasvit.scaling.family import Member, check_targets
from mmasvit.scaling.growth import (WIDTH_FACTORS, GrowthRule, Scaling, Step, Watch,
                                    random_walks)
from mmasvit.search.space import Constraint
from mmasvit.topology import MAX_WIDTH, Topology


@LOOPS.register_module(force=True)
class AutoScaleLoop(BaseLoop):
    """Algorithm 2 of the paper: every step measures the choices and grows by the best.

    Nothing is optimised, so this is a test loop: the Runner's model is the seed, an
    :class:`~mmasvit.models.AsViT` of which only the topology matters, its
    ``test_dataloader`` names the images (``dict(dataset=dict(type='ProbeImages',
    data=...))``; their number, size and seed are the setting's), and there is no
    ``test_evaluator`` (``[]``). Any number of processes gives the same family.

    Every measurement goes to ``measurements.jsonl`` of the work directory at once and is
    never made again. The family is a function of the measurements, so a run that was
    interrupted goes on when it is started again; there are no checkpoints. At the end the
    work directory holds ``family.json``, ``history.csv``, ``choices.csv``,
    ``scaling.png`` and ``configs/``.

    Args:
        runner: The Runner.
        dataloader: Config of the Runner's ``test_dataloader``.
        evaluator: The Runner's ``test_evaluator``; nothing is evaluated.
        targets: Sizes that a member is wanted for, ``params``, ``macs`` or both, each an
            ascending list. Each gets configs of the largest member not above it.
        stop: ``params`` and ``macs``: ends with the first member that has so many.
            Defaults to none.
        constraint: ``params`` and ``macs`` at most: choices beyond are not measured; ends
            when there is no other. Defaults to none; one of ``stop`` and ``constraint``
            must be given.
        setting: Arguments of :class:`~mmasvit.complexity.Setting`; its ``seed`` defaults
            to the Runner's.
        width_factors: See :class:`~mmasvit.scaling.growth.GrowthRule`. Defaults to the
            paper's.
        random_walks: Number of random scalings to compare with. Defaults to 10, the
            paper's.
        measure_random: Whether to measure them too, which costs about half of what the
            family does. Defaults to True.
        threads: Intra-op threads per item of work, which the last digits depend on.
            Defaults to 1: start a process per core instead.
        measure: Name in mmengine's ``FUNCTIONS`` of what measures an item, called like
            :func:`~mmasvit.complexity.measure_repeat`. Defaults to that.

    Raises:
        InputError: If an argument is wrong, or the work directory holds measurements of
            another setting.
    """

    def __init__(self, runner: Runner, dataloader: dict, evaluator: Sequence = (), *,
                 targets: dict, stop: Optional[dict] = None,
                 constraint: Optional[dict] = None, setting: Optional[dict] = None,
                 width_factors: Sequence[float] = WIDTH_FACTORS, random_walks: int = 10,
                 measure_random: bool = True, threads: int = 1,
                 measure: Optional[str] = None):
        if evaluator:
            raise InputError('test_evaluator must be []: scaling evaluates nothing')
        if runner._randomness_cfg.get('seed') is None:
            raise InputError('randomness.seed must be given: a family is repeated by its '
                             'seed')
        if isinstance(random_walks, bool) or not isinstance(random_walks, int) \
                or random_walks < 0:
            raise InputError('random_walks must be a whole number, got '
                             f'{random_walks!r}')
        if not isinstance(measure_random, bool):
            raise InputError(f'measure_random must be True or False, got '
                             f'{measure_random!r}')
        seed = _seed_topology(runner)
        self._setting = from_dict(Setting, 'setting', setting, seed=runner.seed)
        self._stop = from_dict(Constraint, 'stop', stop)
        limits = from_dict(Constraint, 'constraint', constraint)
        rule = GrowthRule(round(1 / self._setting.rules.scaling_width), width_factors,
                          limits)
        super().__init__(runner, probe_dataloader(dataloader, self._setting))
        self._evaluator, origin = build_evaluator(
            runner.work_dir, self._setting, self.dataloader.dataset, measure, threads)
        self._scaling = Scaling(seed, rule, self._stop, self._evaluator)
        self._targets = check_targets(targets, seed, self._stop, limits)
        self._walks, self._measure_random = random_walks, measure_random
        self._run = plain(dict(
            stop=asdict(self._stop), constraint=asdict(limits),
            width_factors=rule.width_factors, measured_width=f'1/{rule.unit}',
            random_walks=random_walks, measure_random=measure_random, seed=runner.seed,
            **origin))

    def run(self) -> dict:
        """Scale; write the results at the end.

        Returns:
            The last member's size, ``params`` and ``macs``.
        """
        runner, start = self.runner, time.perf_counter()
        runner.call_hook('before_test')
        runner.call_hook('before_test_epoch')
        history = choices = None
        if is_main_process():
            Path(runner.work_dir, 'family.json').unlink(missing_ok=True)
            history = TableFile(Path(runner.work_dir, 'history.csv'), HISTORY_COLUMNS)
            choices = TableFile(Path(runner.work_dir, 'choices.csv'), CHOICE_COLUMNS)
        self._scaling.measure_seed()
        while step := self._run_step():
            if history:
                history.append([history_row(step)])
                choices.append(step_rows(step))
        walks = self._random_walks()
        if is_main_process():
            self._write(walks, time.perf_counter() - start)
        costs = self._scaling.members[-1].costs
        runner.call_hook('after_test_epoch', metrics=costs)
        runner.call_hook('after_test')
        runner.visualizer.close()
        return costs

    def _run_step(self) -> Optional[Step]:
        """One step, with a bar, a line of log and the hooks of an iteration."""
        runner, last = self.runner, self._scaling.members[-1]
        runner.call_hook('before_test_iter', batch_idx=last.step)
        start = time.perf_counter()
        with _measuring(f'step {last.step + 1}, from {_short(last)}') as watch:
            step = self._scaling.step(watch)
        if step is None:
            return None
        row = history_row(step)
        runner.logger.info(
            f'step {step.number}: {_short(step.member)}, length distortion '
            f'{row["length_distortion"]:.5g}, condition number '
            f'{row["ntk_condition_number"]:.5g}; '
            f'{_counts(step, last, len(self._scaling.rule.choices))}; '
            f'{time.perf_counter() - start:.1f} s')
        runner.visualizer.add_scalars(
            {name: value for name, value in row.items()
             if isinstance(value, (int, float)) and name != 'step'}, step=step.number)
        runner.call_hook('after_test_iter', batch_idx=last.step, outputs=row)
        return step

    def _random_walks(self) -> List[List[Member]]:
        """Random scalings of the same seed by the same rule, and their measures."""
        scaling = self._scaling
        walks = random_walks(self._walks, scaling.members[0].topology, scaling.rule,
                             self._stop, self._setting.seed)
        if not self._measure_random or not walks:
            return walks
        topologies = [member.topology for walk in walks for member in walk]
        with _measuring(f'{len(walks)} random scalings') as watch:
            measured = dict(zip(topologies, scaling.measure(topologies, watch)))
        return [[member._replace(summaries=measured[member.topology]) for member in walk]
                for walk in walks]

    def _write(self, walks: List[List[Member]], total: float) -> None:
        """Write the results, from what was measured now or before."""
        scaling = self._scaling
        facts = dict(
            self._run, processes=get_world_size(),
            items_measured=self._evaluator.measured, versions=versions(),
            seconds=dict(total=round(total, 3), **self._seconds(walks)))
        write_family(self.runner.work_dir, scaling, self._targets, walks, facts)
        self.runner.logger.info(
            f'{len(scaling.members) - 1} steps, to {_short(scaling.members[-1])}; '
            f'results in {self.runner.work_dir}')

    def _seconds(self, walks: List[List[Member]]) -> dict:
        """Seconds of measuring, summed over processes; known of earlier runs too."""
        scaling, seen = self._scaling, set()

        def spent(topologies: Sequence[Topology]) -> float:
            new = {scaling.rule.measured(topology) for topology in topologies} - seen
            seen.update(new)
            return round(sum(measured.seconds for (topology, _), repeat
                             in self._evaluator.known.items() if topology in new
                             for measured in repeat.values()), 3)

        spent([scaling.members[0].topology])
        steps = [spent(list(scaling.rule.grow(member.topology)))
                 for member in scaling.members[:-1]]
        walked = [member.topology for walk in walks for member in walk]
        return {'steps (sum over processes)': steps,
                'random scalings (sum over processes)': spent(walked)}


def _seed_topology(runner: Runner) -> Topology:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    if not isinstance(model, AsViT):
        raise InputError("model.type must be 'AsViT', the seed to grow; the model is a "
                         f'{type(model).__name__}')
    return model.topology


@contextmanager
def _measuring(text: str) -> Iterator[Watch]:
    """A bar over the items of a step."""
    with progress_bar(1) as show:
        yield lambda done, total: show(done, text, total)


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
