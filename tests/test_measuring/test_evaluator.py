"""Measuring: shared, kept, never done twice."""
import json
import math

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.registry import FUNCTIONS

from mmasvit.complexity import Measured, Setting
from mmasvit.datasets import ProbeImages
from mmasvit.errors import InputError
from mmasvit.measuring import Evaluator, Ledger, build_evaluator
from mmasvit.measuring.sharing import intra_op_threads, share
from mmasvit.search import Space

SPACE = Space()
TOPOLOGIES = [SPACE.topology((i, ) + 11 * (0, )) for i in range(5)]
ORIGIN = dict(setting=dict(image_size=32, seed=1), measure='made up')
NAMES = ('length_distortion', 'ntk_condition_number')


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


def test_nothing_is_measured_twice():
    counter = Counter()
    evaluator = Evaluator(counter, 3, NAMES)
    a, b, c = TOPOLOGIES[:3]
    assert evaluator.unknown([a, b, a]) == [(t, i) for t in (a, b) for i in range(3)]
    first = evaluator([a, b, a])
    assert len(counter.asked) == 6 == evaluator.measured
    assert numbers(first)[0] == numbers(first)[2] != numbers(first)[1]
    assert evaluator([b])[0]['length_distortion'].mean == pytest.approx(5 + 1 / 7)
    assert len(counter.asked) == 6 and not evaluator.unknown([a, b])
    evaluator([c, a])
    assert counter.asked[6:] == [(c, 0), (c, 1), (c, 2)]
    assert evaluator.seconds([a, c]) == dict(length_distortion=3.,
                                             ntk_condition_number=1.5)


def test_a_second_evaluator_finds_everything(tmp_path):
    path, counter = tmp_path / 'measurements.jsonl', Counter()
    first = Evaluator(counter, 2, NAMES, Ledger(path, ORIGIN))(TOPOLOGIES)
    again = Evaluator(counter, 2, NAMES, Ledger(path, ORIGIN))
    assert again(TOPOLOGIES) == first and len(counter.asked) == 10
    assert again.measured == 0 and len(again.known) == 10
    assert again.seconds(TOPOLOGIES)['length_distortion'] == 5.


def test_a_measure_that_is_not_there_yet_is_taken(tmp_path):
    path, counter = tmp_path / 'measurements.jsonl', Counter()
    Evaluator(lambda **item: {NAMES[0]: counter(**item)[NAMES[0]]}, 1, NAMES[:1],
              Ledger(path, ORIGIN))(TOPOLOGIES[:2])
    both = Evaluator(counter, 1, NAMES, Ledger(path, ORIGIN))
    assert len(both.unknown(TOPOLOGIES[:2])) == 2
    assert set(both(TOPOLOGIES[:2])[0]) == set(NAMES)
    fewer = Evaluator(counter, 1, NAMES[1:], Ledger(path, ORIGIN))
    assert set(fewer(TOPOLOGIES[:2])[0]) == set(NAMES[1:]) and len(counter.asked) == 4


def test_what_was_done_before_a_death_is_kept(tmp_path):
    path = tmp_path / 'measurements.jsonl'
    counter, seen = Counter(), []

    def dies(topology, repeat):
        if len(counter.asked) == 4:
            raise KeyboardInterrupt
        return counter(topology, repeat)

    with pytest.raises(KeyboardInterrupt):
        Evaluator(dies, 2, NAMES, Ledger(path, ORIGIN))(
            TOPOLOGIES, lambda done, total: seen.append((done, total)))
    assert seen == [(i, 10) for i in range(5)]
    assert len(path.read_bytes().splitlines()) == 1 + 4


def test_threads_are_fixed_inside_and_restored():
    before = torch.get_num_threads()
    inside = share([(TOPOLOGIES[0], 0)], lambda item: torch.get_num_threads(), threads=3)
    assert inside == [3] and torch.get_num_threads() == before
    with pytest.raises(KeyError), intra_op_threads(3):
        raise KeyError
    assert torch.get_num_threads() == before


