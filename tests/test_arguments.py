"""Arguments by declared kinds: what is right comes back, all else is one line."""
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmasvit.arguments import from_dict, known_keys, number, one_of, whole_number
from mmasvit.errors import InputError


@given(st.integers(), st.integers(), st.integers())
def test_whole_numbers_from_least_to_most(value, least, most):
    if least <= value <= most:
        assert whole_number('n', value, least, most) == value
    else:
        with pytest.raises(InputError, match=f'n must be a whole number from {least} to'):
            whole_number('n', value, least, most)


@given(st.floats(), st.floats(-10, 10), st.floats(-10, 10))
def test_numbers_strictly_between(value, above, below):
    if above < value < below:
        assert number('x', value, above, below) == value
    else:
        with pytest.raises(InputError, match='x must be a finite number above'):
            number('x', value, above, below)


@pytest.mark.parametrize('value', [True, False, '1', None, [1], 1.0, math.nan, math.inf])
def test_other_things_are_no_numbers(value):
    with pytest.raises(InputError, match='n must be a whole number of at least 0, got'):
        whole_number('n', value, 0)
    if value != 1.0 or value is True:
        with pytest.raises(InputError, match='x must be a finite number, got'):
            number('x', value)


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2

    def __post_init__(self):
        whole_number('x', self.x, 0)


@pytest.mark.parametrize('given_, line', [
    (5, 'point must be a dict, got 5'), (dict(y=1), 'point: missing x; expected x, y'),
    (dict(x=1, z=1), 'point: unknown z; expected some of x, y'),
    (dict(z=1), 'point: unknown z'), (dict(x=-1), 'point: x must be a whole number'),
    (None, 'point: missing x'), ({5: 1}, 'unknown 5')])
def test_bad_dataclasses(given_, line):
    with pytest.raises(InputError, match=line):
        from_dict(Point, 'point', given_)


def test_dataclasses_words_and_keys():
    assert from_dict(Point, 'point', dict(x=1)) == Point(1, 2)
    assert from_dict(Point, 'point', None, x=3) == from_dict(Point, 'p', dict(x=3), x=4)
    assert one_of('word', 'b', ('a', 'b')) == 'b'
    for word in ('c', ['a'], None):
        with pytest.raises(InputError, match='word must be one of a, b, got'):
            one_of('word', word, ('a', 'b'))
    assert known_keys('some', None, ('a', )) == {}
