"""Where the next topology of a search comes from, and what the search comes to.

A strategy is a class with ``propose``, ``learn`` and ``found``. All it may go by are the
history and its generator: a search is replayed, never restored.
"""
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Type

import torch
from torch import Tensor

from mmasvit.arguments import whole_number
from mmasvit.errors import InputError
from mmasvit.genotypes import Genotype
from mmasvit.limits import Constraint
from mmasvit.measuring.objective import Objective
from mmasvit.search.history import Evaluation, best_of, rate
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.space import Choice, Space

TRIES = 20_000  # draws until a constraint counts as impossible to keep in practice

Update = Callable[[Dict[str, Tensor]], object]  # makes a step of the policy's optimizer


class Proposal(NamedTuple):
    """A choice of the space, and the topology it stands for."""
    choice: Choice
    topology: Genotype


class Strategy:
    """Draws from its policy, learns nothing, and finds the best it saw.

    Args:
        policy: The policy, with its space.
        constraint: Limits on what is proposed.
        objective: What a score is made of.
    """

    def __init__(self, policy: TopologyPolicy, constraint: Constraint = Constraint(),
                 objective: Objective = Objective()):
        self.policy, self.space = policy, policy.space
        self._constraint, self._objective = constraint, objective

    def propose(self, history: Sequence[Evaluation], draw: torch.Generator) -> Proposal:
        """The next topology to measure.

        This is a draw from the policy, given that the limits are kept. What breaks them
        is drawn again, before anything is measured. The gradient of the normalising
        constant is left out: it has the mean advantage as its factor, which the baseline
        keeps near 0.

        Args:
            history: All evaluations so far.
            draw: Generator of this proposal.

        Raises:
            InputError: If none of ``TRIES`` draws keeps the limits.
        """
        return first_allowed(self.policy.samples(draw), self.space, self._constraint)

    def learn(self, step: Sequence[Evaluation]) -> None:
        """Take in the evaluations of a step."""

    def found(self, history: Sequence[Evaluation]) -> Genotype:
        """What the search returns."""
        return best_of(history, self._objective).topology

    @property
    def learned_policy(self) -> Optional[TopologyPolicy]:
        """The policy, if it is one that learns."""
        return None


class Random(Strategy):
    """Topologies from the uniform distribution; the best of them is found."""


class Reinforce(Strategy):
    """Algorithm 1: a policy follows the gradient of the reward.

    Args:
        policy: See :class:`Strategy`.
        constraint: The same.
        objective: The same.
        update: Takes what the policy's ``train_step`` does, and makes the step.
    """

    def __init__(self, policy: TopologyPolicy, constraint: Constraint = Constraint(),
                 objective: Objective = Objective(), *, update: Update):
        super().__init__(policy, constraint, objective)
        self._update = update

    def learn(self, step: Sequence[Evaluation]) -> None:
        """Make a step along the mean gradient of the evaluations."""
        self._update(as_batch(step))

    def found(self, history: Sequence[Evaluation]) -> Genotype:
        """The most likely topology that keeps the limits, measured or not."""
        return first_allowed(self.policy.most_likely(), self.space, self._constraint,
                             tries=self.space.size).topology

    @property
    def learned_policy(self) -> TopologyPolicy:
        """The policy."""
        return self.policy


class Evolution(Strategy):
    """Regularised evolution (Real et al., AAAI 2019).

    Args:
        policy: See :class:`Strategy`; stays uniform.
        constraint: The same.
        objective: The same.
        population: Number alive, the last ones; until there are so many, topologies are
            random.
        tournament: Number drawn from the living, of which the best has the child.

    Raises:
        InputError: Unless ``1 <= tournament <= population``.
    """

    def __init__(self, policy: TopologyPolicy, constraint: Constraint = Constraint(),
                 objective: Objective = Objective(), *, population: int = 50,
                 tournament: int = 10):
        super().__init__(policy, constraint, objective)
        self._population = whole_number('evolution.population', population, 1)
        self._tournament = whole_number('evolution.tournament', tournament, 1, population)

    def propose(self, history: Sequence[Evaluation], draw: torch.Generator) -> Proposal:
        """A parent with one value changed."""
        sizes = [len(values) for values in self.space.choices.values()]
        mutable = [i for i, size in enumerate(sizes) if size > 1]
        if len(history) < self._population or not mutable:
            return super().propose(history, draw)
        scores = rate(history, self._objective)
        alive = [(score, one.choice) for score, one
                 in zip(scores, history)][-self._population:]

        def below(number: int) -> int:
            return torch.randint(number, (), generator=draw).item()

        def draws() -> Iterator[Choice]:
            while True:
                rivals = torch.randperm(len(alive), generator=draw)[:self._tournament]
                _, parent = max((alive[i] for i in rivals.tolist()),
                                key=lambda rival: rival[0])
                position = mutable[below(len(mutable))]
                step = 1 + below(sizes[position] - 1)
                yield (*parent[:position], (parent[position] + step) % sizes[position],
                       *parent[position + 1:])

        return first_allowed(draws(), self.space, self._constraint)


STRATEGIES: Dict[str, Type[Strategy]] = dict(reinforce=Reinforce, random=Random,
                                             evolution=Evolution)


def first_allowed(draws: Iterator[Choice], space: Space, constraint: Constraint,
                  tries: Optional[int] = None) -> Proposal:
    """The first of many draws that keeps the limits.

    Args:
        draws: The draws.
        space: What they stand for.
        constraint: The limits.
        tries: How many are looked at. Defaults to ``TRIES``.

    Raises:
        InputError: If none of these does.
    """
    tries = TRIES if tries is None else tries
    for _, choice in zip(range(tries), draws):
        topology = space.topology(choice)
        if constraint.allows(topology):
            return Proposal(choice, topology)
    raise InputError(f'constraint: none of {tries} topologies drawn keeps the limits; '
                     'loosen them, or leave expensive values out of the space')


def as_batch(step: Sequence[Evaluation]) -> Dict[str, Tensor]:
    """What a step gives the policy's ``train_step``."""
    advantages: List[float] = [one.advantage for one in step]
    return dict(choices=torch.tensor([one.choice for one in step]),
                advantages=torch.tensor(advantages, dtype=torch.float32))
