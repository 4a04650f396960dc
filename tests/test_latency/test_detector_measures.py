"""Costs on a device and in a detector: as measures, as limits, in runs."""
import csv
import json
from pathlib import Path

import pytest
from latencies import make_table, save_table
from mmengine.config import Config
from mmengine.runner import Runner

from mmasvit import Topology
from mmasvit.analysis import build_to_count, count_model_macs
from mmasvit.complexity import Setting, measure_repeat
from mmasvit.engine import preflight
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError
from mmasvit.latency import DetectorMeasures
from mmasvit.report.write import write_report

SEED = Topology.of('seed')
SETTING = dict(features='pyramid', image_size=32, repeats=1, num_images=4, num_angles=4)


def test_latency_is_the_tables_and_the_rest_is_measured_as_without(tmp_path):
    measure = DetectorMeasures(save_table(tmp_path)).for_setting(Setting(**SETTING))
    names = ('latency', 'length_distortion')
    for topology in (SEED, Topology.parse('4,8,2|2,4,2|2,2,2|2,1,2|64')):
        found = measure(topology, Setting(**SETTING), 0, names)
        assert found['latency'].value == make_table().milliseconds(topology)
        assert found['length_distortion'].value == measure_repeat(
            topology, Setting(**SETTING), 0, names[1:])['length_distortion'].value
        assert measure.costs(topology)['params'] == topology.costs()['params']
    with pytest.raises(InputError, match='detector_macs: nothing tells of it'):
        measure(SEED, Setting(**SETTING), 0, ('detector_macs', ))


@pytest.mark.slow
def test_costs_of_a_detector_are_those_of_the_one_that_is_built(tmp_path):
    path = tmp_path / 'detector.py'
    path.write_text('''
_base_ = 'BASE/configs/cascade_asvit_tiny.py'
model = dict(test_cfg=dict(rpn=dict(nms_pre=20, max_per_img=20)))
'''.replace('BASE', str(Path(__file__).parents[2])))
    measure = DetectorMeasures(detector=str(path)).for_setting(Setting(image_size=64))
    assert measure.cost_names == ('params', 'macs', 'detector_params', 'detector_macs')
    for text in ('8,2,3,1|4,1,2,2|4,1,4,1|4,1,6,1|32,48', '5,4,2|2,1,3|3,2,4|4,1,2|16'):
        topology, cfg = Topology.parse(text), load_config(str(path))
        cfg.model.backbone.arch = text
        cfg.model.neck.in_channels = list(topology.widths)
        model = build_to_count(cfg)
        costs = measure.costs(topology)
        assert costs['detector_params'] == sum(p.numel() for p in model.parameters())
        assert costs['detector_macs'] == count_model_macs(model, (64, 64), True)


def config(kind, folder, **train_cfg):
    """A run with tiny real measures."""
    part, own = dict(
        search=(dict(type='TopologyPolicy'), dict(type='TopologySearchLoop', max_iters=8)),
        scaling=(dict(type='SeedTopology', arch='seed'), dict(
            type='AutoScaleLoop', random_walks=0)))[kind]
    cfg = dict(own, measure=dict(type='DetectorMeasures', profile=save_table(
        folder, splits_at=224)), setting=SETTING, objective=dict(length_distortion=1))
    return Config(dict(
        model=part, work_dir=str(folder / 'work'),
        train_dataloader=dict(dataset=dict(type='ProbeImages')),
        train_cfg=dict(cfg, **train_cfg), default_hooks=dict(checkpoint=None),
        optim_wrapper=dict(optimizer=dict(type='Adam', lr=.08)), log_level='WARNING',
        log_processor=dict(by_epoch=False), randomness=dict(seed=0),
        experiment_name=str(folder)))


