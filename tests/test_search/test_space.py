"""Spaces of choices, and limits on what their topologies cost."""
from itertools import product

import pytest

from mmasvit import Topology
from mmasvit.errors import InputError
from mmasvit.limits import Constraint
from mmasvit.search.space import Space
from mmasvit.topology import FAMILY, SEARCH_SPACE

# small enough to enumerate, with both kinds of trade-off: heads and splits
SMALL = dict(K1=[4, 8], S1=[2, 8], E1=[3], K2=[2, 4], S2=[1, 4], E2=[2, 5], K3=[3],
             S3=[1, 2], E3=[2], K4=[2, 4], E4=[2, 6], heads=[16, 64])


def members(space):
    return [space.topology(choice) for choice in
            product(*(range(len(values)) for values in space.choices.values()))]


def test_default_is_table_1():
    space = Space()
    assert space.choices == SEARCH_SPACE
    assert space.size == 4_556_250 and round(space.entropy, 2) == 15.33


def test_every_choice_is_another_topology():
    space = Space(SMALL)
    topologies = members(space)
    assert len(set(topologies)) == len(topologies) == space.size == 2**9
    for topology in topologies:
        assert space.topology(space.choice(topology)) == topology
        for name, value in topology.values.items():
            assert value in space.choices[name]


def test_order_of_values_is_kept():
    space = Space(dict(K1=[8, 4], heads=[64]))
    assert space.topology((0, ) * 12).kernels[0] == 8
    assert list(space.choices) == list(SEARCH_SPACE)


@pytest.mark.parametrize('choices, line', [
    (dict(K2=[]), 'K2 has no values'),
    (dict(K5=[4]), 'space: unknown K5'),
    (dict(K1=[4, 4]), 'K1 has a value twice'),
    (dict(K1=4), 'K1 must be a list'),
    (dict(K1=[4, 1]), 'kernels must be at least 2'),
    (dict(heads=[16, 20]), 'multiple of 8'),
    (dict(heads=[16, 512]), '64 heads but only 32 channels'),
    (dict(E3=[2, 2.5]), 'each of expansions must be a whole number'),
])
def test_bad_spaces(choices, line):
    with pytest.raises(InputError, match=line):
        Space(choices)


@pytest.mark.parametrize('cost', ['macs', 'params'])
def test_a_limit_below_the_cheapest_is_refused(cost):
    space = Space(SMALL)
    least = min(topology.costs()[cost] for topology in members(space))
    space.check_reachable(Constraint(**{cost: least}))
    with pytest.raises(InputError, match=f'constraint.{cost}=.* is below the least of'):
        space.check_reachable(Constraint(**{cost: least - 1}))


def test_costs_are_the_tables():
    costs = FAMILY['seed'].costs()
    assert round(costs['params'] / 1e6, 2) == 2.42 and round(costs['macs'] / 1e9, 2) == .49


@pytest.mark.parametrize('name', ['params', 'macs'])
def test_limits_are_inclusive(name):
    topology = FAMILY['seed']
    cost = topology.costs()[name]
    assert Constraint(**{name: cost}).allows(topology)
    assert not Constraint(**{name: cost - 1}).allows(topology)
    assert Constraint().allows(topology)


@pytest.mark.parametrize('limit', [0, -1, 'much', True, float('nan')])
def test_bad_limits(limit):
    with pytest.raises(InputError, match='macs must be a finite number above 0'):
        Constraint(macs=limit)


def test_topologies_of_another_space_have_no_choice():
    with pytest.raises(ValueError):
        Space(dict(K1=[4])).choice(Topology.parse('8,2,3|4,1,2|4,1,4|4,1,6|32'))
