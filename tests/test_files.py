"""Files that are either whole or not there."""
import pytest

from mmasvit.errors import InputError
from mmasvit.files import replacing


def test_the_name_appears_when_the_file_is_whole(tmp_path):
    path = tmp_path / 'a.txt'
    with replacing(path) as temporary:
        open(temporary, 'w').write('whole')
        assert not path.exists()
    assert path.read_text() == 'whole' and len(list(tmp_path.iterdir())) == 1


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(RuntimeError):
        with replacing(path) as temporary:
            open(temporary, 'w').write('half')
            raise RuntimeError
    assert path.read_text() == 'old' and len(list(tmp_path.iterdir())) == 1


def test_no_folder_is_one_line(tmp_path):
    with pytest.raises(InputError, match='cannot be written'):
        with replacing(tmp_path / 'none' / 'a.txt') as temporary:
            open(temporary, 'w')
