"""Growing topologies: the rule, the ranking, greedy steps, random walks, targets."""
import itertools
import math
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from mmasvit.complexity import Summary
from mmasvit.errors import InputError
from mmasvit.limits import Constraint
from mmasvit.measuring import Objective
from mmasvit.paper import PUBLISHED_RULES, Extent
from mmasvit.scaling.family import (Member, Target, at_size, check_targets,
                                    nearest_below)
from mmasvit.scaling.growth import (Choice, GrowthRule, Scaling, check_end, random_walk,
                                    random_walks, rank)
from mmasvit.topology import FAMILY

SEED = FAMILY['seed']
QUARTER = GrowthRule(unit=4)
MILLION = 1_000_000
STOP = Constraint(params=20 * MILLION)


def summaries(length, condition):
    return {name: Summary(value, [value], 0.) for name, value in
            dict(length_distortion=length, ntk_condition_number=condition).items()}


def made_up(topology, levels=7):
    """Two measures of few values, so that many choices tie."""
    key = hash((topology.depths, topology.embed_dims))
    return summaries(key % levels, key // levels % levels)


class Known:
    """An evaluator that knows; it gets topologies at the measured width."""

    def __init__(self, table=made_up):
        self.asked, self._table = [], table

    def __call__(self, topologies, watch=None):
        self.asked += topologies
        return [self._table(topology) for topology in topologies]

    def unknown(self, topologies):
        return [topology for topology in topologies if topology not in self.asked]


def sized(width):
    return replace(SEED, embed_dims=width)


# ---- the rule


def test_sixteen_choices_each_one_block_deeper_and_wider():
    rule = GrowthRule()
    start = replace(SEED, embed_dims=100)
    grown = rule.grow(start)
    assert len(rule.choices) == len(grown) == 16
    assert {topology.embed_dims for topology in grown} == {105, 110, 115, 120}
    for topology, (choice, ) in grown.items():
        more = [a - b for a, b in zip(topology.depths, start.depths)]
        assert sum(more) == 1 and more[choice.stage - 1] == 1
        assert replace(topology, depths=start.depths, embed_dims=100) == start


@pytest.mark.parametrize('rule, width, grown', [
    (GrowthRule(), 32, (34, 35, 37, 38)),        # 33.6, 35.2, 36.8, 38.4
    (QUARTER, 32, (32, 36, 36, 40)),             # 8.4, 8.8, 9.2, 9.6
    (QUARTER, 40, (40, 44, 48, 48)),             # 10.5 and 11.5: halves to even
    (GrowthRule(), 1020, (1024, ) * 4),
    (GrowthRule(), 1024, (1024, ) * 4),
    (GrowthRule(), 1500, (1500, ) * 4),
])
def test_rounding_and_cap(rule, width, grown):
    for factor, expected in zip(rule.width_factors, grown):
        assert rule.apply(sized(width), Choice(2, factor)).embed_dims == expected


def test_rounding_is_the_released_codes_up_to_as_vit_l():
    """Which rounds a product of floats; ours is exact."""
    for width in range(8, 46):
        for share in (0.05, 0.1, 0.15, 0.2):
            grown = QUARTER.apply(sized(4 * width), Choice(1, 1 + share))
            assert grown.embed_dims == 4 * round(width * (1 + share))


def test_choices_that_make_the_same_network_collapse():
    narrow = QUARTER.grow(SEED)
    assert len(narrow) == 12 and sum(map(len, narrow.values())) == 16
    assert narrow[replace(SEED, depths=(1, 2, 1, 1), embed_dims=36)] == [
        Choice(2, 1.1), Choice(2, 1.15)]
    capped = GrowthRule().grow(sized(1024))
    assert len(capped) == 4 and all(len(choices) == 4 for choices in capped.values())
    assert {topology.widths for topology in capped} == {(1024, ) * 4}


def test_choices_beyond_the_limits_are_left_out():
    limit = SEED.costs()['params'] + 100_000
    rule = replace(QUARTER, constraint=Constraint(params=limit))
    grown = rule.grow(SEED)
    assert set(grown) == {topology for topology in QUARTER.grow(SEED)
                          if topology.costs()['params'] <= limit}
    assert 0 < len(grown) < 12


def test_measured_width():
    assert QUARTER.measured(FAMILY['large']).embed_dims == 45
    assert GrowthRule().measured(FAMILY['large']) == FAMILY['large']
    with pytest.raises(InputError, match='multiple of 4'):
        QUARTER.measured(sized(34))
    with pytest.raises(InputError, match='1/4 of its width: .*stage 1 has 8 heads'):
        QUARTER.measured(replace(SEED, num_heads=64, embed_dims=16))


@pytest.mark.parametrize('factors', [(), (1.1, 1.05), (1., ), (1.1, 1.1), ('a', ), 1.1,
                                     (math.inf, ), (True, )])
def test_bad_width_factors(factors):
    with pytest.raises(InputError, match='width_factors'):
        GrowthRule(width_factors=factors)


def reachable(start, goal, rule=QUARTER):
    """Whether any sequence of choices leads from one member of the paper to another."""
    widths = {start.embed_dims}
    for _ in range(sum(goal.depths) - sum(start.depths)):
        widths = {rule.apply(sized(width), Choice(1, factor)).embed_dims
                  for width in widths for factor in rule.width_factors}
    return all(a <= b for a, b in zip(start.depths, goal.depths)) and (
        goal.embed_dims in widths)


def test_no_run_gives_two_members_of_the_paper():
    """Each can be grown from the seed, at a quarter of the width; none from another.

    From S to B, for example, it is one block and 32 % of width: more than a step.
    """
    small, base, large = (FAMILY[name] for name in ('small', 'base', 'large'))
    assert all(reachable(SEED, member) for member in (small, base, large))
    assert not reachable(SEED, base, GrowthRule())
    for rule in (QUARTER, GrowthRule()):
        for start, goal in ((small, base), (small, large), (base, large)):
            assert not reachable(start, goal, rule)


# ---- the ranking


def by_counting(measured):
    """The ranking, written another way: ranks by counting what is better."""
    def ranks(name, sign):
        value = {topology: of_one[name] * sign for topology, of_one in measured.items()}
        return {topology: 1 + len({other for other in value.values() if other > mine})
                for topology, mine in value.items()}

    def spread(name):
        finite = [of_one[name] for of_one in measured.values()
                  if math.isfinite(of_one[name])]
        return (max(finite) - min(finite)) / max(map(abs, finite)) if any(finite) else 0

    length, condition = ranks('length_distortion', 1), ranks('ntk_condition_number', -1)
    first = (length if spread('length_distortion') >= spread('ntk_condition_number')
             else condition)
    return sorted(measured, key=lambda topology: (
        length[topology] + condition[topology], first[topology],
        topology.costs()['params'], str(topology)))


@pytest.mark.parametrize('levels', [2, 4, 1000])
def test_ranking_equals_counting_in_any_order_of_evaluation(levels):
    draw = random.Random(levels)
    for _ in range(40):
        topologies = list(QUARTER.grow(sized(4 * draw.randint(8, 40))))
        worst = draw.random() < 0.3
        measured = {topology: dict(
            length_distortion=-math.inf if worst and draw.random() < .3
            else draw.randrange(levels) / 10,
            ntk_condition_number=math.inf if worst and draw.random() < .3
            else 1. + draw.randrange(levels)) for topology in topologies}
        order = [one.topology for one in rank(measured)]
        assert order == by_counting(measured)
        draw.shuffle(topologies)
        assert order == [one.topology for one in rank(
            {topology: measured[topology] for topology in topologies})]


@pytest.mark.parametrize('worst', [-math.inf, math.nan])
def test_directions_shared_ranks_and_infinities(worst):
    a, b, c, d = itertools.islice(QUARTER.grow(SEED), 4)
    ranked = rank({
        a: dict(length_distortion=5., ntk_condition_number=math.inf),
        b: dict(length_distortion=5., ntk_condition_number=2.),
        c: dict(length_distortion=4., ntk_condition_number=2.),
        d: dict(length_distortion=worst, ntk_condition_number=1.)})
    ranks = {one.topology: tuple(one.ranks.values()) for one in ranked}
    assert ranks == {a: (1, 3), b: (1, 2), c: (2, 2), d: (3, 1)}
    assert [one.rank_sum for one in ranked] == [3, 4, 4, 4]


@pytest.mark.parametrize('length, winner', [((5., 4.), 0), ((5., 4.99), 1)])
def test_equal_sums_go_by_the_measure_that_differs_more(length, winner):
    both = list(itertools.islice(QUARTER.grow(SEED), 2))
    measured = {topology: dict(length_distortion=value, ntk_condition_number=condition)
                for topology, value, condition in zip(both, length, (100., 90.))}
    assert rank(measured)[0].topology == both[winner]


def test_weights_count_ranks_and_signs_turn_them():
    a, b, c = itertools.islice(QUARTER.grow(SEED), 3)
    measured = {a: dict(x=1., y=3.), b: dict(x=2., y=1.), c: dict(x=3., y=2.)}

    def first(**weights):
        return rank(measured, Objective(weights))[0].topology

    assert (first(x=1), first(x=-1), first(y=1), first(y=-1)) == (c, a, a, b)
    # by x the ranks are 3, 2, 1, by y 1, 3, 2
    assert [one.rank_sum for one in rank(measured, Objective(dict(x=1, y=3)))] == [6, 7, 11]
    assert first(x=3, y=1) == c and first(x=1, y=3) == a


def test_equal_networks_go_by_parameters():
    measured = {topology: dict(length_distortion=1., ntk_condition_number=1.)
                for topology in QUARTER.grow(SEED)}
    order = [one.topology.costs()['params'] for one in rank(measured)]
    assert order == sorted(order)


# ---- greedy growth


@pytest.mark.parametrize('rule', [QUARTER, GrowthRule()], ids=['quarter', 'real width'])
@pytest.mark.parametrize('levels', [3, 10**6])
def test_every_step_is_the_best_of_all_choices(rule, levels):
    def table(topology):
        return made_up(topology, levels)

    known = Known(table)
    scaling = Scaling(SEED, rule, STOP, known)
    current, steps = SEED, 0
    while step := scaling.step():
        best = by_counting({grown: {
            name: summary.mean for name, summary in table(rule.measured(grown)).items()}
            for grown in {rule.apply(current, choice) for choice in rule.choices}})[0]
        assert step.member.topology == best and step.number == steps + 1
        assert step.member.summaries == table(rule.measured(best))
        current, steps = best, steps + 1
    assert steps > 5 and STOP.reached(current)
    assert not any(STOP.reached(member.topology) for member in scaling.members[:-1])
    assert [member.step for member in scaling.members] == list(range(steps + 1))
    # measured at the rule's width, and nothing else
    assert len(known.asked) == len(set(known.asked)) == len(set(known.asked) & {
        rule.measured(grown) for member in scaling.members[:-1]
        for grown in rule.grow(member.topology)})


def test_steps_whose_measures_are_known_are_made_alone():
    known = Known()
    whole = Scaling(SEED, QUARTER, STOP, known)
    for _ in range(4):
        whole.step()
    again = Scaling(SEED, QUARTER, STOP, known)
    while again.step(known_only=True):
        pass
    assert again.members == whole.members and again.step().number == 5


def test_limits_end_it_and_are_never_passed():
    rule = replace(QUARTER, constraint=Constraint(macs=2e9, params=15e6))
    known = Known()
    scaling = Scaling(SEED, rule, Constraint(), known)
    over = []
    while step := scaling.step():
        over.append(step.over)
    assert not over[0] and over[-1]
    last = scaling.members[-1].topology
    assert not rule.grow(last) and QUARTER.grow(last)
    asked = [replace(topology, embed_dims=4 * topology.embed_dims)
             for topology in known.asked]
    assert all(rule.constraint.allows(topology) for topology in asked)


@pytest.mark.parametrize('stop, limit, line', [
    ({}, {}, 'stop or constraint must give'),
    (dict(params=2e6), {}, r'stop.params=2e\+06 is not above the seed'),
    (dict(params=5e6), dict(params=2e6), r'constraint.params=2e\+06 is not above'),
    (dict(macs=1e8), {}, r'stop.macs=1e\+08 is not above the seed topology, which has 4.9'),
])
def test_ends_that_are_no_ends(stop, limit, line):
    rule = replace(QUARTER, constraint=Constraint(**limit))
    with pytest.raises(InputError, match=line):
        check_end(SEED, rule, Constraint(**stop))


def test_a_size_is_reached_by_those_who_have_it():
    for cost, size in SEED.costs().items():
        assert Constraint(**{cost: size}).reached(SEED)
        assert not Constraint(**{cost: size + 1}).reached(SEED)
        with pytest.raises(InputError, match='is not above the seed'):
            check_end(SEED, QUARTER, Constraint(**{cost: size}))
        check_end(SEED, QUARTER, Constraint(**{cost: size + 1}))


# ---- random scaling


def test_random_walks_are_walks_and_repeat():
    walks = random_walks(5, SEED, QUARTER, STOP, 3)
    assert walks == random_walks(5, SEED, QUARTER, STOP, 3)
    assert walks[:2] == random_walks(2, SEED, QUARTER, STOP, 3)
    assert walks != random_walks(5, SEED, QUARTER, STOP, 4)
    assert len({walk[-1].topology for walk in walks}) > 1
    for walk in walks:
        assert walk[0] == Member(0, SEED) and STOP.reached(walk[-1].topology)
        for before, after in zip(walk, walk[1:]):
            assert after.topology in QUARTER.grow(before.topology)
            assert after.step == before.step + 1 and not STOP.reached(before.topology)


def test_random_choices_are_equally_likely():
    draw = torch.Generator().manual_seed(0)
    stop = Constraint(params=SEED.costs()['params'] + 1)
    seen = Counter(random_walk(SEED, QUARTER, stop, draw)[1].topology
                   for _ in range(800))
    grown = QUARTER.grow(SEED)
    assert set(seen) == set(grown)
    for topology, choices in grown.items():  # 50 a choice, deviation 7
        assert abs(seen[topology] - 50 * len(choices)) < 30


# ---- sizes


def family():
    scaling = Scaling(SEED, QUARTER, STOP, Known())
    scaling.measure_seed()
    while scaling.step():
        pass
    return scaling.members


def test_nearest_below():
    members = family()
    for cost in ('params', 'macs'):
        sizes = [member.costs[cost] for member in members]
        for i, size in enumerate(sizes):
            assert nearest_below(members, Target(cost, size)) == members[i]
            assert nearest_below(members, Target(cost, size + 1)) == members[i]
            if i:
                assert nearest_below(members, Target(cost, size - 1)) == members[i - 1]


@pytest.mark.parametrize('targets, line', [
    ({}, 'targets must list sizes'), (dict(params=[]), 'targets must list sizes'),
    (dict(flops=[1e9]), 'targets must list sizes'),
    (dict(params=[10e6, 5e6]), 'targets.params must ascend'),
    (dict(params=[5e6, 5e6]), 'must ascend'),
    (dict(params=[1e6]), 'targets.params=1e.06 is below the seed'),
    (dict(macs=[1e8]), 'targets.macs=1e.08 is below the seed'),
    (dict(params=[21e6]), 'above stop.params=2e.07'),
    (dict(params=5e6), 'a list of sizes'), (dict(params=['5e6']), 'each of targets.par'),
    (dict(params=[3e6, 3000001]), 'two targets would be called 3m'),
    (5, 'targets must list sizes'), (None, 'targets must list sizes'),
    (dict(macs=[6e9]), 'above constraint.macs=5e.09'),
])
def test_bad_targets(targets, line):
    with pytest.raises(InputError, match=line) as caught:
        check_targets(targets, SEED, STOP, Constraint(macs=5e9))
    assert '\n' not in str(caught.value)


def test_targets_have_names_for_files():
    targets = check_targets(dict(params=[5e6, 7.5e6], macs=[1.2e9]), SEED, STOP,
                            Constraint())
    assert [target.name for target in targets] == ['5m', '7_5m', '1_2g']


def test_a_measure_at_a_size():
    members = [member for member in family()[:3]]
    low, high = (member.costs['params'] for member in members[1:])
    value = [member.summaries['length_distortion'].mean for member in members]

    def at(size):
        return at_size(members, 'length_distortion', Target('params', size))

    assert at(low) == value[1] and at(high) == value[2]
    assert at((low * high)**0.5) == pytest.approx((value[1] + value[2]) / 2)
    assert at(high + 1) is None and at(members[0].costs['params'] - 1) is None
    broken = [members[0]._replace(summaries=summaries(1., math.inf)), *members[1:]]
    assert math.isfinite(at_size(broken, 'ntk_condition_number', Target('params', low)))
    infinite = members[:2] + [members[2]._replace(summaries=summaries(1., math.inf))]
    target = Target('params', low)
    assert math.isfinite(at_size(infinite, 'ntk_condition_number', target))
    assert at_size(infinite, 'ntk_condition_number', Target('params', low + 1)) == math.inf


def test_extents():
    assert Extent.of((1, 1, 1, 1), SEED.widths) == (4, 480)
    large = Member(0, FAMILY['large'])
    assert large.extent == (14, 5 * 180 + 2 * 360 + 5 * 720 + 2 * 1024)


def test_published_rules_are_those_of_mmpretrains_models():
    models = pytest.importorskip('mmpretrain.models')
    for name, extent in PUBLISHED_RULES['Swin'].items():
        arch = models.SwinTransformer.arch_zoo[
            dict(T='tiny', S='small', B='base', L='large')[name]]
        widths = [arch['embed_dims'] * 2**stage for stage in range(4)]
        assert extent == Extent.of(arch['depths'], widths)
    widths = [layer[-1].conv3.out_channels for layer in map(
        models.ResNet(50, out_indices=(3, )).__getattr__, ('layer1', 'layer4'))]
    assert widths == [256, 2048]
    for name, extent in PUBLISHED_RULES['ResNet'].items():
        depths = models.ResNet.arch_settings[int(name)][1]
        assert extent == Extent.of(depths, [256 * 2**stage for stage in range(4)])
