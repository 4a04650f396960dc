"""The reward against algorithm 1 worked out by hand, and what it is invariant to."""
import math
import random

import pytest

from mmasvit.errors import InputError
from mmasvit.search.reward import MovingAverage, RelativeReward, scores


def pair(length, condition):
    return dict(length_distortion=length, ntk_condition_number=condition)


def rewards(pairs, window=None):
    reward = RelativeReward(window=window)
    return [reward([pair(*values)])[0]['reward'] for values in pairs]


def random_pairs(number, seed=0):
    draw = random.Random(seed)
    return [(draw.uniform(1, 5), draw.uniform(10, 1000)) for _ in range(number)]


def by_hand(pairs, window=None):
    """Algorithm 1, line 5 and 6, as it is printed."""
    result = [0.]
    for t in range(1, len(pairs)):
        seen = pairs[:t + 1] if window is None else pairs[max(0, t + 1 - window):t + 1]
        parts = []
        for i in range(2):
            column = [values[i] for values in seen]
            parts.append((pairs[t][i] - pairs[t - 1][i]) / (max(column) - min(column)))
        result.append(parts[0] - parts[1])
    return result


@pytest.mark.parametrize('window', [None, 2, 20])
def test_is_algorithm_1(window):
    pairs = random_pairs(60)
    assert rewards(pairs, window) == pytest.approx(by_hand(pairs, window), rel=1e-12)


def test_known_numbers():
    # lengths 1, 3, 2: +1, then -1/2; condition numbers 10, 10, 30: 0, then -1
    assert rewards([(1, 10), (3, 10), (2, 30)]) == [0, 1, -1.5]


def test_windows_forget():
    """A range that an early outlier widened narrows again."""
    pairs = [(1000, 1), (1, 1), (2, 1), (1, 1), (2, 1)]
    assert rewards(pairs, window=3)[-1] == 1
    assert rewards(pairs)[-1] == pytest.approx(1 / 999)


def test_parts_add_up_and_scale_does_not_matter():
    pairs = random_pairs(30)
    scaled = [(7 * length + 3, 0.1 * condition - 5) for length, condition in pairs]
    assert rewards(scaled) == pytest.approx(rewards(pairs), abs=1e-9)
    reward = RelativeReward()
    for values in pairs:
        parts = reward([pair(*values)])[0]
        assert parts.pop('reward') == sum(parts.values())


@pytest.mark.parametrize('bad', [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_the_worst_and_poisons_nothing(bad):
    pairs = random_pairs(20)
    worst_length = min(length for length, _ in pairs[:10])
    worst_condition = max(condition for _, condition in pairs[:10])
    poisoned = rewards(pairs[:10] + [(bad, bad)] + pairs[10:])
    # as if the worst finite values seen had come out
    assert poisoned == pytest.approx(
        rewards(pairs[:10] + [(worst_length, worst_condition)] + pairs[10:]), abs=1e-12)
    assert all(map(math.isfinite, poisoned)) and poisoned[10] < 0


def test_nothing_finite_yet():
    assert rewards([(math.nan, math.inf), (math.nan, math.inf)]) == [0, 0]
    # a first finite value is a range of one point
    assert rewards([(math.nan, math.inf), (1, 2), (2, 1)]) == [0, 0, 2]


def test_equal_values_give_nothing():
    assert rewards([(2, 3)] * 5) == [0] * 5


def test_several_topologies_are_compared_with_the_previous_mean():
    reward = RelativeReward()
    reward([pair(1, 5), pair(3, 5)])
    low, high = reward([pair(2, 5), pair(5, 5)])
    assert low['reward'] == 0 and high['reward'] == (5 - 2) / (5 - 1)


def test_a_step_of_one_is_the_papers():
    pairs = random_pairs(20)
    single, batched = RelativeReward(window=5), RelativeReward(window=5)
    for values in pairs:
        once = single([pair(*values)])[0]
        twice = batched([pair(*values)] * 2)
        assert twice[0] == twice[1] == pytest.approx(once)


@pytest.mark.parametrize('window', [1, 0, -3, 2.5])
def test_bad_windows(window):
    with pytest.raises(InputError, match='reward_window'):
        RelativeReward(window=window)


def test_moving_average():
    average = MovingAverage(0.9)
    assert average.update(3) == pytest.approx(3)  # no pull towards 0
    assert average.update(6) == pytest.approx((0.9 * 0.1 * 3 + 0.1 * 6) / 0.19)
    for _ in range(300):
        last = average.update(-2)
    assert last == pytest.approx(-2)


@pytest.mark.parametrize('momentum', [0, 1, -.5, 2, 'high'])
def test_bad_momentum(momentum):
    with pytest.raises(InputError, match='above 0 and below 1'):
        MovingAverage(momentum)


def test_scores_are_what_rewards_add_up_to():
    """On a range that stays the same, the rewards telescope."""
    pairs = [(5, 0), (1, 10), (2, 3), (4, 9), (3, 1)]
    rated = scores([pair(*values) for values in pairs])
    # from the second step on the range does not change
    total = sum(rewards(pairs)[2:])
    assert total == pytest.approx(rated[-1] - rated[1])
    assert rated[0] == 1 and rated[1] == -1


def test_scores_on_a_reference():
    reference = [pair(0, 0), pair(10, 10)]
    assert scores([pair(5, 2)], reference=reference) == [pytest.approx(0.5 - 0.2)]
    assert scores([pair(math.nan, math.inf)], reference=reference) == [-1]
