"""The frontier of topologies over their latency."""
from hypothesis import given, strategies as st

from mmasvit.report.frontier import frontier

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


@given(points)
def test_the_frontier_is_all_that_nothing_beats(points):
    kept = frontier(points)
    values = [points[i] for i in kept]

    def beaten(one):
        return any(other != one and other[0] <= one[0] and other[1] >= one[1]
                   for other in points)

    assert set(values) == {one for one in points if not beaten(one)}
    assert len(set(values)) == len(values)
    assert values == sorted(values) and sorted(value for _, value in values) == [
        value for _, value in values]
