"""Growing a topology in depth and width without training (section 3.4, algorithm 2)."""
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from scipy.stats import rankdata

from mmasvit.arguments import number
from mmasvit.complexity import Summary
from mmasvit.errors import InputError
from mmasvit.limits import Constraint, Costs, own_costs
from mmasvit.measuring import Evaluator, Objective, Values
from mmasvit.random import Purpose, generator
from mmasvit.scaling.family import Member
from mmasvit.topology import MAX_WIDTH, NUM_STAGES, Topology

WIDTH_FACTORS = (1.05, 1.1, 1.15, 1.2)  # algorithm 2, line 1

Watch = Callable[[int, int], None]  # items done, items to do


class Choice(NamedTuple):
    """One way to grow.

    Attributes:
        stage: The stage that gets one more block, from 1.
        factor: What the width is multiplied by.
    """
    stage: int
    factor: float


@dataclass(frozen=True)
class GrowthRule:
    """The choices of a step: a block more in one stage, times a wider C.

    The width that is measured, a ``1 / unit`` of the real one, is multiplied and rounded
    to the nearest whole number, halves to the even one, in exact arithmetic. The real
    width is ``unit`` times that, so it moves in steps of ``unit``, and does not grow
    beyond 1024, where all stages are at their cap.

    Args:
        unit: Real channels per channel measured. Defaults to 1.
        width_factors: What the width may be multiplied by. Defaults to the paper's.
        constraint: Limits on what is grown; see
            :class:`~mmasvit.limits.Constraint`. Defaults to none.

    Raises:
        InputError: If the factors are no ascending list of numbers above 1.
    """
    unit: int = 1
    width_factors: Tuple[float, ...] = WIDTH_FACTORS
    constraint: Constraint = Constraint()

    def __post_init__(self):
        factors = self.width_factors
        if not isinstance(factors, (list, tuple)) or not factors:
            raise InputError(f'width_factors must be a list of numbers, got {factors!r}')
        for factor in factors:
            number('each of width_factors', factor, above=1)
        if sorted(set(factors)) != list(factors):
            raise InputError(f'width_factors must ascend, got {list(factors)}')
        object.__setattr__(self, 'width_factors', tuple(factors))

    @property
    def choices(self) -> List[Choice]:
        """All choices of a step, 16 of them in the paper."""
        return [Choice(stage, factor) for stage in range(1, NUM_STAGES + 1)
                for factor in self.width_factors]

    def apply(self, topology: Topology, choice: Choice) -> Topology:
        """The topology that a choice makes of another."""
        depths = list(topology.depths)
        depths[choice.stage - 1] += 1
        width = round(topology.embed_dims // self.unit * Fraction(str(choice.factor)))
        # beyond the cap no layer changes: stay at one name for one network
        width = max(topology.embed_dims, min(self.unit * width, MAX_WIDTH))
        return replace(topology, depths=tuple(depths), embed_dims=width)

    def grow(self, topology: Topology) -> Dict[Topology, List[Choice]]:
        """What a step may lead to, each with the choices that make it.

        Choices that make the same network collapse; those beyond the limits are left out.
        """
        grown: Dict[Topology, List[Choice]] = {}
        for choice in self.choices:
            grown.setdefault(self.apply(topology, choice), []).append(choice)
        return {topology: choices for topology, choices in grown.items()
                if self.constraint.allows(topology)}

    def measured(self, topology: Topology) -> Topology:
        """The topology at the width that is measured.

        Raises:
            InputError: If it has no such width, or then fewer channels than heads.
        """
        width, rest = divmod(topology.embed_dims, self.unit)
        if rest or not width:
            raise InputError(f'C = {topology.embed_dims} of the seed topology must be a '
                             f'multiple of {self.unit}: it is measured at 1/{self.unit} '
                             'of its width')
        try:
            return replace(topology, embed_dims=width)
        except InputError as error:
            raise InputError(f'the seed topology is measured at 1/{self.unit} of its '
                             f'width: {error}') from None


class Ranked(NamedTuple):
    """A topology among the choices of its step.

    Attributes:
        topology: What was measured.
        ranks: Per measure, from 1; equal values share a rank and the next value has the
            next number.
        rank_sum: Sum of the ranks, each times its measure's weight.
    """
    topology: Topology
    ranks: Dict[str, int]
    rank_sum: float


def rank(measured: Dict[Topology, Values], objective: Objective = Objective()
         ) -> List[Ranked]:
    """Order topologies by the sum of their ranks, best first (algorithm 2, lines 7 to 10).

    Each measure is ranked from the best; an infinity of the wrong kind and NaN come last.
    Ranks count as often as their measure weighs. The paper does not say what decides
    between equal sums. The released code looks at the measure whose finite values differ more,
    relative to the largest; so do we, and the better rank there wins. (It then compares
    two topologies only, and takes the smaller value even of length distortion; we do
    not.) Topologies equal in that too are ordered by parameters, fewer first, and at
    last by their text. So the order is total and depends on nothing but the measures.

    Args:
        measured: Means of the measures by topology.
        objective: Which measures, and how they weigh. Defaults to the paper's.
    """
    ranks = {name: rankdata([_badness(values[name], sign) for values in measured.values()],
                            method='dense').tolist()
             for name, sign, _ in objective.parts}
    decisive = max(objective.names, key=lambda name: _relative_range(
        [values[name] for values in measured.values()]))
    ranked = []
    for i, topology in enumerate(measured):
        own = {name: int(ranks[name][i]) for name in objective.names}
        ranked.append(Ranked(topology, own, sum(
            weight * own[name] for name, _, weight in objective.parts)))
    return sorted(ranked, key=lambda one: (
        one.rank_sum, one.ranks[decisive], one.topology.costs()['params'],
        str(one.topology)))


def _badness(value: float, sign: int) -> float:
    """A measure's value, turned so that less is better."""
    return math.inf if math.isnan(value) else -sign * value


def _relative_range(values: Sequence[float]) -> float:
    """Largest less smallest finite value, over the largest magnitude."""
    finite = [value for value in values if math.isfinite(value)]
    largest = max(map(abs, finite), default=0.)
    return (max(finite) - min(finite)) / largest if largest else 0.


class Step(NamedTuple):
    """One step of scaling.

    Attributes:
        number: From 1.
        ranked: The topologies measured, the chosen one first.
        summaries: Their measures.
        choices: The choices that make each.
        over: Number of choices that the limits left out.
        count: What tells the costs.
    """
    number: int
    ranked: List[Ranked]
    summaries: Dict[Topology, Dict[str, Summary]]
    choices: Dict[Topology, List[Choice]]
    over: int
    count: Costs = own_costs

    @property
    def member(self) -> Member:
        """The chosen one."""
        chosen = self.ranked[0].topology
        return Member(self.number, chosen, self.summaries[chosen], self.count)


class Scaling:
    """Grows a family from a seed topology, greedily (algorithm 2).

    The family is a function of the arguments and of what the evaluator returns.

    Args:
        seed: Where to start.
        rule: How to grow.
        stop: Ends with the first member that has at least so many parameters or
            multiply-accumulates; as well as when every choice is beyond the limits.
        evaluator: Measures topologies.
        objective: What makes a choice the best. Defaults to the paper's.

    Attributes:
        members: The family so far, the seed first.

    Raises:
        InputError: If there is no end, or the seed is beyond it.
    """

    def __init__(self, seed: Topology, rule: GrowthRule, stop: Constraint,
                 evaluator: Evaluator, objective: Objective = Objective()):
        check_end(seed, rule, stop)
        self.rule, self._stop = rule, stop
        self._evaluator, self._objective = evaluator, objective
        self.members = [Member(0, seed, count=rule.constraint.costs)]

    def measure(self, topologies: Sequence[Topology], watch: Optional[Watch] = None
                ) -> List[Dict[str, Summary]]:
        """Measures of topologies, at the width that the rule measures at."""
        return self._evaluator([self.rule.measured(topology) for topology in topologies],
                               watch)

    def measure_seed(self) -> None:
        """Complete the first member."""
        seed = self.members[0]
        self.members[0] = seed._replace(summaries=self.measure([seed.topology])[0])

    def step(self, watch: Optional[Watch] = None,
             known_only: bool = False) -> Optional[Step]:
        """Grow by one step; None at the end.

        Args:
            watch: Called with the items done and to do.
            known_only: Whether to return None before a step that would measure
                something, too. Defaults to False.
        """
        current = self.members[-1].topology
        grown = {} if self._stop.reached(current) else self.rule.grow(current)
        if not grown or known_only and self._evaluator.unknown(
                map(self.rule.measured, grown)):
            return None
        summaries = dict(zip(grown, self.measure(list(grown), watch)))
        ranked = rank({topology: {name: summary.mean for name, summary in of_one.items()}
                       for topology, of_one in summaries.items()}, self._objective)
        step = Step(len(self.members), ranked, summaries, grown,
                    len(self.rule.choices) - sum(map(len, grown.values())),
                    self.rule.constraint.costs)
        self.members.append(step.member)
        return step


def check_end(seed: Topology, rule: GrowthRule, stop: Constraint) -> None:
    """Check that a family from a seed can begin, and that it ends.

    Raises:
        InputError: If not.
    """
    if stop.is_free and rule.constraint.is_free:
        raise InputError('stop or constraint must give a number of params or macs, '
                         'or another limit: nothing else ends a scaling')
    rule.measured(seed)
    stop.check_above(seed, 'stop')
    rule.constraint.check_above(seed, 'constraint')


def random_walk(seed: Topology, rule: GrowthRule, stop: Constraint,
                draw: torch.Generator) -> List[Member]:
    """Random scaling (table 7, figure 3): every step one choice, all equally likely.

    Choices beyond the limits are never drawn; choices that make the same network count
    each, so that the network is drawn the more often.

    Args:
        seed: Where to start.
        rule: How to grow.
        stop: As for :class:`Scaling`.
        draw: Generator of the walk.
    """
    members = [Member(0, seed, count=rule.constraint.costs)]
    while not stop.reached(members[-1].topology):
        grown = [topology for topology, choices in
                 rule.grow(members[-1].topology).items() for _ in choices]
        if not grown:
            break
        drawn = torch.randint(len(grown), (), generator=draw).item()
        members.append(Member(len(members), grown[drawn],
                              count=rule.constraint.costs))
    return members


def random_walks(number: int, seed: Topology, rule: GrowthRule, stop: Constraint,
                 random_seed: int) -> List[List[Member]]:
    """Several random walks; which ones depends on ``random_seed``."""
    return [random_walk(seed, rule, stop, generator(Purpose.WALK, random_seed, walk))
            for walk in range(number)]
