"""Kendall's tau and how sure one can be of it."""
import itertools
import math

import numpy as np
import pytest

from mmasvit.study.correlation import kendall_tau


def test_counts_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9))
    pairs = [np.sign((x[i] - x[j]) * (y[i] - y[j]))
             for i, j in itertools.combinations(range(9), 2)]
    assert math.isclose(kendall_tau(x, y).tau, np.mean(pairs))


def test_perfect_and_reversed_order_are_clear():
    scores = list(range(10))
    for sign in (1, -1):
        result = kendall_tau(scores, [sign * score**3 for score in scores])
        assert math.isclose(result.tau, sign) and result.is_clear


def test_three_networks_show_nothing_however_well_they_agree():
    result = kendall_tau([1, 2, 3], [1, 2, 3])
    assert math.isclose(result.tau, 1) and not result.is_clear


@pytest.mark.slow
def test_unrelated_rankings_are_seldom_clear():
    rng = np.random.default_rng(1)
    clear = [kendall_tau(*rng.normal(size=(2, 20)), resamples=200).is_clear
             for _ in range(60)]
    assert sum(clear) <= 8  # 3 expected


def test_interval_covers_and_shrinks():
    rng = np.random.default_rng(2)
    widths = []
    for count in (15, 120):
        x = rng.normal(size=count)
        low, high = kendall_tau(x, x + rng.normal(size=count), resamples=300).interval
        assert low < 0.5 < high  # the true tau of two normals of correlation 0.71
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_worst_value_ranks_last():
    assert math.isclose(kendall_tau([-math.inf, 1, 2, 3], [1, 2, 3, 4]).tau, 1)


def test_a_constant_measure_says_nothing():
    result = kendall_tau([1, 1, 1, 1], [1, 2, 3, 4])
    assert math.isnan(result.tau) and not result.is_clear


@pytest.mark.slow
def test_seeded():
    x, y = np.random.default_rng(3).normal(size=(2, 12))
    assert kendall_tau(x, y, seed=1) == kendall_tau(x, y, seed=1)
    assert kendall_tau(x, y, seed=1).interval != kendall_tau(x, y, seed=2).interval
