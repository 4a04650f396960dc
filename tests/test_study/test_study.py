"""The complexity study with real Runners, small: whole, killed, resumed, refused."""
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import fails, make_coco, own_globals
from latencies import make_table
from mmengine.config import Config
from mmengine.registry import MODELS

from mmasvit import AsViT
from mmasvit.complexity import Measured, Setting, Summary
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError
from mmasvit.study import Study
from mmasvit.report.write import write_report
from mmasvit.study.items import Job, Progress, check_study, run_job
from mmasvit.study.pool import run_items
from mmasvit.study.table import Row, collect, correlate, write_study

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip('mmpretrain')


@pytest.fixture
def config(tmp_path):
    """Three topologies, 24 images, one epoch, three measures."""
    random = np.random.default_rng(0)
    np.savez(tmp_path / 'data.npz', **{
        f'{split}_{name}': value for split in ('train', 'test') for name, value in (
            ('images', random.integers(0, 256, (24, 32, 32, 3), np.uint8)),
            ('labels', np.arange(24) % 10))})
    path = tmp_path / 'study.py'
    path.write_text(f'''
_base_ = '{ROOT}/configs/complexity_study_cifar.py'
image_size = 32
setting = dict(image_size=32, repeats=1, num_angles=4, num_images=4)
study = dict(num_topologies=3, settings=[dict(protocol='paper', **setting)],
             measures=['length_distortion', 'params', 'ntk_condition_number'])
dataset = dict(ann_file='{tmp_path}/data.npz')
pipeline = [dict(type='Resize', scale=32), dict(type='PackInputs')]
model = dict(backbone=dict(pretrain_img_size=32))
train_dataloader = dict(batch_size=8, dataset=dict(pipeline=pipeline, **dataset))
val_dataloader = dict(batch_size=8, dataset=dict(pipeline=pipeline, **dataset))
train_cfg = dict(max_epochs=1, val_interval=1)
''')
    return path


def command(config, folder, *flags):
    return [sys.executable, str(ROOT / 'tools/complexity_study.py'), str(config),
            '--work-dir', str(folder), '--processes', '2', *flags]


def run(*arguments):
    return subprocess.run(command(*arguments), cwd=ROOT, text=True, timeout=300,
                          capture_output=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})


