"""Objectives: any measures, either way, any weight."""
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmasvit.complexity import MEASURES, SEARCH_MEASURES
from mmasvit.errors import InputError
from mmasvit.measuring import Objective
from mmasvit.search import RelativeReward, scores


def test_default_is_the_papers():
    assert Objective().names == SEARCH_MEASURES
    for name, sign, weight in Objective().parts:
        assert (sign > 0) == MEASURES[name].higher_is_better and weight == 1
    assert Objective() == Objective(dict(length_distortion=1, ntk_condition_number=-1))


@pytest.mark.parametrize('weights, line', [
    ({}, 'objective must be a dict'), (5, 'objective must be a dict'),
    (['params'], 'objective must be a dict'), (dict(params=0), 'params must not be 0'),
    (dict(params='1'), 'objective.params must be a finite number'),
    (dict(params=math.inf), 'objective.params must be'),
    (dict(params=True), 'objective.params must be')])
def test_bad_objectives(weights, line):
    with pytest.raises(InputError, match=line):
        Objective(weights)


FLOATS = st.floats(-100, 100).map(lambda value: round(value, 3))
MEASURED = st.lists(st.fixed_dictionaries(dict(a=FLOATS, b=FLOATS, c=FLOATS)), min_size=2,
                    max_size=8)


@given(MEASURED, st.floats(0.1, 10))
def test_a_weight_scales_its_part(measured, weight):
    plain = RelativeReward(Objective(dict(a=1, b=-1)))
    heavy = RelativeReward(Objective(dict(a=1, b=-weight)))
    for values in measured:
        one, other = plain([values])[0], heavy([values])[0]
        assert other['a'] == one['a']
        assert other['b'] == pytest.approx(weight * one['b'])
        assert other['reward'] == pytest.approx(one['a'] + weight * one['b'])


@given(MEASURED)
def test_less_is_better_is_more_of_the_opposite(measured):
    turned = [dict(values, a=-values['a']) for values in measured]
    mine = scores(measured, Objective(dict(a=-2, b=1)))
    other = scores(turned, Objective(dict(a=2, b=1)))
    for i, j in zip(range(len(measured)), range(1, len(measured))):
        assert mine[i] - mine[j] == pytest.approx(other[i] - other[j], abs=1e-9)


@given(MEASURED)
def test_of_one_measure_the_score_is_its_order(measured):
    rated = scores(measured, Objective(dict(c=1)))
    best = max(range(len(measured)), key=lambda i: measured[i]['c'])
    assert rated[best] == max(rated)
