"""Auto-scaling on a real Runner, with a known table instead of measures."""
import csv
import json
import math

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner
from PIL import Image
from shipped import build, classifier_batch, detector_batch, train_two_steps

from mmasvit import Topology
from mmasvit.complexity import Measured, Setting, measure_topology
from mmasvit.errors import InputError
from mmasvit.limits import Constraint
from mmasvit.measuring.ledger import check_run
from mmasvit.scaling.growth import GrowthRule
from mmasvit.topology import FAMILY

MEASURED = []


def table(topology):
    """Length distortion likes width and the third stage, the condition number depth."""
    return dict(length_distortion=topology.embed_dims + 2.5 * topology.depths[2],
                ntk_condition_number=100. - 3 * topology.depths[0] * topology.depths[3]
                + topology.embed_dims / 5)


@FUNCTIONS.register_module()
def known_growth(topology, setting, repeat, names, images, device):
    """What the table says, and a little that depends on the initialisation."""
    MEASURED.append((topology, repeat))
    noise = 1e-3 * math.sin(repeat + 10 * setting.seed)
    return {name: Measured(value + noise, 1.) for name, value in table(topology).items()}


@FUNCTIONS.register_module()
def broken_growth(topology, setting, repeat, names, images, device):
    """No kernel has a condition number; every third width has no curve."""
    length = math.nan if topology.embed_dims % 3 == 0 else table(topology)[
        'length_distortion']
    return dict(length_distortion=Measured(length, 1.),
                ntk_condition_number=Measured(math.inf, 1.))


def config(work_dir, seed=0, arch='seed', **train_cfg):
    return Config(dict(
        model=dict(type='SeedTopology', arch=arch), work_dir=str(work_dir),
        train_dataloader=dict(dataset=dict(type='ProbeImages')),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.)),
        train_cfg=dict(dict(
            type='AutoScaleLoop', measure='known_growth', random_walks=3,
            stop=dict(params=15e6), constraint=dict(params=18e6),
            targets=dict(params=[5e6, 10e6], macs=[2e9]),
            setting=dict(image_size=32, repeats=2)), **train_cfg),
        default_hooks=dict(logger=None, timer=None, checkpoint=None,
                           param_scheduler=None),
        log_level='INFO', randomness=dict(seed=seed), experiment_name=str(work_dir)))


def scale(work_dir, **options):
    """Scale; give back the family, the history and the choices."""
    Runner.from_cfg(config(work_dir, **options)).train()
    return read(work_dir)


def read(work_dir):
    rows = []
    for name in ('history.csv', 'choices.csv'):
        with open(work_dir / name, newline='') as file:
            rows.append(list(csv.DictReader(file)))
    return [json.loads((work_dir / 'family.json').read_text()), *rows]


def logged(work_dir):
    log, = work_dir.glob('*/*.log')
    return log.read_text()


def without_times(result):
    return {name: value for name, value in result.items()
            if name not in ('seconds', 'processes', 'items_measured')}


def test_what_is_left_behind(tmp_path):
    MEASURED.clear()
    result, history, choices = scale(tmp_path)
    members = [Topology.parse(member['topology']) for member in result['members']]
    assert members[0] == FAMILY['seed']
    rule = GrowthRule(unit=4, constraint=Constraint(params=18e6))
    assert len(history) == len(members) - 1 > 4
    for number, (row, before, after) in enumerate(zip(history, members, members[1:]), 1):
        assert int(row['step']) == number and row['topology'] == str(after)
        asked = [one for one in choices if int(one['step']) == number]
        assert {Topology.parse(one['topology']) for one in asked} == set(rule.grow(before))
        assert [one['chosen'] for one in asked] == ['1'] + ['0'] * (len(asked) - 1)
        assert min(int(one['rank_sum']) for one in asked) == int(row['rank_sum'])
        assert int(row['measured']) == len(asked)
        for one in asked:
            grown = Topology.parse(one['topology'])
            for name, value in table(rule.measured(grown)).items():
                assert float(one[name]) == pytest.approx(value, abs=2e-3)
            assert {name: int(one[name]) for name in ('params', 'macs')} == grown.costs()
    sizes = [member['params'] for member in result['members']]
    assert sizes[-2] < 15e6 <= sizes[-1] <= 18e6
    assert '12 networks from 16 choices, 4 the same as another' in logged(tmp_path)
    # every item once, walks included
    assert len(MEASURED) == len(set(MEASURED)) == result['items_measured']
    walked = {Topology.parse(member['topology']) for walk in result['random']
              for member in walk['members']}
    grown = {Topology.parse(row['topology']) for row in choices}
    assert {topology for topology, _ in MEASURED} == {
        rule.measured(topology) for topology in walked | grown | {members[0]}}
    # two repeats, two measures of a second
    assert result['seconds']['steps'] == [
        4. * int(row['measured']) for row in history]
    assert np.asarray(Image.open(tmp_path / 'scaling.png').convert('L')).std() > 10
    assert result['measured_width'] == '1/4' and result['setting']['seed'] == 0


