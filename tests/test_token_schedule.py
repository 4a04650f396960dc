"""The schedule as a value, and what it saves, in closed form."""
import pytest

from mmasvit.errors import InputError
from mmasvit.geometry import TOKEN_STRIDES
from mmasvit.paper import RELATIVE_MACS, TABLE_6, TABLE_6_EPOCHS
from mmasvit.token_schedule import TokenSchedule, format_plan, saving
from mmasvit.topology import FAMILY


def test_strides_change_exactly_at_the_milestones():
    schedule = TokenSchedule([(0, 16), (80, 8), (140, 4)])
    strides = [schedule.stride_at(epoch) for epoch in range(300)]
    assert strides == [16] * 80 + [8] * 60 + [4] * 160
    assert schedule.stages(300) == [(0, 80, 16), (80, 140, 8), (140, 300, 4)]


def test_full_tokens_before_the_first_milestone():
    schedule = TokenSchedule([(2, 16), (3.5, 8)])
    assert [schedule.stride_at(p) for p in (0, 1.99, 2, 3.49, 3.5, 99)
            ] == [4, 4, 16, 16, 8, 8]
    assert schedule.stages(5) == [(0, 2, 4), (2, 3.5, 16), (3.5, 5, 8)]


def test_saving_is_the_sum_over_epochs():
    macs = {4: 1000, 8: 300, 16: 70}
    schedule = TokenSchedule([(1, 16), (4, 8), (6, 4), (8, 8)])
    spent = sum(macs[schedule.stride_at(epoch)] for epoch in range(11))
    assert saving(schedule.stages(11), macs) == pytest.approx(1 - spent / 11000)
    assert saving(TokenSchedule([(0, 4)]).stages(3), macs) == 0


@pytest.mark.parametrize('length', [1, 5, 6])
def test_a_milestone_beyond_the_run(length):
    with pytest.raises(InputError) as caught:
        TokenSchedule([(0, 16), (6, 4)]).stages(length)
    assert str(caught.value) == ('milestones: (6, 4) does not begin within the run, which '
                                 f'has {length} epochs')


def test_table_6_as_counted_here():
    """The numbers of the window rule, worked out apart from this code."""
    macs = {stride: FAMILY['large'].count_macs(token_stride=stride)
            for stride in TOKEN_STRIDES}
    assert [round(100 * macs[s] / macs[4], 1) for s in (16, 8)] == [5.6, 21.1]
    saved = [round(100 * saving(TokenSchedule(milestones).stages(300), macs), 1)
             for milestones, _ in TABLE_6.values()]
    assert saved == [20.5, 41.0, 61.5]


def test_the_papers_cost_at_2x_follows_from_its_savings():
    """The cost at 4x and the savings leave one value at 2x, the same in every row."""
    for ((_, _), (first, _), (second, _)), saved in TABLE_6.values():
        at_2x = 100 - (TABLE_6_EPOCHS * saved - first * (100 - RELATIVE_MACS[16])) / (
            second - first)
        assert at_2x == pytest.approx(RELATIVE_MACS[8], abs=0.5)


def test_plan_as_text():
    stages = TokenSchedule([(0, 16), (0.53, 4)]).stages(2)
    text = format_plan(stages, (100, 64), {16: 1e9, 8: 2e9, 4: 5e9}, 'a thing')
    lines = [line.split() for line in text.splitlines()]
    assert lines[2] == '0 to 0.53 16 7 x 4 1.000 20.0%'.split()
    assert lines[3] == '0.53 to 2 4 25 x 16 5.000 100.0%'.split()
    assert '21.2%' in text.splitlines()[-1]