def run(kind, folder, **train_cfg):
    cfg = config(kind, folder, **train_cfg)
    Path(cfg.work_dir).mkdir(exist_ok=True)
    Runner.from_cfg(cfg).train()
    with open(folder / 'work/history.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    name = dict(search='topology.json', scaling='family.json')[kind]
    return json.loads((folder / 'work' / name).read_text()), rows


def test_a_search_measures_nothing_above_its_milliseconds(tmp_path):
    table = make_table()
    limit = table.milliseconds(SEED)
    result, rows = run('search', tmp_path, constraint=dict(latency=limit))
    for row in rows:
        latency = table.milliseconds(Topology.parse(row['topology']))
        assert float(row['latency']) == pytest.approx(latency) and latency <= limit
    lines = (tmp_path / 'work/measurements.jsonl').read_text().splitlines()
    assert all(table.milliseconds(Topology.parse(json.loads(line)['topology'])) <= limit
               for line in lines[1:])
    assert result['latency'] <= limit and result['references'] == table.references
    # the detector that it leaves is for the images that it was searched on
    detector = Config.fromfile(tmp_path / 'work/configs/cascade_asvit_found_coco.py')
    assert detector.image_size == (32, 32)
    assert detector.model.data_preprocessor.pad_size_divisor == 32
    page = write_report(tmp_path / 'work').read_text()
    assert 'Frontier' in page and 'ResNet-50' in page and 'latency (ms)' in page
    # all but the ledger gone, and half of that: the same again
    history = (tmp_path / 'work/history.csv').read_bytes()
    for path in (tmp_path / 'work').glob('*.*'):
        if path.name not in ('run.json', 'measurements.jsonl') and path.is_file():
            path.unlink()
    (tmp_path / 'work/measurements.jsonl').write_text('\n'.join(lines[:4]) + '\n')
    run('search', tmp_path, constraint=dict(latency=limit))
    assert (tmp_path / 'work/history.csv').read_bytes() == history


def test_latency_may_be_what_is_looked_for(tmp_path):
    result, rows = run('search', tmp_path, objective=dict(latency=-1), max_iters=20,
                       strategy='random')
    assert result['latency'] == min(float(row['latency']) for row in rows)


def test_a_scaling_grows_to_milliseconds(tmp_path):
    table = make_table(widths=(8, 32, 64))
    seed = table.milliseconds(SEED)
    result, rows = run('scaling', tmp_path, targets=dict(latency=[1.2 * seed, 1.5 * seed]),
                       stop=dict(latency=1.5 * seed), constraint=dict(latency=1.8 * seed))
    members = [Topology.parse(member['topology']) for member in result['members']]
    times = [table.milliseconds(member) for member in members]
    assert [member['latency'] for member in result['members']] == pytest.approx(times)
    assert times[-2] < 1.5 * seed <= times[-1] <= 1.8 * seed
    for target in result['targets']:
        below = [time for time in times if time <= target['target']]
        assert target['latency'] == pytest.approx(max(below))
        assert 'ms_coco.py' in target['configs'][1]
    assert float(rows[-1]['latency']) == pytest.approx(times[-1])
    assert 'Frontier' in write_report(tmp_path / 'work').read_text()


@pytest.mark.parametrize('kind, options, line', [
    ('search', dict(constraint=dict(latency=1)), 'latency=1 is below the least of the'),
    ('search', dict(measure=dict(type='DetectorMeasures')), 'needs a profile or a detect'),
    ('search', dict(measure=dict(type='DetectorMeasures', profile='none.json')),
     'none.json cannot be read'),
    ('search', dict(device='Abacus'), 'is of the device .*, not Abacus; profile'),
    ('search', dict(dtype='bfloat16'), 'is of the dtype float32, not bfloat16'),
    ('search', dict(compiled=True), 'is of the compiled False, not True'),
    ('search', dict(shape=64), 'is of the image size 32 x 32 px, not 64 x 64 px'),
    ('search', dict(shape='big'), 'measure.shape must be'),
    ('search', dict(setting=dict(SETTING, image_size=64)), 'not 64 x 64 px'),
    ('search', dict(setting=dict(SETTING, features='last')), 'the pre-training size 224'),
    ('search', dict(setting=dict(SETTING, features='middle')), 'features must be one of'),
    ('search', dict(constraint=dict(detector_macs=1e9)), 'detector_macs: nothing tells'),
    ('scaling', dict(targets=dict(latency=[1.])), 'is below the seed topology'),
    ('scaling', dict(targets=dict(latency=[50.]), stop=dict(latency=500)),
     'stop.latency=500 is beyond .*: its widest, C = 64'),
    ('scaling', dict(targets=dict(detector_params=[1e9])), 'targets.detector_params: noth'),
])
def test_bad_input_is_one_line(tmp_path, kind, options, line):
    names = ('device', 'dtype', 'compiled', 'shape')
    own = {name: options.pop(name) for name in names if name in options}
    if kind == 'scaling':
        options = dict(dict(stop=dict(params=9e9)), **options)
    cfg = config(kind, tmp_path, **options)
    cfg.train_cfg.measure.update(own)
    with pytest.raises(InputError, match=line) as caught:
        preflight.check_measuring(cfg)
    assert '\n' not in str(caught.value)


def test_another_table_is_another_run(tmp_path):
    run('search', tmp_path, max_iters=2)
    make_table(factor=2.).save(tmp_path / 'other.json')
    with pytest.raises(InputError, match='measure'):
        run('search', tmp_path, max_iters=2, measure=dict(
            type='DetectorMeasures', profile=str(tmp_path / 'other.json')))