def test_targets_get_the_largest_member_below_and_its_configs(tmp_path):
    result, _, _ = scale(tmp_path, measure_random=False)
    assert [row['target'] for row in result['targets']] == [5e6, 10e6, 2e9]
    for row, name in zip(result['targets'], ('5m', '10m', '2g')):
        sizes = [member[row['cost']] for member in result['members']]
        assert row[row['cost']] == max(size for size in sizes if size <= row['target'])
        assert row['configs'] == [f'configs/asvit_{name}_in1k.py',
                                  f'configs/cascade_asvit_{name}_coco.py']
        for config in row['configs']:
            cfg = Config.fromfile(tmp_path / config)
            assert cfg.model.backbone.arch == row['topology']
            text = (tmp_path / config).read_text()
            assert f'in {row["step"]} steps' in text and 'released protocol' in text
            assert str(FAMILY['seed']) in text
    assert all(member['measures'] is None for walk in result['random']
               for member in walk['members'])
    assert result['comparison'] == []


@pytest.mark.slow
@pytest.mark.parametrize('which, batch, size', [(0, classifier_batch, 64),
                                                (1, detector_batch, 128)])
def test_emitted_configs_train_two_iterations(tmp_path, which, batch, size):
    result, _, _ = scale(tmp_path, targets=dict(params=[5e6]), random_walks=0)
    row, = result['targets']
    cfg, model = build(tmp_path / row['configs'][which])
    assert model.backbone.topology == Topology.parse(row['topology'])
    if which:
        assert tuple(cfg.model.neck.in_channels) == model.backbone.out_channels
    train_two_steps(cfg, model, batch(cfg, size))


def test_comparison_with_random_scaling(tmp_path):
    result, _, _ = scale(tmp_path, targets=dict(params=[5e6, 10e6]))
    assert [(row['size'], row['measure']) for row in result['comparison']] == [
        (size, name) for size in (5e6, 10e6)
        for name in ('length_distortion', 'ntk_condition_number')]
    for row in result['comparison']:
        assert row['walks'] == 3 and 0 <= row['better_than'] <= 3
        if row['better_than'] in (0, 3):
            better = row['ours'] > row['random_mean']
            assert (better == (row['better_than'] == 3)) == (
                row['measure'] == 'length_distortion')


def test_what_cannot_be_measured_is_no_reason_to_stop(tmp_path):
    result, history, choices = scale(tmp_path, measure='broken_growth')
    assert {row['ntk_condition_number'] for row in choices} == {'inf'}
    lengths = {row['length_distortion'] for row in choices}
    assert 'nan' in lengths and len(lengths) > 1
    for row in history:  # the worst is not chosen while there is another
        step = [one['length_distortion'] for one in choices if one['step'] == row['step']]
        assert row['length_distortion'] != 'nan' or set(step) == {'nan'}
    of_condition = [row for row in result['comparison']
                    if row['measure'] == 'ntk_condition_number']
    assert of_condition and {row['ours'] for row in of_condition} == {'inf'}
    assert {row['better_than'] for row in of_condition} == {0}


def test_a_second_run_measures_nothing_and_equals_the_first(tmp_path):
    first = scale(tmp_path)
    files = ('history.csv', 'choices.csv')
    before = [(tmp_path / name).read_bytes() for name in files]
    MEASURED.clear()
    second = scale(tmp_path)
    assert not MEASURED and second[0]['items_measured'] == 0
    assert without_times(second[0]) == without_times(first[0])
    assert [(tmp_path / name).read_bytes() for name in files] == before
    # what earlier runs measured counts in the time of the steps
    for name in ('steps', 'random'):
        assert second[0]['seconds'][name] == first[0]['seconds'][name]
    assert without_times(scale(tmp_path / 'other', seed=1)[0]) != without_times(first[0])


def test_the_papers_protocol_measures_the_real_width(tmp_path):
    MEASURED.clear()
    result, history, _ = scale(tmp_path, random_walks=0, setting=dict(
        image_size=32, repeats=1, protocol='paper'), stop=dict(params=4e6),
        targets=dict(params=[3e6]))
    assert result['measured_width'] == '1/1'
    assert {topology.embed_dims for topology, _ in MEASURED[:17]} == {32, 34, 35, 37, 38}
    assert int(history[0]['measured']) == 16


def test_widths_at_their_cap_are_said(tmp_path):
    wide = '2,2,1|2,1,1|2,1,1|2,1,1|16,1024'
    size = Topology.parse(wide).costs()['params']
    result, history, _ = scale(tmp_path, arch=wide, random_walks=0, constraint=None,
                               stop=dict(params=size + 1), targets=dict(params=[size]))
    assert [row['measured'] for row in history] == ['4']
    assert '4 networks from 16 choices, 12 the same as another, all widths at their cap' \
        in logged(tmp_path)
    assert result['targets'][0]['step'] == 0 and result['targets'][0]['passed']


