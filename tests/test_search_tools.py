"""The search as a user calls it: real processes, killed, resumed, shared, and wrong."""
import json
import os
import pty
import random
import signal
import subprocess
import time

import pytest
from helpers import ROOT, command, fails, run, wait_for_lines, works

SEARCH = 'tools/search_topology.py'
DEMO = 'configs/search_topology_demo.py'


def options(**more):
    """A search of seconds."""
    values = {'train_cfg.max_iters': 8, 'train_cfg.setting.image_size': 32,
              'train_cfg.setting.repeats': 2, 'train_cfg.setting.num_images': 4,
              'train_cfg.setting.num_angles': 3, **more}
    return ['--cfg-options'] + [f'{key}={value}' for key, value in values.items()]


def without_times(work_dir):
    """The results but for what depends on time and on the number of processes."""
    result = json.loads((work_dir / 'topology.json').read_text())
    for name in ('seconds', 'processes', 'items_measured'):
        del result[name]
    return result, (work_dir / 'history.csv').read_bytes()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """An uninterrupted search in one process."""
    work_dir = tmp_path_factory.mktemp('search') / 'whole'
    run(SEARCH, DEMO, '--work-dir', work_dir, *options())
    return work_dir


def start(work_dir, more=None, **popen):
    return subprocess.Popen(
        command(SEARCH, DEMO, '--work-dir', work_dir, *options(**(more or {}))), cwd=ROOT,
        start_new_session=True, env=dict(os.environ, OMP_NUM_THREADS='1'),
        # a job in a shell's background ignores the signal, and its children with it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **popen)


@pytest.mark.slow
def test_killed_search_resumes_with_two_processes_to_the_same_history(whole, tmp_path):
    """Killed at a random place; until it is dead, no other works in its folder."""
    draw = random.Random()
    process = start(tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_lines(tmp_path / 'measurements.jsonl', draw.randint(2, 9), process)
    time.sleep(draw.random() / 10)
    os.killpg(process.pid, signal.SIGSTOP)
    there = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    assert f'another run works in {tmp_path}; wait for its end' in fails(
        SEARCH, DEMO, '--work-dir', tmp_path, *options())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == there
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / 'topology.json').exists()
    run(SEARCH, DEMO, '--work-dir', tmp_path, '--resume', '--launcher', 'pytorch',
        *options(), processes=2)
    assert without_times(tmp_path) == without_times(whole)
    assert json.loads((tmp_path / 'topology.json').read_text())['processes'] == 2
    lines = (tmp_path / 'measurements.jsonl').read_text().splitlines()
    keys = [(row['topology'], row['repeat']) for row in map(json.loads, lines[1:])]
    assert len(keys) == len(set(keys))  # nothing was measured twice


@pytest.mark.slow
def test_bar_on_a_terminal_and_ctrl_c(tmp_path):
    """ctrl-C ends with status 130 and a word on --resume."""
    leader, follower = pty.openpty()
    process = start(tmp_path, {'train_cfg.max_iters': 500}, stdout=follower,
                    stderr=follower, stdin=follower)
    os.close(follower)
    shown, deadline = b'', time.time() + 120
    while b'best' not in shown and time.time() < deadline:
        shown += os.read(leader, 4096)
    os.killpg(process.pid, signal.SIGINT)
    try:
        while True:
            shown += os.read(leader, 4096)
    except OSError:  # the terminal is closed
        pass
    assert process.wait() == 130, shown[-2000:]
    assert b'entropy' in shown and b'Traceback' not in shown
    assert b'with --resume or without' in shown and b'interrupted' in shown
    assert (tmp_path / 'measurements.jsonl').exists()
    assert not (tmp_path / 'topology.json').exists()


@pytest.mark.slow
class TestBadInput:
    """One line, exit status 2, and nothing half-written."""

    def test_folder_of_another_space(self, whole):
        for resume in ([], ['--resume']):
            assert 'space.K1=[4, 5, 6, 7, 8] instead of [4, 8]' in fails(
                SEARCH, DEMO, '--work-dir', whole, *resume,
                *options(**{'model.space.K1': '[4,8]'}))

    def test_space(self, tmp_path):
        assert 'K1 has no values to choose from' in fails(
            SEARCH, DEMO, '--work-dir', tmp_path, *options(**{'model.space.K1': '[]'}))
        assert os.listdir(tmp_path) == []

    def test_unknown_argument_of_the_model(self, tmp_path):
        assert "unexpected keyword argument 'foo'" in fails(
            SEARCH, DEMO, '--work-dir', tmp_path, '--cfg-options', 'model.foo=1')
        assert os.listdir(tmp_path) == []

    def test_data(self, tmp_path):
        folder = tmp_path / 'images'
        folder.mkdir()
        words = (SEARCH, DEMO, '--work-dir', tmp_path / 'work',
                 *options(**{'train_dataloader.dataset.data': folder}))
        assert 'has no image' in fails(*words)

    def test_work_dir(self, tmp_path):
        blocker = tmp_path / 'file'
        blocker.write_text('')
        assert 'is not writable' in fails(SEARCH, DEMO, '--work-dir', blocker / 'work')

    def test_other_config(self, tmp_path):
        assert 'is not for this tool' in fails(
            SEARCH, 'configs/asvit_tiny_shapes.py', '--work-dir', tmp_path)

    def test_comparison(self, whole, tmp_path):
        tool = 'tools/compare_searches.py'
        assert 'holds no finished topology search' in fails(tool, whole, tmp_path)
        shown = works(tool, whole, f'{whole}/', '--out', tmp_path / 'scores.png')
        assert 'table 3' in shown and '1 seeds' in shown
        assert (tmp_path / 'scores.png').exists()