@pytest.mark.parametrize('threads', [0, 1.5, True])
def test_bad_threads(threads):
    with pytest.raises(InputError, match='threads must be a whole number from 1 to '):
        Evaluator(Counter(), 1, NAMES, threads=threads)


# ---- measures of one's own


@FUNCTIONS.register_module()
def twice_the_kernel(topology, setting, repeat, names, images, device):
    return dict(kernel=Measured(2. * topology.kernels[0], 0.))


@FUNCTIONS.register_module()
class OfACheckpoint:
    """A measure that reads a file once."""

    def __init__(self, checkpoint):
        with open(checkpoint, encoding='utf-8') as file:
            self.origin = dict(content=file.read())

    def __call__(self, topology, setting, repeat, names, images, device):
        return dict(kernel=Measured(len(self.origin['content']), 0.))


def build(folder, names=('kernel', ), **options):
    setting = Setting(image_size=32, repeats=1, num_images=2)
    return build_evaluator(folder, setting, ProbeImages('noise', 32, 2), names, **options)


def test_a_function_of_the_registry(tmp_path):
    evaluator, origin = build(tmp_path, measure='twice_the_kernel')
    assert numbers(evaluator(TOPOLOGIES[:2])) == [dict(kernel=[8.]), dict(kernel=[10.])]
    assert origin['measure'] == 'twice_the_kernel'
    evaluator, _ = build(tmp_path, ('kernel', 'luck'), measure='twice_the_kernel')
    with pytest.raises(InputError, match='objective: luck is not measured; there is kern'):
        evaluator(TOPOLOGIES)


def test_an_object_of_the_registry_tells_its_origin(tmp_path):
    path = tmp_path / 'weights'
    path.write_text('seven..')
    measure = dict(type='OfACheckpoint', checkpoint=str(path))
    evaluator, origin = build(tmp_path, measure=measure)
    assert numbers(evaluator(TOPOLOGIES[:1])) == [dict(kernel=[7.])]
    assert origin['measure'] == measure
    build(tmp_path, measure=measure)
    path.write_text('other')
    with pytest.raises(InputError, match='measure_origin.content=seven.. instead of oth'):
        build(tmp_path, measure=measure)


@pytest.mark.parametrize('names, measure, line', [
    (('luck', ), None, 'measures must be some of'), (('kernel', ), 'nothing', "'nothing'"),
    (('kernel', ), 5, 'measure 5'), (('kernel', ), dict(checkpoint='a'), 'measure None')])
def test_measures_that_do_not_exist(tmp_path, names, measure, line):
    with pytest.raises(InputError, match=line):
        build(tmp_path, names, measure=measure)


# ---- several processes


def refuse(topology, repeat):
    if topology == TOPOLOGIES[1]:
        raise InputError('not this one')
    return Counter()(topology, repeat)


def work(rank, world, folder):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=world)
    counter = Counter()
    ledger = Ledger(f'{folder}/measurements.jsonl', ORIGIN)
    summaries = Evaluator(counter, 3, NAMES, ledger)(TOPOLOGIES)
    report = dict(numbers=numbers(summaries), asked=len(counter.asked), errors=[])
    for measure, other in ((counter, Ledger(ledger.path, dict(ORIGIN, measure='other'))),
                           (refuse, None)):
        try:
            Evaluator(measure, 1, NAMES, other)(TOPOLOGIES)
        except InputError as error:
            report['errors'].append(str(error))
    with open(f'{folder}/{rank}.json', 'w') as out:
        json.dump(report, out)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_work_and_agree(tmp_path):
    mp.spawn(work, (3, str(tmp_path)), nprocs=3)
    reports = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(3)]
    expected = json.loads(json.dumps(numbers(Evaluator(Counter(), 3, NAMES)(TOPOLOGIES))))
    assert all(report['numbers'] == expected for report in reports)
    assert [report['asked'] for report in reports] == [5, 5, 5]
    assert len((tmp_path / 'measurements.jsonl').read_text().splitlines()) == 16
    # what only one rank finds is said on all, so that none waits for ever
    for report in reports:
        foreign, refused = report['errors']
        assert 'measure=made up instead of other' in foreign and refused == 'not this one'
