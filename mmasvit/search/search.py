"""One topology search, step by step, without a Runner."""
from typing import Dict, List, NamedTuple, Optional, Sequence

import torch

from mmasvit.complexity.untrained import generator
from mmasvit.errors import InputError
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.reward import SIGNS, MovingAverage, RelativeReward, Values, scores
from mmasvit.search.space import Choice, Constraint, table_costs
from mmasvit.search.strategies import (STRATEGIES, check_evolution, evolve, most_likely,
                                       sample)
from mmasvit.measuring.evaluator import Evaluator
from mmasvit.topology import Topology

Row = Dict[str, object]  # one topology of one step: text, numbers


class Step(NamedTuple):
    """What the policy learns from at one step.

    Attributes:
        choices: What was drawn.
        advantages: Rewards less the baseline.
        rows: The new rows of the history.
    """
    choices: List[Choice]
    advantages: List[float]
    rows: List[Row]


class TopologySearch:
    """Proposes topologies, has them measured and rewards them (algorithm 1).

    Everything but the policy's parameters is a function of the history and the
    arguments, so the history is all the state there is. What a step draws depends on the
    seed, the step and that state.

    Args:
        policy: The policy; only ``'reinforce'`` ever changes it, elsewhere.
        evaluator: Measures topologies.
        seed: Seed of what is drawn.
        strategy: ``'reinforce'``, ``'random'`` (the policy stays uniform) or
            ``'evolution'``.
        topologies_per_step: More than one is not the paper's: the policy then follows
            the mean gradient of several topologies.
        baseline_momentum: Of the moving average of rewards; None for no baseline.
        reward_window: Steps that scale the reward; None for all.
        constraint: Limits on the topologies.
        evolution: ``population`` and ``tournament`` of regularised evolution.

    Attributes:
        rows: The history.

    Raises:
        InputError: If an argument is out of range, or no topology keeps the limits.
    """

    def __init__(self, policy: TopologyPolicy, evaluator: Evaluator, seed: int,
                 strategy: str = 'reinforce', topologies_per_step: int = 1,
                 baseline_momentum: Optional[float] = 0.9,
                 reward_window: Optional[int] = None,
                 constraint: Constraint = Constraint(),
                 evolution: Optional[dict] = None):
        if strategy not in STRATEGIES:
            raise InputError(f'strategy must be one of {", ".join(STRATEGIES)}, got '
                             f'{strategy!r}')
        count = topologies_per_step
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise InputError('topologies_per_step must be a positive whole number, got '
                             f'{count!r}')
        sizes = {'population': 50, 'tournament': 10}
        if evolution is not None and not (
                isinstance(evolution, dict) and set(evolution) <= set(sizes)):
            raise InputError('evolution takes population and tournament, got '
                             f'{evolution!r}')
        self._evolution = check_evolution(**{**sizes, **(evolution or {})})
        constraint.check(policy.space)
        self.policy, self.space = policy, policy.space
        self._evaluator, self._seed, self._count = evaluator, seed, count
        self.strategy, self._constraint = strategy, constraint
        self._reward = RelativeReward(reward_window)
        self._baseline = (None if baseline_momentum is None
                          else MovingAverage(baseline_momentum))
        self.rows: List[Row] = []

    def step(self) -> Step:
        """Propose, measure and reward the topologies of the next step."""
        number = len(self.rows) // self._count + 1
        choices = self._propose(number)
        topologies = [self.space.topology(choice) for choice in choices]
        entropy = self.policy.entropy().item()
        measured = [{name: summary.mean for name, summary in summaries.items()}
                    for summaries in self._evaluator(topologies)]
        rewards, baseline = self._learn(measured)
        rows = [dict(step=number, topology=str(topology), **values, **{
            f'{name}_reward': reward[name] for name in SIGNS}, reward=reward['reward'],
                     baseline=baseline, entropy=entropy, **table_costs(topology))
                for topology, values, reward in zip(topologies, measured, rewards)]
        self.rows += rows
        return Step(choices, [reward['reward'] - baseline for reward in rewards], rows)

    def load(self, rows: Sequence[Row]) -> None:
        """Go on from a history, as if its steps had just been made."""
        self.rows = []
        for start in range(0, len(rows), self._count):
            self.rows += (step := rows[start:start + self._count])
            self._learn([_measures(row) for row in step])

    def scores(self) -> List[float]:
        """The scores of all topologies so far, on the scale of their own range."""
        return scores([_measures(row) for row in self.rows])

    def best(self) -> Row:
        """The row of the highest score; the first of equals."""
        rated = self.scores()
        return self.rows[rated.index(max(rated))]

    def found(self) -> Topology:
        """What the search returns.

        With a policy, the most likely topology (algorithm 1), which need not have been
        measured; otherwise the one of the highest score.
        """
        if self.strategy == 'reinforce':
            return self.space.topology(most_likely(self.policy, self._constraint))
        return Topology.parse(self.best()['topology'])

    def _propose(self, number: int) -> List[Choice]:
        proposals = []
        for position in range(self._count):
            draw = generator(self._seed, number, position, 6)
            if self.strategy == 'evolution':
                past = [self.space.choice(Topology.parse(row['topology']))
                        for row in self.rows]
                proposals.append(evolve(self.space, self._constraint, draw, past,
                                        self.scores, *self._evolution))
            else:
                proposals.append(sample(self.policy, self._constraint, draw))
        return proposals

    def _learn(self, measured: List[Values]):
        """Rewards of a step, and the baseline with them taken in."""
        rewards = self._reward(measured)
        mean = sum(reward['reward'] for reward in rewards) / len(rewards)
        return rewards, self._baseline.update(mean) if self._baseline else 0.


def _measures(row: Row) -> Values:
    return {name: row[name] for name in SIGNS}


def as_batch(step: Step) -> Dict[str, torch.Tensor]:
    """What a step gives the policy's ``train_step``."""
    return dict(choices=torch.tensor(step.choices),
                advantages=torch.tensor(step.advantages, dtype=torch.float32))