def results(folder):
    with open(folder / 'study.csv', newline='') as file:
        return [{name: value for name, value in row.items() if 'seconds' not in name}
                for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_killed_study_goes_on_and_ends_alike(config, tmp_path):
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    done = run(config, whole, '--processes', '1')
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'ntk_condition_number/paper' in done.stdout
    assert (whole / 'study.png').exists()
    rows = results(whole)
    assert len({row['topology'] for row in rows}) == 3
    assert all(0 <= float(row['accuracy']) <= 100 for row in rows)

    ledger = killed / 'measurements.jsonl'
    process = subprocess.Popen(command(config, killed), cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.time() + 240
    while (not ledger.exists() or len(ledger.read_bytes().splitlines()) < 3
           ) and time.time() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGSTOP)  # or it might end before the other asks
    other = run(config, killed)
    assert other.returncode == 2 and other.stderr == (
        f'error: another run works in {killed}; wait for its end, or choose another work '
        'directory\n')
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    os.killpg(process.pid, signal.SIGCONT)  # its orphans leave by themselves
    before = ledger.read_bytes()
    assert not (killed / 'study.csv').exists()
    done = run(config, killed, '--resume')
    assert done.returncode == 0, done.stderr[-2000:]
    whole_lines = before[:before.rfind(b'\n') + 1]
    assert ledger.read_bytes().startswith(whole_lines)
    # every item once: a line for the measures of a topology, one for its accuracy
    rows_of = [json.loads(line) for line in ledger.read_text().splitlines()[1:]]
    keys = [(row['topology'], row['repeat'], *row['measures']) for row in rows_of]
    assert len(keys) == len(set(keys)) == 6
    # neither the kill nor the number of processes changes a digit
    assert results(killed) == rows

    other = run(config, killed, '--cfg-options', 'study.seed=1')
    assert other.returncode == 2 and 'study.seed=0 instead of 1' in other.stderr


class TestBadInput:

    @pytest.mark.parametrize('options, message', [
        (['study.num_topologies=2'], 'num_topologies'),
        (['study.settings.0.repeats=0'], 'repeats'),
        (['study.settings.0.num_angles=1'], 'num_angles'),
        (['study.settings.0.image_size=64'], 'image_size is 64'),
        (['study.settings.0.other=64'], 'study.settings.0: unknown other'),
        (['study.other=64'], 'study: unknown other; expected some of num_topologies'),
        (['study.settings=5'], 'settings must be a list of dicts'),
        (['study.measures=[luck]'], 'luck'),
        (['study.images=photos'], 'images must be one of noise, dataset, spread'),
        (['study.settings.0.num_images=99'], '99'),
        (['val_dataloader.dataset.ann_file=none.npz'], 'none.npz does not exist'),
        (['train_dataloader.dataset.ann_file=none.npz'], 'none.npz does not exist'),
    ])
    def test_one_line(self, config, options, message):
        cfg = load_config(str(config), options)
        with pytest.raises(InputError, match=message) as error:
            check_study(cfg)
        assert '\n' not in str(error.value)

    def test_a_config_without_a_study(self):
        with pytest.raises(InputError, match='has no study'):
            Study.of(Config.fromfile(ROOT / 'configs/asvit_small_in1k.py'))

    def test_status_2(self, config, tmp_path):
        fails('tools/complexity_study.py', config, '--work-dir', tmp_path / 'work',
              '--cfg-options', 'study.num_topologies=2')
        assert not (tmp_path / 'work' / 'measures').exists()


def test_topologies_are_different_seeded_and_of_the_space():
    study = Study.of(Config.fromfile(ROOT / 'configs/complexity_study_cifar.py'))
    topologies = study.topologies
    assert len(set(topologies)) == study.num_topologies
    assert all(t.in_search_space and t.embed_dims == 32 for t in topologies)
    assert topologies == study.topologies


def summary(value, seconds=1.):
    return Summary(float(value), [float(value)], seconds)


@pytest.mark.slow
def test_correlate_orients_and_labels():
    topologies = Study(12, (Setting(), )).topologies
    rows = [Row(topology, i, {
        'length_distortion/paper': summary(i, 2.), 'ntk_condition_number/paper': summary(i),
        'synflow/paper': summary((7 * i) % 12), 'params': summary(i, 0.)})
        for i, topology in enumerate(topologies)]
    found = correlate(rows)
    assert {name: finding.says for name, finding in found.items()} == {
        'length_distortion/paper': 'as meant', 'params': 'as meant',
        'ntk_condition_number/paper': 'the opposite', 'synflow/paper': 'nothing clear'}
    assert found['length_distortion/paper'].seconds == 2.
    assert not found['ntk_condition_number/paper'].higher_is_better


def touch(path):
    Path(path).write_text(str(os.getpid()))
    return path.upper()


def fail(path):
    raise RuntimeError('this item is broken')


class TestRunItems:

    @pytest.mark.slow
    def test_every_item_once(self, tmp_path):
        paths = [str(tmp_path / f'{i}.txt') for i in range(5)]
        done = sorted(run_items(touch, paths, 2, str(tmp_path)))
        assert done == [(path, path.upper()) for path in paths]
        workers = {Path(path).read_text() for path in paths}
        assert str(os.getpid()) not in workers

    @pytest.mark.slow
    def test_a_failure_stops_everything(self, tmp_path):
        with pytest.raises(RuntimeError, match='this item is broken'):
            list(run_items(fail, [str(tmp_path)], 1, str(tmp_path)))


@pytest.mark.parametrize('name, count, epochs', [('cifar', 40, 10), ('imagenet', 87, 300)])
def test_shipped_studies_build_their_networks(name, count, epochs):
    cfg = Config.fromfile(ROOT / f'configs/complexity_study_{name}.py')
    study = Study.of(cfg)
    assert (study.num_topologies, cfg.train_cfg.max_epochs) == (count, epochs)
    assert [setting.protocol for setting in study.settings] == ['released', 'paper']
    size = study.settings[0].image_size
    with MODELS.switch_scope_and_registry('mmpretrain') as registry:
        cfg.model.backbone.arch = str(study.topologies[0])
        model = registry.build(cfg.model)
    assert model.backbone.pretrain_img_size == size
    assert model.head.layers.head.in_features == 256


@pytest.fixture
def detectors(tmp_path):
    """The study of nuclei on noise with rectangles, three topologies, one iteration."""
    for split in ('train', 'val'):
        make_coco(tmp_path / f'annotations/instances_{split}.json', tmp_path / split,
                  images=2, classes=('nucleus', ), size=(64, 64))
    path = tmp_path / 'study.py'
    make_table(widths=(32, ), size=64).save(tmp_path / 'device.json')
    path.write_text(f'''
_base_ = '{ROOT}/configs/complexity_study_nuclei.py'
setting = dict(protocol='released', repeats=1, num_angles=3, num_images=2,
               pretrain_img_size=224)
study = dict(
    num_topologies=3, macs_between=(4e6, 4.6e6), measures=['length_distortion', 'params',
    'macs', 'latency', 'detector_params'], composites=None,
    settings=[dict(setting, features='pyramid', image_size=32),
              dict(setting, features='last', image_size=64)],
    costs=dict(profile='{tmp_path}/device.json', shape=64,
               detector='{ROOT}/configs/cascade_asvit_tiny.py'))
model = dict(test_cfg=dict(rpn=dict(max_per_img=5), rcnn=dict(score_thr=0.)))
train_dataloader = dict(dataset=dict(data_root='{tmp_path}/'))
val_dataloader = dict(dataset=dict(data_root='{tmp_path}/'))
val_evaluator = dict(ann_file='{tmp_path}/annotations/instances_val.json')
train_cfg = dict(max_epochs=1, val_begin=2)
''')
    return path


@pytest.mark.slow
def test_detectors_are_trained_and_their_ap_is_the_score(detectors, tmp_path):
    cfg, folder = load_config(str(detectors)), tmp_path / 'work'
    folder.mkdir()
    cfg.work_dir = str(folder)
    check_study(cfg)
    progress = Progress(cfg, str(folder))
    study, table = progress.study, make_table(widths=(32, ), size=64)
    macs = [topology.count_macs((32, 32), pretrain_img_size=224)
            for topology in study.topologies]
    assert 4e6 <= min(macs) <= max(macs) <= 4.6e6
    with own_globals(fresh=True):
        first = next(item for item in progress.items if item.setting is None)
        trained, = run_job(Job(cfg, str(folder), first))
    assert list(trained) == ['bbox_mAP'] and 0 <= trained['bbox_mAP'].value <= 100
    state = torch.load(folder / 'runs/000/epoch_1.pth', weights_only=False)['state_dict']
    backbone = AsViT(study.topologies[0], use_abs_pos_embed=False)
    assert {name: value.shape for name, value in backbone.state_dict().items()} == {
        name.removeprefix('backbone.'): value.shape for name, value in state.items()
        if name.startswith('backbone.')}
    for item in progress.items:
        repeats = ([{'bbox_mAP': Measured(10. * item.index, 0.)}] if item.setting is None
                   else run_job(Job(cfg, str(folder), item)))
        for entry, repeat in zip(item.entries(study), repeats, strict=True):
            progress.known.setdefault(entry, {}).update(repeat)
    rows = collect(study, progress.known)
    assert set(rows[0].measures) == {
        'length_distortion/released/pyramid/32px', 'length_distortion/released/last/64px',
        'params', 'macs/32px', 'macs/64px', 'latency', 'detector_params'}
    for row, count in zip(rows, macs):
        assert row.measures['macs/32px'].mean == count
        assert row.measures['latency'].mean == table.milliseconds(row.topology)
    write_study(str(folder), rows, correlate(rows), study.score)
    assert (folder / 'study.csv').read_text().startswith('topology,bbox_mAP,')
    page = write_report(folder).read_text()
    assert 'Rank correlation with box AP' in page and '20.0 %' in page


@pytest.mark.parametrize('options, line', [
    (['study.images=spread'], "study.images must be 'noise' for a detector"),
    (['study.costs.profile=none.json'], 'none.json cannot be read'),
    (['study.costs.name=x'], 'study.costs: unknown name'),
    (['study.costs=None'], 'latency, detector_params: nothing tells of it'),
    (['study.costs.shape=32'], 'is of the image size 64 x 64 px, not 32 x 32 px'),
    (['study.embed_dims=64'], 'widths|macs_between'),
    (['study.macs_between=[1,2]'], 'macs_between: 0 topologies were found, not 3'),
    (['study.macs_between=[2,1]'], 'macs_between must ascend'),
    (['study.settings.1.features=pyramid', 'study.settings.1.image_size=32'],
     'of different protocols, features or sizes'),
    (['val_dataloader.dataset.ann_file=none.json'], 'none.json')])
def test_bad_studies_of_detectors_are_one_line(detectors, tmp_path, monkeypatch, options,
                                               line):
    monkeypatch.setattr('mmasvit.study.study.TRIES', 200)
    monkeypatch.setattr('mmasvit.latency.measures.count_model_macs', lambda *_, **__: 0)
    cfg = load_config(str(detectors), options)
    cfg.work_dir = str(tmp_path)
    with pytest.raises(InputError, match=line) as caught:
        check_study(cfg)
    assert '\n' not in str(caught.value)


def test_names_say_what_tells_settings_apart_and_no_more():
    def names(*settings):
        study = Study(3, settings, measures=('grad_norm', 'params', 'macs'))
        return [study.qualified(name, setting) for setting in settings
                for name in study.measures]

    plain = ['grad_norm/released', 'params', 'macs']
    assert names(Setting()) == plain
    assert names(Setting(), Setting('paper')) == plain + [
        'grad_norm/paper', 'params', 'macs']
    assert names(Setting(), Setting(features='pyramid')) == [
        'grad_norm/released/last', 'params', 'macs',
        'grad_norm/released/pyramid', 'params', 'macs']
    assert names(Setting(), Setting(image_size=64)) == [
        'grad_norm/released/224px', 'params', 'macs/224px',
        'grad_norm/released/64px', 'params', 'macs/64px']


def test_a_wrong_metric_is_told_before_anything_is_trained(config, tmp_path):
    """And leaves no plan that would refuse the right one."""
    work = tmp_path / 'work'
    assert "metric 'accuracy/top9' is none of the evaluator's: accuracy/top1" in fails(
        'tools/complexity_study.py', config, '--work-dir', work, '--cfg-options',
        'study.metric=accuracy/top9')
    assert list(work.iterdir()) == []
    assert 'optim_wrapper: Invalid learning rate' in fails(
        'tools/complexity_study.py', config, '--work-dir', work, '--cfg-options',
        'optim_wrapper.optimizer.lr=-1')
    assert list(work.iterdir()) == []
