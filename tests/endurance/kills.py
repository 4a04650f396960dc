"""Kill runs again and again: each ends as if nobody had killed it.

    python tests/endurance/kills.py [training search scaling study] [--kills 20] [--seed 0]

Each kind is run whole once for each number of processes, then in other folders killed
(SIGKILL, of two processes that of their launcher alone) at random moments and started
again at once, until it ends. What it leaves must be equal byte for byte but for times and
dates; nothing may have been measured twice. ``test_kills.py`` does the same with few
kills. Runs are forks of this process, which has loaded all that they need.
"""
import argparse
import csv
import hashlib
import io
import json
import math
import multiprocessing
import os
import random
import signal
import socket
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple
from unittest import mock

import mmpretrain  # noqa: F401, loaded before the forks
import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS, HOOKS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from helpers import ROOT, load  # noqa: E402

from mmasvit.complexity import Measured  # noqa: E402
from mmasvit.engine import launch  # noqa: E402
from mmasvit.errors import one_line_errors  # noqa: E402
from mmasvit.parent import end_with_parent  # noqa: E402

KINDS = ('training', 'search', 'scaling', 'study')
TIMES = ('seconds', 'processes', 'items_measured')
PATIENCE = 300  # seconds that a run may take


@FUNCTIONS.register_module(force=True)
def slow_table(topology, setting, repeat, names, images, device):
    """A formula that takes a while, as far as anybody can tell who kills it."""
    time.sleep(0.01)
    noise = 1e-3 * math.sin(repeat + sum(topology.kernels) + sum(topology.depths))
    return dict(
        length_distortion=Measured(topology.embed_dims + topology.kernels[0] + noise, 1.),
        ntk_condition_number=Measured(50. - topology.depths[0] + sum(topology.splits)
                                      + noise, 1.))


@HOOKS.register_module(force=True)
class SlowHook(Hook):
    """An iteration that takes a while."""

    def after_train_iter(self, *args, **kwargs):
        """Called by mmengine."""
        time.sleep(0.05)


# ------------------------------------------------------------------ what is run

def measuring_config(folder: Path, name: str, **changes) -> Config:
    """A shipped config on the table."""
    cfg = Config.fromfile(ROOT / f'configs/{name}_topology_demo.py')
    cfg.merge_from_dict(dict(
        work_dir=str(folder), log_level='ERROR', experiment_name=folder.name,
        train_cfg=dict(measure='slow_table', setting=dict(image_size=32, num_images=2),
                       **changes)))
    return cfg


def write_data(folder: Path) -> Path:
    """24 images of noise with labels."""
    draw = np.random.default_rng(0)
    path = folder / 'data.npz'
    np.savez(path, **{
        f'{split}_{name}': value for split in ('train', 'test') for name, value in (
            ('images', draw.integers(0, 256, (24, 32, 32, 3), np.uint8)),
            ('labels', np.arange(24) % 10))})
    return path


def study_config(data: Path) -> Path:
    """A study of four topologies."""
    write_data(data)
    path = data / 'study.py'
    path.write_text(f'''
_base_ = '{ROOT}/configs/complexity_study_cifar.py'
setting = dict(image_size=32, repeats=2, num_angles=4, num_images=4)
study = dict(num_topologies=4, settings=[dict(protocol='paper', **setting)],
             measures=['length_distortion', 'params'])
pipeline = [dict(type='Resize', scale=32), dict(type='PackInputs')]
dataset = dict(ann_file='{data}/data.npz', pipeline=pipeline)
model = dict(backbone=dict(pretrain_img_size=32))
train_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False,
                        dataset=dataset)
val_dataloader = dict(batch_size=8, num_workers=0, persistent_workers=False,
                      dataset=dataset)
train_cfg = dict(max_epochs=2, val_interval=2)
''')
    return path


def training_config(data: Path, folder: Path) -> Config:
    """A classifier that keeps one checkpoint, and the best one."""
    cfg = Config.fromfile(study_config(data))
    cfg.pop('study')
    cfg.model.backbone.arch = '8,2,3,1|4,1,2,1|4,1,2,1|4,1,2,1|8,8'
    cfg.model.head.in_channels = 64
    cfg.merge_from_dict(dict(
        work_dir=str(folder), experiment_name=folder.name, log_level='ERROR',
        train_cfg=dict(max_epochs=6, val_interval=1),
        default_hooks=dict(checkpoint=dict(
            type='CheckpointHook', interval=1, max_keep_ckpts=1,
            save_best='accuracy/top1'), logger=dict(interval=1)),
        custom_hooks=[dict(type='EpochSeedHook'), dict(type='SlowHook')]))
    return cfg


