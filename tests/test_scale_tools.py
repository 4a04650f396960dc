"""Auto-scaling as a user calls it: real processes, killed, resumed, shared, and wrong."""
import json
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from helpers import ROOT, command, fails, run, wait_for_lines, works

SCALE = 'tools/scale_topology.py'
DEMO = 'configs/scale_topology_demo.py'


def options(**more):
    """A scaling of seconds: two steps and a random walk."""
    values = {'train_cfg.stop.params': 3.4e6, 'train_cfg.targets.params': '[3e6]',
              'train_cfg.random_walks': 1, 'train_cfg.setting.image_size': 32,
              'train_cfg.setting.repeats': 2, 'train_cfg.setting.num_images': 2,
              'train_cfg.setting.num_angles': 3, **more}
    return ['--cfg-options'] + [f'{key}={value}' for key, value in values.items()]


def without_times(work_dir):
    """The results but for what depends on time and on the number of processes."""
    result = json.loads((work_dir / 'family.json').read_text())
    for name in ('seconds', 'processes', 'items_measured'):
        del result[name]
    return [result, *((work_dir / name).read_bytes()
                      for name in ('history.csv', 'choices.csv'))]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An uninterrupted scaling in one process."""
    work_dir = tmp_path_factory.mktemp('scale') / 'whole'
    run(SCALE, DEMO, '--work-dir', work_dir, *options())
    return work_dir


@pytest.mark.slow
def test_killed_scaling_resumes_with_two_processes_to_the_same_family(whole, tmp_path):
    """Killed at a random place, most often within a step."""
    draw = random.Random()
    process = subprocess.Popen(
        command(SCALE, DEMO, '--work-dir', tmp_path, *options()), cwd=ROOT,
        start_new_session=True, env=dict(os.environ, OMP_NUM_THREADS='1'),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    total = len((whole / 'measurements.jsonl').read_text().splitlines())
    wait_for_lines(tmp_path / 'measurements.jsonl', draw.randint(2, total - 8), process)
    time.sleep(draw.random() / 10)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'family.json').exists()
    run(SCALE, DEMO, '--work-dir', tmp_path, '--resume', '--launcher', 'pytorch',
        *options(), processes=2)
    assert without_times(tmp_path) == without_times(whole)
    assert json.loads((tmp_path / 'family.json').read_text())['processes'] == 2
    lines = (tmp_path / 'measurements.jsonl').read_text().splitlines()
    keys = [(row['topology'], row['repeat']) for row in map(json.loads, lines[1:])]
    assert len(keys) == len(set(keys)) == total - 1  # nothing was measured twice


@pytest.mark.slow
class TestBadInput:
    """One line, exit status 2, and nothing half-written."""

    def test_limit_below_the_seed(self, tmp_path):
        assert 'is not above the seed topology' in fails(
            SCALE, DEMO, '--work-dir', tmp_path, *options(
                **{'train_cfg.stop.params': 2e6}))
        assert os.listdir(tmp_path) == []

    def test_what_was_there_stays(self, whole, tmp_path):
        shutil.copytree(whole, tmp_path / 'work')
        there = sorted(os.listdir(tmp_path / 'work'))
        assert 'choose another' in fails(
            SCALE, DEMO, '--work-dir', tmp_path / 'work', *options(
                **{'train_cfg.setting.num_images': 3}))
        assert sorted(os.listdir(tmp_path / 'work')) == there

    def test_other_config(self, tmp_path):
        assert "its train_cfg.type must be 'AutoScaleLoop'" in fails(
            SCALE, 'configs/asvit_tiny_shapes.py', '--work-dir', tmp_path)

    def test_unknown_and_missing_arguments(self, tmp_path):
        assert 'train_cfg: unknown walks; expected some of setting, objective' in fails(
            SCALE, DEMO, '--work-dir', tmp_path, *options(**{'train_cfg.walks': 3}))
        assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_comparison(whole, tmp_path):
    tool = 'tools/compare_families.py'
    assert 'holds no finished scaling' in fails(tool, whole, tmp_path)
    shown = works(tool, whole)
    family = json.loads((whole / 'family.json').read_text())
    for member in family['members'][1:]:
        assert f's to {member["params"] / 1e6:.1f} M' in shown
    target, = family['targets']
    assert f'({",".join(map(str, target["depths"]))}) x {target["embed_dims"]}' in shown
    assert '3e+06 params' in shown and 'of 1' in shown
