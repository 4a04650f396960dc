"""Where the next topology of a search comes from."""
from typing import Callable, Iterator, Sequence, Tuple

import torch

from mmasvit.errors import InputError
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.space import Choice, Constraint, Space

STRATEGIES = ('reinforce', 'random', 'evolution')
TRIES = 20_000  # draws until a constraint counts as impossible to keep in practice


def first_allowed(draws: Iterator[Choice], space: Space,
                  constraint: Constraint) -> Choice:
    """The first of many draws that keeps the limits.

    Raises:
        InputError: If none of ``TRIES`` does.
    """
    for _, choice in zip(range(TRIES), draws):
        if constraint.allows(space.topology(choice)):
            return choice
    raise InputError(f'constraint: none of {TRIES} topologies drawn keeps the limits; '
                     'loosen them, or leave expensive values out of the space')


def sample(policy: TopologyPolicy, constraint: Constraint,
           draw: torch.Generator) -> Choice:
    """Draw from the policy, given that the limits are kept.

    What breaks the limits is drawn again, before anything is measured. The gradient of
    the normalising constant is left out: it has the mean advantage as its factor, which
    the baseline keeps near 0.
    """
    def draws() -> Iterator[Choice]:
        while True:
            yield policy.sample(draw)

    return first_allowed(draws(), policy.space, constraint)


def most_likely(policy: TopologyPolicy, constraint: Constraint) -> Choice:
    """The most likely choice that keeps the limits (the result of algorithm 1)."""
    return next(choice for choice in policy.most_likely()
                if constraint.allows(policy.space.topology(choice)))


def evolve(space: Space, constraint: Constraint, draw: torch.Generator,
           past: Sequence[Choice], rate: Callable[[], Sequence[float]],
           population: int = 50, tournament: int = 10) -> Choice:
    """One child of regularised evolution (Real et al., AAAI 2019).

    Args:
        space: The space.
        constraint: Its limits.
        draw: Generator of this child.
        past: All choices so far; the last ``population`` are alive.
        rate: Gives the scores of all past choices.
        population: Number alive; until there are so many, choices are random.
        tournament: Number drawn from the living, of which the best has the child.

    Returns:
        The parent with one value changed.
    """
    uniform = TopologyPolicy(space.choices)
    mutable = [i for i, values in enumerate(space.choices.values()) if len(values) > 1]
    if len(past) < population or not mutable:
        return sample(uniform, constraint, draw)
    alive = list(zip(rate()[-population:], past[-population:]))

    def below(number: int) -> int:
        return torch.randint(number, (), generator=draw).item()

    def draws() -> Iterator[Choice]:
        sizes = [len(values) for values in space.choices.values()]
        while True:
            rivals = torch.randperm(population, generator=draw)[:tournament].tolist()
            _, parent = max((alive[i] for i in rivals), key=lambda rival: rival[0])
            position = mutable[below(len(mutable))]
            step = 1 + below(sizes[position] - 1)
            yield (*parent[:position], (parent[position] + step) % sizes[position],
                   *parent[position + 1:])

    return first_allowed(draws(), space, constraint)


def check_evolution(population: int, tournament: int) -> Tuple[int, int]:
    """Raise :class:`InputError` unless ``1 <= tournament <= population``."""
    for name, value in dict(population=population, tournament=tournament).items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f'evolution: {name} must be a positive whole number, got '
                             f'{value!r}')
    if tournament > population:
        raise InputError(f'evolution: tournament ({tournament}) is larger than the '
                         f'population ({population})')
    return population, tournament
