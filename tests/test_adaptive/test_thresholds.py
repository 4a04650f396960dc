"""A cascade's thresholds: by the released rule, and the best under a budget."""
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmasvit.adaptive import (best_thresholds, choose_exits, exit_shares,
                              solve_thresholds)
from mmasvit.adaptive.thresholds import halfway, remarks
from mmasvit.errors import InputError

COST = np.array([1, 3, 8])
CONFIDENCES = np.array([
    [.95, .90, .40, .85, .30, .60, .55, .20, .75, .35],
    [.97, .93, .80, .88, .45, .70, .50, .25, .90, .65],
    [.99, .96, .85, .92, .60, .80, .75, .55, .95, .78]]).T
RIGHT = np.array([[0, 1, 0, 3, 0, 5, 0, 0, 8, 0], [0, 1, 2, 3, 0, 5, 0, 0, 8, 9],
                  [0, 1, 2, 3, 4, 5, 6, 0, 8, 9]]).T == np.arange(10)[:, None]
TIED = np.array([[1.] * 6 + [.5] * 4, [.9] * 10, [.9] * 10]).T


@pytest.mark.parametrize('confidences, q, thresholds, exits, accuracy, cost', [
    (CONFIDENCES, 0.05, (.30, 1e8), (9, 0, 1), .5, 1.7),
    (CONFIDENCES, 0.5, (.60, .65), (5, 2, 3), .9, 3.5),
    (CONFIDENCES, 1, (.85, .70), (3, 3, 4), .9, 4.4),
    (CONFIDENCES, 2, (.95, .90), (1, 2, 7), .9, 6.3),
    (CONFIDENCES, 2.95, (1e8, .93), (0, 2, 8), .9, 7.0),
    (TIED, 1, (1.0, .9), (6, 4, 0), .6, 1.8),
])
def test_golden(confidences, q, thresholds, exits, accuracy, cost):
    solved = solve_thresholds(confidences, q)
    assert tuple(solved) == (*thresholds, -1e8)
    chosen = choose_exits(confidences, solved)
    assert tuple(np.bincount(chosen, minlength=3)) == exits
    assert RIGHT[np.arange(10), chosen].mean() == pytest.approx(accuracy)
    assert COST[chosen].mean() == pytest.approx(cost)


@settings(max_examples=1000, deadline=None)
@given(st.integers(1, 60), st.integers(2, 5), st.floats(0.02, 30),
       st.integers(0, 2**32 - 1))
def test_without_ties_every_exit_takes_its_floor(images, exits, q, seed):
    confidences = np.random.default_rng(seed).permuted(
        np.tile(np.linspace(.1, .9, images)[:, None], (1, exits)), axis=0)
    chosen = choose_exits(confidences, solve_thresholds(confidences, q))
    wanted = np.floor(images * exit_shares(q, exits) + 1e-9).astype(int)
    wanted[-1] = images - wanted[:-1].sum()
    assert np.bincount(chosen, minlength=exits).tolist() == wanted.tolist()


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 200), st.integers(2, 5), st.floats(0.02, 30), st.floats(1, 5))
def test_expected_cost_never_falls_as_q_rises(images, exits, q, factor):
    cost = np.cumsum(np.arange(1, exits + 1))
    assert exit_shares(q, exits) @ cost <= exit_shares(q * factor, exits) @ cost + 1e-9


@pytest.mark.parametrize('confidences, q, line', [
    ([[.5, .5]], 0, 'q must be a finite number above 0'),
    ([.5, .5], 1, 'a row per image'), (np.zeros((0, 3)), 1, r'shape \(0, 3\)'),
    ([[.5, np.nan]], 1, 'finite'),
])
def test_bad_input(confidences, q, line):
    with pytest.raises(InputError, match=line):
        solve_thresholds(confidences, q)


def outcome(confidences, right, costs, thresholds):
    """Images answered right, and minus what all cost."""
    exits = choose_exits(confidences, thresholds)
    return right[np.arange(len(exits)), exits].sum(), -costs[exits].sum()


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.integers(2, 3), st.integers(1, 3), st.floats(0, 1.2),
       st.integers(0, 2**32 - 1))
def test_no_thresholds_are_better_than_the_best(images, exits, digits, budget, seed):
    """Brute force over all that decide differently; one digit gives many ties."""
    draw = np.random.default_rng(seed)
    confidences = draw.random((images, exits)).round(digits)
    right = draw.random((images, exits)) < np.linspace(.4, .8, exits)
    costs = draw.integers(1, 9, exits).cumsum()
    budget = costs[0] + budget * (costs[-1] - costs[0])
    found = outcome(confidences, right, costs,
                    best_thresholds(confidences, right, costs, budget))
    every = [outcome(confidences, right, costs, np.array([*cuts, -1e8])) for cuts in
             product(*([*np.unique(column), 1e8] for column in confidences.T[:-1]))]
    assert found == max(one for one in every if -one[1] <= budget * images + 1e-9)


def test_best_on_the_golden_case_and_between_confidences():
    found = best_thresholds(CONFIDENCES, RIGHT, COST, 3.5)
    assert outcome(CONFIDENCES, RIGHT, COST, found) >= (9, -35)
    for column, threshold in zip(CONFIDENCES.T, found[:-1]):
        assert abs(column - threshold).min() > 1e-3 or abs(threshold) == 1e8
    assert best_thresholds(CONFIDENCES, RIGHT, COST, 1).tolist()[0] == -1e8
    everything = best_thresholds(CONFIDENCES, RIGHT, COST, 8)
    assert outcome(CONFIDENCES, RIGHT, COST, everything)[0] == 9  # one is never right


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 30), st.integers(2, 4), st.integers(1, 3), st.floats(.1, 10),
       st.integers(0, 2**32 - 1))
def test_halfway_the_same_leave_whatever_the_rounding(images, exits, digits, q, seed):
    draw = np.random.default_rng(seed)
    confidences = draw.random((images, exits)).round(digits)
    thresholds = solve_thresholds(confidences, q)
    moved = halfway(confidences, thresholds).astype(np.float32)
    noise = draw.uniform(-1e-5, 1e-5, confidences.shape)
    assert (choose_exits(confidences + noise, moved)
            == choose_exits(confidences, thresholds)).all()


def test_ties_and_few_images_are_said():
    lines = remarks(TIED, solve_thresholds(TIED, 1))
    assert lines[0].startswith('10 images calibrate') and '15.8%' in lines[0]
    assert lines[1:] == [
        'exit 1: 6 images have the same confidence 1 at its threshold and leave together',
        'exit 2: 4 images have the same confidence 0.9 at its threshold and leave '
        'together']
    assert len(remarks(CONFIDENCES, solve_thresholds(CONFIDENCES, 1))) == 1
    assert len(remarks(CONFIDENCES, np.array([1e8, 1e8, -1e8]))) == 1


@pytest.mark.parametrize('change, line', [
    (dict(budget=.99), 'the budget of 0.99 is below the 1 that the first exit costs'),
    (dict(budget=np.inf), 'budget must be a finite number'),
    (dict(right=RIGHT[:5]), 'do not fit'), (dict(costs=COST[:2]), 'do not fit'),
])
def test_bad_input_of_the_best(change, line):
    given = dict(confidences=CONFIDENCES, right=RIGHT, costs=COST, budget=3.)
    with pytest.raises(InputError, match=line):
        best_thresholds(**dict(given, **change))