def train(data: Path, folder: Path, launcher: str) -> None:
    """What tools/train.py does, with --resume."""
    cfg = training_config(data, folder)
    args = argparse.Namespace(work_dir=None, launcher=launcher, local_rank=0,
                              resume='auto')
    launch.prepare(cfg, args)
    launch.set_resume(cfg, args)
    with launch.training(cfg):
        launch.build_runner(cfg).train()


def measure(kind: str, folder: Path, launcher: str) -> None:
    """What tools/search_topology.py and tools/scale_topology.py do."""
    cfg = measuring_config(folder, 'search', max_iters=40) if kind == 'search' else (
        measuring_config(folder, 'scale', stop=dict(params=6e6),
                         targets=dict(params=[5e6]), random_walks=2))
    launch.prepare(cfg, argparse.Namespace(work_dir=None, launcher=launcher,
                                           local_rank=0))
    with launch.measuring(cfg):
        launch.build_runner(cfg).train()


def study(data: Path, folder: Path, processes: int) -> None:
    """The study's tool, its processes forked like all here."""
    fork = multiprocessing.get_context('fork')
    tool = load('tools/complexity_study.py')
    with mock.patch.object(multiprocessing, 'get_context', lambda _: fork):
        tool['main'](tool['parse_args']([
            str(data / 'study.py'), '--work-dir', str(folder),
            '--processes', str(processes)]))


# ------------------------------------------------------------------ processes

