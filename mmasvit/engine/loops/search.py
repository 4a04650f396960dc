"""The topology search as the training loop of a Runner."""
import time
from dataclasses import asdict
from pathlib import Path
from typing import Optional, Union

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.registry import LOOPS
from mmengine.runner import BaseLoop, Runner

from mmasvit.complexity import Setting
from mmasvit.engine.loops.measuring import (build_evaluator, from_dict, plain,
                                            probe_dataloader, versions)
from mmasvit.progress import progress_bar
from mmasvit.engine.loops.state import LoopStateHook, check_same_run
from mmasvit.errors import InputError
from mmasvit.files import TableFile
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.report import COLUMNS, write_results
from mmasvit.search.search import TopologySearch, as_batch
from mmasvit.search.space import Constraint


@LOOPS.register_module(force=True)
class TopologySearchLoop(BaseLoop):
    """Algorithm 1 of the paper: an iteration samples, measures, rewards and updates.

    The Runner's model is a :class:`~mmasvit.search.policy.TopologyPolicy`, its optimizer
    the policy's, its ``train_dataloader`` names the images
    (``dict(dataset=dict(type='ProbeImages', data=...))``; their number, size and seed are
    the setting's). Any number of processes gives the same numbers.

    Everything measured goes to ``measurements.jsonl`` of the work directory at once and
    is not measured again, neither by a resumed run nor by a new one of the same setting
    there. At the end the work directory holds ``topology.json``, ``history.csv``,
    ``search.png`` and ``configs/``.

    Args:
        runner: The Runner; its seed decides what is drawn.
        dataloader: Config of the Runner's ``train_dataloader``.
        max_iters: Steps. The paper makes 500.
        setting: Arguments of :class:`~mmasvit.complexity.Setting`; its ``seed`` defaults
            to the Runner's.
        strategy: ``'reinforce'``, or the baselines ``'random'`` and ``'evolution'``.
        topologies_per_step: See :class:`~mmasvit.search.search.TopologySearch`.
            Defaults to 1, the paper's.
        baseline_momentum: Of the reward's moving average. Defaults to 0.9, the released
            value; None for no baseline.
        reward_window: Steps that scale the reward, None for all. Defaults to the
            protocol's.
        constraint: ``macs`` and ``params`` at most; see
            :class:`~mmasvit.search.space.Constraint`. Defaults to no limit.
        evolution: ``population`` and ``tournament``. Defaults to 50 and 10.
        threads: Intra-op threads per item of work, which the last digits depend on.
            Defaults to 1: start a process per core instead.
        measure: Name in mmengine's ``FUNCTIONS`` of what measures an item, called like
            :func:`~mmasvit.complexity.measure_repeat`. Defaults to that.

    Raises:
        InputError: If an argument is wrong, or the work directory holds measurements of
            another setting.
    """

    def __init__(self, runner: Runner, dataloader: dict, max_iters: int,
                 setting: Optional[dict] = None, strategy: str = 'reinforce',
                 topologies_per_step: int = 1,
                 baseline_momentum: Optional[float] = 0.9,
                 reward_window: Union[int, str, None] = 'protocol',
                 constraint: Optional[dict] = None, evolution: Optional[dict] = None,
                 threads: int = 1, measure: Optional[str] = None):
        if isinstance(max_iters, bool) or not isinstance(max_iters, int) or max_iters < 1:
            raise InputError('train_cfg.max_iters must be a positive whole number, got '
                             f'{max_iters!r}')
        if runner._randomness_cfg.get('seed') is None:
            raise InputError('randomness.seed must be given: a search is repeated and '
                             'resumed by its seed')
        self._max_iters, self._iter, self._epoch = max_iters, 0, 0
        self._setting = from_dict(Setting, 'setting', setting, seed=runner.seed)
        limits = from_dict(Constraint, 'constraint', constraint)
        super().__init__(runner, probe_dataloader(dataloader, self._setting))
        window = (self._setting.rules.reward_window if reward_window == 'protocol'
                  else reward_window)
        policy = runner.model
        # every process makes the same update by itself: nothing to synchronise
        self._policy = policy.module if is_model_wrapper(policy) else policy
        if not isinstance(self._policy, TopologyPolicy):
            raise InputError("model.type must be 'TopologyPolicy', the model is a "
                             f'{type(self._policy).__name__}')
        self._evaluator, origin = build_evaluator(
            runner.work_dir, self._setting, self.dataloader.dataset, measure, threads)
        self._search = TopologySearch(
            self._policy, self._evaluator, runner.seed, strategy, topologies_per_step,
            baseline_momentum, window, limits, evolution)
        self._run = dict(
            strategy=strategy, space=self._policy.space.choices, seed=runner.seed,
            topologies_per_step=topologies_per_step, baseline_momentum=baseline_momentum,
            reward_window=window, constraint=asdict(limits),
            evolution=dict(evolution or {}),
            optim_wrapper=plain(runner.cfg.get('optim_wrapper')), **origin)
        self._seconds = dict(total=0., measuring=0.)
        runner.register_hook(LoopStateHook(self))

    @property
    def max_epochs(self) -> int:
        """The Runner's hooks ask; the search is one epoch."""
        return 1

    @property
    def max_iters(self) -> int:
        """Steps in all."""
        return self._max_iters

    @property
    def epoch(self) -> int:
        """Always 0."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Steps made."""
        return self._iter

    def state_dict(self) -> dict:
        """The history and what it was made with."""
        return dict(run=plain(self._run), rows=[dict(row) for row in self._search.rows],
                    seconds=dict(self._seconds))

    def load_state_dict(self, state: dict) -> None:
        """Take over a history.

        Raises:
            InputError: If it was made with something else.
        """
        check_same_run(state['run'], plain(self._run))
        made = state['rows'][-1]['step'] if state['rows'] else 0
        if made > self._max_iters:
            raise InputError(f'the run to resume has made {made} steps, more than '
                             f'train_cfg.max_iters={self._max_iters}')
        self._search.load(state['rows'])
        self._seconds = dict(state['seconds'])

    def run(self) -> torch.nn.Module:
        """Search; write the results at the end."""
        runner = self.runner
        runner.call_hook('before_train')
        runner.call_hook('before_train_epoch')
        history = None
        if is_main_process():
            Path(runner.work_dir, 'topology.json').unlink(missing_ok=True)
            history = TableFile(Path(runner.work_dir, 'history.csv'), COLUMNS,
                                self._search.rows)
        with progress_bar(self._max_iters, self._iter) as show:
            while self._iter < self._max_iters:
                rows = self.run_iter()
                if history:
                    history.append(rows)
                show(self._iter, f'entropy {rows[-1]["entropy"]:.2f}, best '
                                 f'{self._search.best()["topology"]}')
        self._finish()
        runner.call_hook('after_train_epoch')
        runner.call_hook('after_train')
        return runner.model

    def run_iter(self) -> list:
        """One step; returns its rows of the history."""
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=self._iter)
        start = time.perf_counter()
        step = self._search.step()
        self._seconds['measuring'] += time.perf_counter() - start
        if self._search.strategy == 'reinforce':
            self._policy.train_step(as_batch(step), runner.optim_wrapper)
        self._seconds['total'] += time.perf_counter() - start
        outputs = {name: value for name, value in step.rows[-1].items()
                   if name not in ('step', 'topology')}
        runner.call_hook('after_train_iter', batch_idx=self._iter, outputs=outputs)
        self._iter += 1
        return step.rows

    def _finish(self) -> None:
        found = self._search.found()
        summaries = self._evaluator([found])[0]  # on all processes
        if not is_main_process():
            return
        used = {row['topology'] for row in self._search.rows}
        for (topology, _), measures in self._evaluator.known.items():
            for name, measured in measures.items() if str(topology) in used else ():
                key = f'{name} (sum over processes)'
                self._seconds[key] = self._seconds.get(key, 0.) + measured.seconds
        facts = dict(
            self._run, steps=self._iter, processes=get_world_size(),
            items_measured=self._evaluator.measured,
            seconds={name: round(value, 3) for name, value in self._seconds.items()},
            versions=versions())
        write_results(self.runner.work_dir, self._search, found, summaries, facts)
        self.runner.logger.info(f'found {found}; results in {self.runner.work_dir}')
