"""Limits that hold for every draw, and evolution's children."""
import pytest
import torch

from mmasvit.errors import InputError
from mmasvit.search import strategies
from mmasvit.search.policy import TopologyPolicy
from mmasvit.limits import Constraint
from mmasvit.search.space import Space
from mmasvit.search.strategies import check_evolution, evolve, most_likely, sample


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def test_samples_keep_the_limits_and_follow_the_conditional():
    """Drawing again leaves the ratios of what is allowed as they were."""
    policy = TopologyPolicy({**{name: values[:1] for name, values
                                in Space().choices.items()}, 'K2': [2, 3, 4]})
    with torch.no_grad():
        policy.logits['K2'].copy_(torch.tensor([.1, .3, .6]).log())
    costs = [policy.space.topology(tuple(
        k if name == 'K2' else 0 for name in policy.space.choices)).costs()['params']
        for k in range(3)]
    limit = Constraint(params=costs[1])
    place = list(policy.space.choices).index('K2')
    one = draw()
    values = [sample(policy, limit, one)[place] for _ in range(2000)]
    assert set(values) == {0, 1}
    assert sum(values) / 2000 == pytest.approx(0.75, abs=0.04)
    # the most likely one breaks the limit
    assert next(policy.most_likely())[place] == 2
    assert most_likely(policy, limit)[place] == 1


def test_a_limit_that_only_few_keep(monkeypatch):
    policy = TopologyPolicy()
    monkeypatch.setattr(strategies, 'TRIES', 100)
    least = policy.space.topology((0, ) * 12).costs()['params']
    with pytest.raises(InputError, match='none of 100 topologies drawn'):
        sample(policy, Constraint(params=least), draw())


def test_evolution_starts_at_random_and_then_mutates_one_value_of_a_living_one():
    space = Space(dict(K1=[4, 5, 6, 7, 8], heads=[32]))
    past = [sample(TopologyPolicy(space.choices), Constraint(), draw(seed))
            for seed in range(30)]

    def rate():
        return [float(i == 3) for i in range(30)]  # the best one is dead

    def children(population, tournament, scores=rate):
        return [evolve(space, Constraint(), draw(seed), past, scores, population,
                       tournament) for seed in range(200)]

    assert len({child for child in children(31, 5)}) > 150  # not enough alive yet
    parents = set()
    for child in children(10, 3):
        near = [i for i, parent in enumerate(past)
                if sum(a != b for a, b in zip(child, parent)) == 1]
        assert near and child[-1] == 0  # heads cannot change
        parents.update(near)
    assert 3 not in parents and parents <= set(range(20, 30)) and len(parents) > 5
    # with everybody in the tournament only the best of the living has children
    best = past[25]
    mutated = children(10, 10, lambda: [float(i == 25) for i in range(30)])
    assert all(sum(a != b for a, b in zip(child, best)) == 1 for child in mutated)
    # every other value of every choice is reached
    reached = {(i, b) for child in mutated for i, (a, b) in enumerate(zip(best, child))
               if a != b}
    assert len(reached) == sum(len(values) - 1 for values in space.choices.values())


def test_evolution_keeps_the_limits():
    space = Space()
    cheap = space.topology((0, ) * 12)
    limit = Constraint(params=cheap.costs()['params'] + 60_000)
    past = [(0, ) * 12] * 10
    for seed in range(20):
        child = evolve(space, limit, draw(seed), past, lambda: [0.] * 10, 10, 3)
        assert limit.allows(space.topology(child)) and child != past[0]


def test_evolution_of_a_space_with_one_member():
    space = Space({name: values[:1] for name, values in Space().choices.items()})
    assert evolve(space, Constraint(), draw(), [(0, ) * 12] * 60,
                  lambda: [0.] * 60) == (0, ) * 12


@pytest.mark.parametrize('arguments', [(0, 1), (5, 0), (5, 6), (5., 2)])
def test_bad_evolution(arguments):
    with pytest.raises(InputError, match='evolution'):
        check_evolution(*arguments)
