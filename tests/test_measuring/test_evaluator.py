"""Measuring: shared, kept, never done twice."""
import json
import math

import pytest
import torch
import torch.multiprocessing as mp

from mmasvit.complexity import Measured
from mmasvit.errors import InputError
from mmasvit.search.space import Space
from mmasvit.measuring.evaluator import (Evaluator, MeasurementFile, first_difference,
                                 intra_op_threads, share)

SPACE = Space()
TOPOLOGIES = [SPACE.topology((i, ) + 11 * (0, )) for i in range(5)]
ORIGIN = dict(setting=dict(image_size=32, seed=1), measure='made up')


class Counter:
    """Measures by a formula, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, topology, repeat):
        self.asked.append((topology, repeat))
        value = topology.kernels[0] + repeat / 7
        return dict(length_distortion=Measured(value, .5),
                    ntk_condition_number=Measured(math.inf if repeat else 1e9 / 3, .25))


def numbers(summaries):
    return [{name: summary.values for name, summary in of_one.items()}
            for of_one in summaries]


def test_nothing_is_measured_twice(tmp_path):
    counter = Counter()
    evaluator = Evaluator(counter, 3)
    a, b, c = TOPOLOGIES[:3]
    first = evaluator([a, b, a])
    assert len(counter.asked) == 6 == evaluator.measured
    assert numbers(first)[0] == numbers(first)[2] != numbers(first)[1]
    assert evaluator([b])[0]['length_distortion'].mean == pytest.approx(5 + 1 / 7)
    assert len(counter.asked) == 6
    evaluator([c, a])
    assert counter.asked[6:] == [(c, 0), (c, 1), (c, 2)]


def test_a_file_keeps_every_digit(tmp_path):
    path = str(tmp_path / 'measurements.jsonl')
    counter = Counter()
    first = Evaluator(counter, 2, MeasurementFile(path, ORIGIN))(TOPOLOGIES)
    again = Evaluator(counter, 2, MeasurementFile(path, ORIGIN))
    assert again(TOPOLOGIES) == first and len(counter.asked) == 10
    assert again.measured == 0 and len(again.known) == 10
    assert first[0]['ntk_condition_number'].values == [1e9 / 3, math.inf]


def test_what_was_done_before_a_death_is_kept(tmp_path):
    path = tmp_path / 'measurements.jsonl'
    counter, seen = Counter(), []

    def dies(topology, repeat):
        if len(counter.asked) == 4:
            raise KeyboardInterrupt
        return counter(topology, repeat)

    with pytest.raises(KeyboardInterrupt):
        Evaluator(dies, 2, MeasurementFile(str(path), ORIGIN))(
            TOPOLOGIES, lambda done, total: seen.append((done, total)))
    assert seen == [(i, 10) for i in range(5)]
    assert len(path.read_bytes().splitlines()) == 1 + 4


def test_a_torn_last_line_is_cut_off(tmp_path):
    path = tmp_path / 'measurements.jsonl'
    Evaluator(Counter(), 1, MeasurementFile(str(path), ORIGIN))(TOPOLOGIES[:2])
    whole = path.read_bytes()
    for cut in range(1, len(whole) + 1):  # wherever a process was killed
        path.write_bytes(whole[:cut])
        counter = Counter()
        evaluator = Evaluator(counter, 1, MeasurementFile(str(path), ORIGIN))
        evaluator(TOPOLOGIES[:2])
        assert path.read_bytes() == whole
        assert len(counter.asked) == 2 - max(0, whole[:cut].count(b'\n') - 1)


def test_numbers_of_another_origin_are_refused(tmp_path):
    path = str(tmp_path / 'measurements.jsonl')
    Evaluator(Counter(), 1, MeasurementFile(path, ORIGIN))(TOPOLOGIES[:1])
    other = dict(ORIGIN, setting=dict(image_size=64, seed=1))
    with pytest.raises(InputError, match='setting.image_size=32 instead of 64'):
        Evaluator(Counter(), 1, MeasurementFile(path, other))


@pytest.mark.parametrize('line', [
    'nonsense', '{}', '[1]', '{"topology": "8"}', 'null',
    '{"topology": "8,2,3|4,1,2|4,1,4|4,1,6|32", "repeat": 0, "measures": {"a": ["b", 1]}}',
])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / 'measurements.jsonl'
    Evaluator(Counter(), 1, MeasurementFile(str(path), ORIGIN))(TOPOLOGIES[:1])
    path.write_text(path.read_text() + line + '\n')
    number = len(path.read_text().splitlines())
    with pytest.raises(InputError, match=f'is damaged in line {number}'):
        Evaluator(Counter(), 1, MeasurementFile(str(path), ORIGIN))
    path.write_text(line + '\n')
    with pytest.raises(InputError):
        Evaluator(Counter(), 1, MeasurementFile(str(path), ORIGIN))


def test_first_difference():
    assert first_difference(ORIGIN, dict(ORIGIN)) == ''
    assert first_difference(dict(a=1), dict(a=1, b=2)) == 'b=None instead of 2'
    assert first_difference(dict(a=1, b=2), dict(a=1)) == 'b=2 instead of None'
    assert first_difference(dict(a=dict(b=[1])), dict(a=dict(b=[2]))) == (
        'a.b=[1] instead of [2]')


def test_threads_are_fixed_inside_and_restored():
    before = torch.get_num_threads()
    inside = share([(TOPOLOGIES[0], 0)], lambda item: torch.get_num_threads(), threads=3)
    assert inside == [3] and torch.get_num_threads() == before
    with pytest.raises(KeyError), intra_op_threads(3):
        raise KeyError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize('threads', [0, 1.5, True])
def test_bad_threads(threads):
    with pytest.raises(InputError, match='threads'):
        Evaluator(Counter(), 1, threads=threads)


def work(rank, world, folder):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world)
    counter = Counter()
    file = MeasurementFile(f'{folder}/measurements.jsonl', ORIGIN)
    summaries = Evaluator(counter, 3, file)(TOPOLOGIES)
    report = dict(numbers=numbers(summaries), asked=len(counter.asked))
    try:
        Evaluator(counter, 3, MeasurementFile(file.path, dict(ORIGIN, measure='other')))
    except InputError as error:
        report['error'] = str(error)
    with open(f'{folder}/{rank}.json', 'w') as out:
        json.dump(report, out)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_work_and_agree(tmp_path):
    mp.spawn(work, (3, str(tmp_path)), nprocs=3)
    reports = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(3)]
    expected = json.loads(json.dumps(numbers(Evaluator(Counter(), 3)(TOPOLOGIES))))
    assert all(report['numbers'] == expected for report in reports)
    assert [report['asked'] for report in reports] == [5, 5, 5]
    assert len((tmp_path / 'measurements.jsonl').read_text().splitlines()) == 16
    # what only rank 0 finds is said on all, so that none waits for ever
    assert all('measure=made up instead of other' in report['error']
               for report in reports)
