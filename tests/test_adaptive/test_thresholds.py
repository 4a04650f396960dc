"""The released rule for a cascade's thresholds."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmasvit.adaptive import choose_exits, exit_shares, solve_thresholds
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
