"""The record of a work directory: whole lines or none, one origin, one run."""
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmasvit.complexity import Measured
from mmasvit.errors import InputError
from mmasvit.files import with_checksum, without_checksum
from mmasvit.measuring import Ledger
from mmasvit.measuring.ledger import check_run, first_difference, write_run
from mmasvit.search import Space

SPACE = Space()
TOPOLOGIES = [SPACE.topology((i, ) + 11 * (0, )) for i in range(5)]
ORIGIN = dict(setting=dict(image_size=32, seed=1), splits=(2, 4), measure='made up')


def fill(path, number=4):
    """A ledger of so many items, an append each; what it holds."""
    ledger = Ledger(path, ORIGIN)
    items = [(topology, repeat) for topology in TOPOLOGIES for repeat in range(2)][:number]
    known = {item: dict(length_distortion=Measured(1e9 / 3 + i, .5),
                        ntk_condition_number=Measured(math.inf if i % 2 else i, .25))
             for i, item in enumerate(items)}
    for item, repeat in known.items():
        ledger.append([item], [repeat])
    return known


def test_every_digit_is_kept(tmp_path):
    known = fill(tmp_path / 'a.jsonl')
    assert Ledger(tmp_path / 'a.jsonl', ORIGIN).read() == known


def test_lines_of_one_item_add_up(tmp_path):
    path, item = tmp_path / 'a.jsonl', (TOPOLOGIES[0], 0)
    known = fill(path, 1)
    Ledger(path, ORIGIN).append([item], [dict(accuracy=Measured(7., 1.))])
    assert Ledger(path, ORIGIN).read()[item] == dict(known[item],
                                                     accuracy=Measured(7., 1.))


@pytest.mark.parametrize('tail', [b'', b'\0', b'\0' * 5000, b'\0\0\n\0', b'\0 later\n'])
def test_an_end_cut_at_every_byte(tmp_path, tail):
    """Wherever a kill (a torn line) or a power cut (zeros) ends it, whole lines count."""
    path = tmp_path / 'a.jsonl'
    known = list(fill(path).items())
    whole = path.read_bytes()
    begin = whole[:whole[:whole[:-1].rfind(b'\n')].rfind(b'\n')].rfind(b'\n')
    for cut in range(begin + 1, len(whole) + 1):
        path.write_bytes(whole[:cut] + tail)
        lines = whole[:cut].count(b'\n') - 1
        assert list(Ledger(path, ORIGIN).read().items()) == known[:lines]
        Ledger(path, ORIGIN).append(*zip(*known[lines:])) if known[lines:] else None
        assert path.read_bytes() == whole


def test_a_first_line_cut_at_every_byte(tmp_path):
    path = tmp_path / 'a.jsonl'
    fill(path, 1)
    first = path.read_bytes().splitlines(keepends=True)[0]
    for cut in range(len(first)):
        for tail in (b'', b'\0' * 9):
            path.write_bytes(first[:cut] + tail)
            assert Ledger(path, ORIGIN).read() == {} and path.read_bytes() == b''


@pytest.mark.parametrize('foreign', [
    b'hello', b'hello\n', b'{"a": 1}\n{"b"', b'\x80\x02\x00\x00', b'[1]\n', b'null\n', b'\n',
    json.dumps(dict(ORIGIN, measure='other')).encode() + b'\n{"topology',
])
def test_a_foreign_file_is_refused_and_kept(tmp_path, foreign):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(foreign)
    with pytest.raises(InputError) as caught:
        Ledger(path, ORIGIN).read()
    assert '\n' not in str(caught.value) and path.read_bytes() == foreign


@pytest.mark.parametrize('line', [
    'nonsense', '{}', '[1]', '{"topology": "8"}', 'null',
    '{"topology": "8,2,3|4,1,2|4,1,4|4,1,6|32", "repeat": 0, "measures": {"a": ["b", 1]}}',
])
def test_a_damaged_line_is_named_and_nothing_cut_off(tmp_path, line):
    path = tmp_path / 'a.jsonl'
    fill(path, 2)
    content = path.read_text() + line + '\n{"topology": "8,2'
    path.write_text(content)
    with pytest.raises(InputError, match='is damaged in line 4'):
        Ledger(path, ORIGIN).read()
    assert path.read_text() == content


