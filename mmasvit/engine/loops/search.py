"""The topology search as the train loop of a Runner."""
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Union

import torch
from mmengine.dist import is_main_process
from mmengine.registry import LOOPS

from mmasvit.arguments import known_keys, one_of, whole_number
from mmasvit.engine.loops.measuring import MeasuringArguments, MeasuringLoop
from mmasvit.errors import InputError
from mmasvit.progress import progress_bar
from mmasvit.search.history import Evaluation, best_of
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.report import columns, to_row, write_results
from mmasvit.search.search import TopologySearch
from mmasvit.search.strategies import STRATEGIES


@dataclass(frozen=True, kw_only=True)
class SearchArguments(MeasuringArguments):
    """Keys of ``train_cfg`` of a search.

    Args:
        max_iters: Steps. The paper makes 500. Another number goes on with the same run.
        strategy: ``'reinforce'``, or the baselines ``'random'`` and ``'evolution'``.
        topologies_per_step: See :class:`~mmasvit.search.TopologySearch`. Defaults to 1,
            the paper's.
        baseline_momentum: Of the reward's moving average. Defaults to 0.9, the released
            value; None for no baseline.
        reward_window: Steps that scale the reward, None for all. Defaults to the
            protocol's.
        evolution: ``population`` and ``tournament``. Defaults to 50 and 10.
    """
    max_iters: int
    strategy: str = 'reinforce'
    topologies_per_step: int = 1
    baseline_momentum: Optional[float] = 0.9
    reward_window: Union[int, str, None] = 'protocol'
    evolution: dict = field(default_factory=dict)

    def __post_init__(self):
        whole_number('train_cfg.max_iters', self.max_iters, 1)
        one_of('strategy', self.strategy, STRATEGIES)
        if self.strategy == 'reinforce' and self.objective.by == 'rank':
            raise InputError("objective.by='rank' is for the strategies that compare, "
                             "'evolution' and 'random'; the reward of 'reinforce' is by "
                             'range')
        evolution = known_keys('evolution', self.evolution, ('population', 'tournament'))
        object.__setattr__(self, 'evolution', evolution)
        if self.reward_window == 'protocol':
            object.__setattr__(self, 'reward_window', self.setting.rules.reward_window)


@LOOPS.register_module(force=True)
class TopologySearchLoop(MeasuringLoop):
    """Algorithm 1 of the paper: a step samples, measures, rewards and updates.

    The Runner's model is a :class:`~mmasvit.search.TopologyPolicy`, its optimizer the
    policy's. Any number of processes gives the same numbers. At the end the work
    directory holds ``topology.json``, ``history.csv``, ``search.png`` and ``configs/``.

    Args:
        runner: See :class:`~mmasvit.engine.loops.measuring.MeasuringLoop`.
        dataloader: The same.
        **arguments: See :class:`SearchArguments`.
    """
    arguments_type, model_type = SearchArguments, TopologyPolicy
    kind, result = 'search', 'topology.json'

    def _prepare(self) -> None:
        given = self._arguments
        for topology in self._model.space.each_value():
            self._evaluator.check(topology)
        self._model.space.check_reachable(given.constraint)
        options = dict(reinforce=dict(update=self._update), evolution=given.evolution)
        strategy = STRATEGIES[given.strategy](
            self._model, given.constraint, given.objective,
            **options.get(given.strategy, {}))
        self._search = TopologySearch(
            strategy, self._evaluator, self._seed, given.objective,
            given.topologies_per_step, given.baseline_momentum, given.reward_window)

    def _describe(self) -> dict:
        given = self._arguments
        return dict(
            strategy=given.strategy, space=self._model.space.choices,
            topologies_per_step=given.topologies_per_step,
            baseline_momentum=given.baseline_momentum, reward_window=given.reward_window,
            evolution=given.evolution, optim_wrapper=self.runner.cfg.get('optim_wrapper'))

    def _extent(self) -> dict:
        return dict(steps=self._iter)

    def _update(self, batch: Dict[str, torch.Tensor]) -> None:
        self._model.train_step(batch, self.runner.optim_wrapper)

    @property
    def max_iters(self) -> int:
        """Steps in all."""
        return self._arguments.max_iters

    def run(self) -> torch.nn.Module:
        """Search; write the results at the end."""
        self._begin()
        self._history = self._table('history.csv', columns(
            self._arguments.objective, self._evaluator.cost_names))
        while self._iter < self.max_iters and (step := self._search.step(
                known_only=True)):
            self._record(step)
        self._before_steps()
        with progress_bar(self.max_iters, self._iter) as show:
            while self._iter < self.max_iters:
                self.run_iter()
                show(self._iter, self._progress)
        self._finish()
        return self._after_steps()

    def run_iter(self) -> None:
        """One step."""
        number = self._iter
        self.runner.call_hook('before_train_iter', batch_idx=number)
        step = self._search.step()
        outputs = {name: value for name, value in to_row(
            step[-1], self._evaluator.costs).items()
                   if name not in ('step', 'topology')}
        self.runner.call_hook('after_train_iter', batch_idx=number, outputs=outputs)
        self._record(step)

    def _record(self, step: List[Evaluation]) -> None:
        if self._history:
            self._history.append([to_row(one, self._evaluator.costs) for one in step])
        self._iter += 1

    def _progress(self) -> str:
        history = self._search.history
        best = best_of(history, self._arguments.objective)
        return f'entropy {history[-1].entropy:.2f}, best {best.topology}'

    def _finish(self) -> None:
        history = self._search.history
        found = self._search.strategy.found(history)
        summaries = self._evaluator([found])[0]  # on all processes
        if not is_main_process():
            return
        facts = self._facts(measures=self._evaluator.seconds(
            {found, *(one.topology for one in history)}))
        write_results(self.runner.work_dir, self._search, self._arguments.objective,
                      found, summaries, facts, self._evaluator.costs)
        self.runner.logger.info(f'found {found}; results in {self.runner.work_dir}')