def test_real_measures(tmp_path):
    setting = dict(image_size=32, repeats=1, num_images=2, num_angles=3)
    result, _, choices = scale(
        tmp_path, measure=None, setting=setting, random_walks=0,
        stop=dict(params=2.5e6), targets=dict(params=[2.5e6]))
    for row in choices[:2]:
        topology = GrowthRule(unit=4).measured(Topology.parse(row['topology']))
        for name, summary in measure_topology(topology, Setting(**setting)).items():
            assert float(row[name]) == pytest.approx(summary.mean, rel=1e-5)


@pytest.mark.parametrize('options, line', [
    (dict(stop=dict(params=2e6)), 'stop.params=2e.06 is not above the seed'),
    (dict(constraint=dict(params=2e6)), 'constraint.params=2e.06 is not above the seed'),
    (dict(stop=None, constraint=None), 'stop or constraint must give'),
    (dict(targets={}), 'targets must list sizes'),
    (dict(targets=dict(params=[10e6, 5e6])), 'targets.params must ascend'),
    (dict(targets=dict(params=[16e6])), 'above stop.params'),
    (dict(stop=dict(flops=1)), 'stop: unknown flops'),
    (dict(setting=dict(image=32)), 'setting: unknown image'),
    (dict(width_factors=[0.05]), 'width_factors'),
    (dict(random_walks=-1), 'random_walks'),
    (dict(arch='8,2,3|4,1,2|4,1,4|4,1,6|32,30'), 'multiple of 4'),
    (dict(measure='nothing'), "measure 'nothing'"),
    (dict(seed=None), 'randomness.seed'),
    (dict(walks=3), 'train_cfg: unknown walks; expected some of setting, objective'),
    (dict(arch='huge'), 'unknown arch'),
    (dict(stop=5), 'stop must be a dict, got 5'),
    (dict(stop=dict(params='abc')), 'stop: params must be a finite number above 0'),
    (dict(stop=dict(params=math.inf)), 'stop: params must be a finite number above 0'),
    (dict(setting='abc'), 'setting must be a dict'),
    (dict(setting=dict(protocol=['paper'])), 'setting: protocol must be one of'),
    (dict(targets=5), 'targets must list sizes'),
    (dict(measure=5), "measure 5 is not"),
    (dict(measure_random='abc'), 'measure_random must be True or False'),
])
def test_bad_options_are_one_line_before_any_work(tmp_path, options, line):
    MEASURED.clear()
    with pytest.raises(InputError, match=line) as caught:
        scale(tmp_path, **options)
    assert '\n' not in str(caught.value)
    assert not MEASURED and not (tmp_path / 'history.csv').exists()


def test_another_model_or_dataset_is_refused(tmp_path):
    cfg = config(tmp_path)
    cfg.model = dict(type='TopologyPolicy')
    with pytest.raises(InputError, match="model.type must be 'SeedTopology'"):
        Runner.from_cfg(cfg).train()
    for dataset in (5, 'abc', dict(type='ProbeImages', foo=1)):
        cfg = config(tmp_path)
        cfg.train_dataloader = dict(dataset=dataset)
        with pytest.raises(InputError, match='of type ProbeImages'):
            Runner.from_cfg(cfg).train()


def test_scaling_goes_on_from_its_ledger_alone(tmp_path):
    whole = scale(tmp_path / 'whole')
    part = tmp_path / 'part'
    part.mkdir()
    for name in ('run.json', 'measurements.jsonl'):
        (part / name).write_bytes((tmp_path / 'whole' / name).read_bytes())
    lines = (part / 'measurements.jsonl').read_bytes().splitlines(keepends=True)
    (part / 'measurements.jsonl').write_bytes(b''.join(lines[:60]) + lines[60][:9])
    MEASURED.clear()
    again = scale(part)
    assert (part / 'measurements.jsonl').read_bytes() == b''.join(lines)
    assert len(MEASURED) == len(lines) - 60
    assert without_times(again[0]) == without_times(whole[0]) and again[1:] == whole[1:]
    # steps that were made before are not logged again
    assert 'step 1:' not in logged(part) and 'step 4:' in logged(part)


def test_what_a_scaling_goes_to_may_change_and_nothing_else(tmp_path):
    first = scale(tmp_path, random_walks=0, stop=dict(params=6e6),
                  targets=dict(params=[5e6]))
    further = scale(tmp_path, random_walks=0, stop=dict(params=9e6),
                    targets=dict(params=[5e6, 8e6]))
    assert further[1][:len(first[1])] == first[1] and len(further[1]) > len(first[1])
    with pytest.raises(InputError, match='constraint.params=18000000.0 instead of 2000000'):
        scale(tmp_path, constraint=dict(params=20e6))
    with pytest.raises(InputError, match='run.json is of a run with kind=scaling instead'):
        check_run(tmp_path, dict(kind='search'))


def test_another_objective(tmp_path):
    result, history, _ = scale(tmp_path, objective=dict(ntk_condition_number=-1))
    assert 'length_distortion' not in history[0]
    assert {row['measure'] for row in result['comparison']} == {'ntk_condition_number'}
    assert all(int(row['rank_sum']) == 1 for row in history)