def test_numbers_of_another_origin_are_refused(tmp_path):
    fill(tmp_path / 'a.jsonl')
    other = dict(ORIGIN, setting=dict(image_size=64, seed=1))
    with pytest.raises(InputError, match='setting.image_size=32 instead of 64'):
        Ledger(tmp_path / 'a.jsonl', other).read()


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / 'a.jsonl').mkdir()
    with pytest.raises(InputError, match='cannot be read'):
        Ledger(tmp_path / 'a.jsonl', ORIGIN).read()
    with pytest.raises(InputError, match='cannot be written'):
        fill(tmp_path / 'a.jsonl')


def test_a_folder_holds_one_run(tmp_path):
    check_run(tmp_path, ORIGIN)
    write_run(tmp_path, ORIGIN)
    written = (tmp_path / 'run.json').read_bytes()
    check_run(tmp_path, ORIGIN)
    write_run(tmp_path, ORIGIN)
    with pytest.raises(InputError, match='a run with measure=made up instead of other'):
        check_run(tmp_path, dict(ORIGIN, measure='other'))
    assert (tmp_path / 'run.json').read_bytes() == written
    (tmp_path / 'run.json').write_text('[')
    with pytest.raises(InputError, match='run.json is damaged'):
        check_run(tmp_path, ORIGIN)
    (tmp_path / 'run.json').write_text('[]')
    with pytest.raises(InputError, match='run.json is damaged'):
        check_run(tmp_path, ORIGIN)


VALUES = st.recursive(st.integers() | st.text() | st.none(),
                      lambda inner: st.dictionaries(st.text(), inner, max_size=3),
                      max_leaves=6)
DICTS = st.dictionaries(st.text(), VALUES, max_size=4)


@settings(deadline=None, max_examples=50)
@given(DICTS, DICTS)
def test_a_difference_is_found_exactly_where_there_is_one(saved, current):
    """A key that holds None says as much as none."""
    def pruned(value):
        return {key: pruned(inner) for key, inner in value.items() if inner is not None
                and pruned(inner) != {}} if isinstance(value, dict) else value

    assert first_difference(saved, saved) == ''
    if pruned(saved) != pruned(current):
        assert first_difference(saved, current)
    assert bool(first_difference(saved, current)) == bool(
        first_difference(current, saved))


def test_first_difference_in_words():
    assert first_difference(dict(a=1), dict(a=1, b=2)) == 'b=None instead of 2'
    assert first_difference(dict(a=1, b=2), dict(a=1)) == 'b=2 instead of None'
    assert first_difference(dict(a=dict(b=[1])), dict(a=dict(b=[2]))) == (
        'a.b=[1] instead of [2]')


def test_nothing_beside_it_is_left(tmp_path):
    fill(tmp_path / 'a.jsonl')
    write_run(tmp_path, ORIGIN)
    assert {path.name for path in Path(tmp_path).iterdir()} == {'a.jsonl', 'run.json'}


def test_a_flipped_bit_anywhere_is_found(tmp_path):
    path = tmp_path / 'a.jsonl'
    fill(path)
    whole = path.read_bytes()
    for place in range(0, len(whole) - 1, 7):
        if b'\n' in whole[place:place + 1]:
            continue
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(InputError):
            Ledger(path, ORIGIN).read()
        assert path.read_bytes() == changed


@pytest.mark.parametrize('row', [
    dict(measures=dict(a=[10**400, 1])), dict(measures=dict(a=[[1], 1])),
    dict(measures=dict(a=[1])), dict(measures=[]), dict(repeat=-1), dict(repeat=1.5),
    dict(topology=5), dict(topology='8,2,3|4,1,2'), dict(measures=dict(a='12'))])
def test_rows_of_another_form_are_refused(tmp_path, row):
    path = tmp_path / 'a.jsonl'
    fill(path, 1)
    row = {**dict(topology=str(TOPOLOGIES[1]), repeat=0, measures=dict(a=[1., 1.])), **row}
    with open(path, 'a') as file:
        file.write(with_checksum(json.dumps(row)) + '\n')
    with pytest.raises(InputError, match='is damaged in line 3'):
        Ledger(path, ORIGIN).read()


def test_ledgers_of_before_the_checksums_are_read_and_go_on(tmp_path):
    path = tmp_path / 'a.jsonl'
    known = fill(path)
    path.write_text(''.join(without_checksum(line)[0] + '\n'
                            for line in path.read_text().splitlines()))
    assert 'crc32' not in path.read_text()
    assert Ledger(path, ORIGIN).read() == known
    item = (TOPOLOGIES[4], 0)
    Ledger(path, ORIGIN).append([item], [dict(params=Measured(7., 1.))])
    assert Ledger(path, ORIGIN).read() == {**known, item: dict(params=Measured(7., 1.))}
