"""A killed search and a killed scaling end as if nobody had killed them."""
import pytest
from kills import try_kind


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['search', 'scaling'])
def test_kills(kind, tmp_path):
    try_kind(kind, 3, 1, tmp_path)
