"""Files that are either whole or not there."""
import os

import pytest

from mmasvit.errors import InputError
from mmasvit.files import TableFile, read_json, replacing


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


def test_temporary_names_cannot_be_foreseen_nor_followed(tmp_path):
    seen = set()
    for _ in range(3):
        with replacing(tmp_path / 'a.txt') as temporary:
            seen.add(temporary)
            open(temporary, 'w').write('whole')
    assert len(seen) == 3 and os.listdir(tmp_path) == ['a.txt']


def test_what_a_killed_writer_left_is_swept_up_and_what_a_living_one_has_is_not(tmp_path):
    child = os.fork()
    if not child:
        with replacing(tmp_path / 'a.txt') as temporary:
            open(temporary, 'w').write('half')
            os._exit(9)
    os.waitpid(child, 0)
    (tmp_path / '.mmasvit-link').symlink_to('/etc/passwd')
    assert len(os.listdir(tmp_path)) == 2
    with replacing(tmp_path / 'b.txt') as first:
        open(first, 'w').write('b')
        with replacing(tmp_path / 'c.txt') as second:
            open(second, 'w').write('c')
        assert os.path.exists(first)
    assert sorted(os.listdir(tmp_path)) == ['.mmasvit-link', 'b.txt', 'c.txt']
    assert os.path.exists('/etc/passwd')


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / 'pipe.json')
    (tmp_path / 'folder.json').mkdir()
    for path in (tmp_path / 'pipe.json', tmp_path / 'folder.json', '/dev/zero'):
        with pytest.raises(InputError, match='cannot be read: '):
            read_json(path)


@pytest.mark.parametrize('content', [
    '', '{', '[' * 10**5, '{"a": ' + '9' * 5000 + '}', '[1]', '{"a": "b"}', '{"b": 1}',
    '{"a": true}', '\ud83d'])
def test_damaged_json_is_one_line(tmp_path, content):
    (tmp_path / 'a.json').write_text(content, errors='surrogatepass')
    with pytest.raises(InputError, match=r'^\S*a.json is damaged: ') as caught:
        read_json(tmp_path / 'a.json', {'a': int})
    assert '\n' not in str(caught.value)
    (tmp_path / 'a.json').write_text('{"a": 1, "more": []}')
    assert read_json(tmp_path / 'a.json', {'a': int})['a'] == 1


def test_names_out_of_data_command_no_terminal():
    assert str(InputError('\x1b[31mred\a\n\u202eabc')) == (
        '\\x1b[31mred\\x07 \\u202eabc')
    assert 'é 日本' in str(InputError('é 日本'))
