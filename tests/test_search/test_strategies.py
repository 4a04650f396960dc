"""Limits that hold for every draw, and evolution's children."""
import pytest
import torch

from mmasvit.errors import InputError
from mmasvit.limits import Constraint
from mmasvit.measuring import Objective
from mmasvit.search import strategies
from mmasvit.search.history import Evaluation
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.space import Space
from mmasvit.search.strategies import Evolution, Random, Reinforce

SCORE = Objective(dict(score=1))


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def history(space, choices, scores):
    """Evaluations whose measure is their score."""
    return [Evaluation(step, choice, space.topology(choice), dict(score=score), {}, 0., 0.,
                       0.) for step, (choice, score) in enumerate(zip(choices, scores), 1)]


def child(space, past, seed, constraint=Constraint(), **options):
    made = Evolution(TopologyPolicy(space.choices), constraint, SCORE, **options)
    return made.propose(past, draw(seed)).choice


@pytest.mark.slow
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
    sampling = Random(policy, limit)
    values = [sampling.propose([], one).choice[place] for _ in range(2000)]
    assert set(values) == {0, 1}
    assert sum(values) / 2000 == pytest.approx(0.75, abs=0.04)
    # the most likely one breaks the limit
    assert next(policy.most_likely())[place] == 2
    found = Reinforce(policy, limit, update=None).found([])
    assert policy.space.choice(found)[place] == 1


def test_a_limit_that_only_few_keep(monkeypatch):
    policy = TopologyPolicy()
    monkeypatch.setattr(strategies, 'TRIES', 100)
    least = policy.space.topology((0, ) * 12).costs()['params']
    with pytest.raises(InputError, match='none of 100 topologies drawn'):
        Random(policy, Constraint(params=least)).propose([], draw())


def test_evolution_starts_at_random_and_then_mutates_one_value_of_a_living_one():
    space = Space(dict(K1=[4, 5, 6, 7, 8], heads=[32]))
    past = [Random(TopologyPolicy(space.choices)).propose([], draw(seed)).choice
            for seed in range(30)]

    def children(population, tournament, best=3):  # which is dead
        seen = history(space, past, [float(i == best) for i in range(30)])
        return [child(space, seen, seed, population=population, tournament=tournament)
                for seed in range(200)]

    assert len(set(children(31, 5))) > 150  # not enough alive yet
    parents = set()
    for one in children(10, 3):
        near = [i for i, parent in enumerate(past)
                if sum(a != b for a, b in zip(one, parent)) == 1]
        assert near and one[-1] == 0  # heads cannot change
        parents.update(near)
    assert 3 not in parents and parents <= set(range(20, 30)) and len(parents) > 5
    # with everybody in the tournament only the best of the living has children
    best = past[25]
    mutated = children(10, 10, 25)
    assert all(sum(a != b for a, b in zip(one, best)) == 1 for one in mutated)
    # every other value of every choice is reached
    reached = {(i, b) for one in mutated for i, (a, b) in enumerate(zip(best, one))
               if a != b}
    assert len(reached) == sum(len(values) - 1 for values in space.choices.values())


def test_evolution_keeps_the_limits():
    space = Space()
    cheap = space.topology((0, ) * 12)
    limit = Constraint(params=cheap.costs()['params'] + 60_000)
    past = history(space, [(0, ) * 12] * 10, [0.] * 10)
    for seed in range(20):
        one = child(space, past, seed, limit, population=10, tournament=3)
        assert limit.allows(space.topology(one)) and one != past[0].choice


def test_evolution_of_a_space_with_one_member():
    space = Space({name: values[:1] for name, values in Space().choices.items()})
    assert child(space, history(space, [(0, ) * 12] * 60, [0.] * 60), 0) == (0, ) * 12


@pytest.mark.parametrize('arguments', [(0, 1), (5, 0), (5, 6), (5., 2)])
def test_bad_evolution(arguments):
    with pytest.raises(InputError, match='evolution'):
        Evolution(TopologyPolicy(), population=arguments[0], tournament=arguments[1])