def fork(run: Callable[[], None], log: Path) -> int:
    """Run something in a child, whose output goes to a file; its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = open(1, 'w', closefd=False)
        sys.stderr = open(2, 'w', closefd=False)
        try:
            with one_line_errors():
                run()
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def launched(run: Callable[[str], None], processes: int, log: Path) -> int:
    """Run something under a launcher of several processes, as torchrun is one."""
    if processes == 1:
        return fork(lambda: run('none'), log)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    leader = 0

    def worker() -> None:
        end_with_parent(leader)  # as soon as torchrun's would be without its store
        run('pytorch')
        launch.leave()

    def lead() -> None:
        nonlocal leader
        leader, workers = os.getpid(), []
        for rank in range(processes):
            os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), MASTER_PORT=str(port),
                              WORLD_SIZE=str(processes), MASTER_ADDR='127.0.0.1')
            workers.append(fork(worker, log))
        for _ in workers:
            ended, status = os.wait()
            if status:
                print(f'worker {ended} ended with status {status}')
                raise SystemExit(1)

    return fork(lead, log)


def wait(process: int, seconds: float, log: Path) -> bool:
    """Whether a run ends by itself within a time; then it must have ended well."""
    end = time.time() + seconds
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            assert status == 0, f'status {status}: {log.read_text()[-3000:]}'
            return True
        if time.time() > end:
            return False
        time.sleep(0.002)


# ------------------------------------------------------------------ what is left

def checkpoint_digest(path: Path) -> str:
    """Of all that a checkpoint says but for times and paths."""
    content = torch.load(path, weights_only=False)
    hub = content['message_hub']
    curves = {name: scalar._log_history.tolist()
              for name, scalar in hub['log_scalars'].items() if 'time' not in name}
    text = json.dumps([curves, content['meta']['epoch'], content['meta']['iter'],
                       content.get('param_schedulers')], default=str, sort_keys=True)
    digest = hashlib.sha256(text.encode())

    def add(value) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in value:
                digest.update(str(key).encode())
                add(value[key])
        elif isinstance(value, (list, tuple)):
            for inner in value:
                add(inner)
        else:
            digest.update(repr(value).encode())

    add(content['state_dict'])
    add(content.get('optimizer'))
    return digest.hexdigest()


def left(folder: Path) -> Dict[str, object]:
    """All results of a folder but for times, by file."""
    content: Dict[str, object] = {}
    for path in sorted(folder.rglob('*')):
        name = str(path.relative_to(folder))
        assert not path.name.startswith('.mmasvit-'), f'{name} was left behind'
        if not path.is_file() or name.startswith(('20', 'runs', 'worker_')):
            continue
        if path.suffix == '.pth':
            content[name] = checkpoint_digest(path)
        else:  # a config says where it lies
            content[name] = path.read_bytes().replace(
                os.path.relpath(folder, ROOT).encode(), b'').replace(
                    str(folder).encode(), b'')
    content.pop('last_checkpoint', None)
    for name in ('topology.json', 'family.json'):
        if name in content:
            result = json.loads(content[name])
            content[name] = {key: value for key, value in result.items()
                             if key not in TIMES}
    if 'study.csv' in content:  # real measures take real seconds
        rows = list(csv.DictReader(io.StringIO(content['study.csv'].decode())))
        content['study.csv'] = [{name: value for name, value in row.items()
                                 if 'seconds' not in name} for row in rows]
        result = json.loads(content['study.json'])
        content['study.json'] = [dict(one, seconds=0) for one in result.values()]
        del content['measurements.jsonl'], content['table.md']
    elif 'measurements.jsonl' in content:
        rows = content['measurements.jsonl'].splitlines()
        content['measurements.jsonl'] = rows[:1] + sorted(rows[1:])
    return {name: value for name, value in content.items()
            if not name.endswith('.py') or 'configs' in name}


def measured(folder: Path) -> List[str]:
    """What the ledger says was measured, line by line."""
    path = folder / 'measurements.jsonl'
    rows = map(json.loads, path.read_text().splitlines()[1:]) if path.exists() else ()
    return [f'{row["topology"]} {row["repeat"]} {sorted(row["measures"])}'
            for row in rows]


class Outcome(NamedTuple):
    """How a kind went with a number of processes."""
    kind: str
    processes: int
    kills: int
    runs: int
    files: int

    def __str__(self) -> str:
        return (f'{self.kind}, {self.processes} processes: {self.kills} kills in '
                f'{self.runs} runs; {self.files} files equal at the end of each, nothing '
                'measured twice')


def try_kind(kind: str, processes: int, kills: int, seed: int, scratch: Path,
             until: float = math.inf) -> Outcome:
    """Run it whole, kill it, compare; fewer kills if the time is over before.

    Raises:
        AssertionError: If a killed run ends other than the whole one.
    """
    data = scratch / f'{kind}_data'
    data.mkdir(exist_ok=True)
    study_config(data)

    def log_of(folder: Path) -> Path:
        return scratch / f'{folder.name}.log'

    def start(folder: Path) -> int:
        folder.mkdir(exist_ok=True)
        log = log_of(folder)
        if kind == 'study':
            return fork(lambda: study(data, folder, processes), log)
        run = (lambda launcher: train(data, folder, launcher)) if kind == 'training' else (
            lambda launcher: measure(kind, folder, launcher))
        return launched(run, processes, log)

    whole = scratch / f'{kind}_{processes}_whole'
    began = time.time()
    assert wait(start(whole), PATIENCE, log_of(whole)), 'the whole run does not end'
    seconds = time.time() - began
    expected, draw, done, runs = left(whole), random.Random(seed), 0, 0
    while done < kills and time.time() < until:
        folder = scratch / f'{kind}_{processes}_{runs}'
        runs += 1
        while True:
            process = start(folder)
            more = done < kills and time.time() < until
            latest = draw.uniform(0, seconds) if more else PATIENCE
            if wait(process, latest, log_of(folder)):
                break
            assert more, 'the run does not end'
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            done += 1
        found, lines = left(folder), measured(folder)
        assert found.keys() == expected.keys(), (
            f'{kind}: {set(found) ^ set(expected)} differ; see {folder}')
        for name in expected:
            assert found[name] == expected[name], f'{kind}: {name} differs; see {folder}'
        assert len(lines) == len(set(lines)), 'something was measured twice'
    return Outcome(kind, processes, done, runs, len(expected))


def main() -> None:
    """Try each kind with one and two processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('kinds', nargs='*', default=KINDS)
    parser.add_argument('--kills', type=int, default=20, help='of each kind')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for kind in args.kinds:
        for processes in (1, 2):
            kills = (args.kills + 2 - processes) // 2
            with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
                began = time.time()
                outcome = try_kind(kind, processes, kills, args.seed, Path(scratch))
            print(f'{outcome}; {time.time() - began:.0f} s', flush=True)


if __name__ == '__main__':
    main()
