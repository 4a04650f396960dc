"""Files that are either whole or not there."""
import os

import pytest

from mmasvit.errors import InputError
from mmasvit.files import TableFile, replacing


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


def test_a_link_stays_and_a_device_is_written_to(tmp_path):
    (tmp_path / 'real').write_text('old')
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    with replacing(tmp_path / 'link') as temporary:
        open(temporary, 'w').write('new')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'real').read_text() == 'new'
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    with replacing(tmp_path / 'pipe') as temporary:
        open(temporary, 'w').write('through')
    assert os.read(reader, 100) == b'through' and (tmp_path / 'pipe').is_fifo()
    os.close(reader)


def test_a_row_that_cannot_be_added_is_one_line(tmp_path):
    table = TableFile(tmp_path / 'a.csv', ['a'])
    (tmp_path / 'a.csv').unlink()
    (tmp_path / 'a.csv').mkdir()
    with pytest.raises(InputError, match='a.csv cannot be written'):
        table.append([dict(a=1)])
