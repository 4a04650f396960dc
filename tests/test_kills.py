"""Killed runs end as if nobody had killed them; ``make soak`` does this at length."""
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent / 'endurance'))
from kills import try_kind  # noqa: E402


@pytest.mark.slow
@pytest.mark.parametrize('kind, processes', [
    ('training', 1), ('training', 2), ('search', 2), ('scaling', 1)])
def test_kills(kind, processes, tmp_path):
    try_kind(kind, processes, 2, 1, tmp_path)
