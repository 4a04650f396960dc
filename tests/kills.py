"""Kill a search, a scaling and a study again and again: the end is as if nobody had.

    python tests/kills.py [search scaling study] [--kills 10] [--seed 0]

Each is run whole once, then in another folder killed (SIGKILL) at random moments and
started again until it ends. What it leaves must be equal byte for byte but for times, and
nothing may have been measured twice. ``test_kills.py`` does the same with few kills.
"""
import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import FUNCTIONS

from mmasvit.complexity import Measured
from mmasvit.engine import launch
from mmasvit.errors import one_line_errors

ROOT = Path(__file__).resolve().parents[1]
TIMES = ('seconds', 'processes', 'items_measured')
Start = Callable[[Path], int]  # starts a run in a folder; the process's id


@FUNCTIONS.register_module(force=True)
def slow_table(topology, setting, repeat, names, images, device):
    """A formula that takes a while, as far as anybody can tell who kills it."""
    time.sleep(0.01)
    noise = 1e-3 * math.sin(repeat + sum(topology.kernels) + sum(topology.depths))
    return dict(
        length_distortion=Measured(topology.embed_dims + topology.kernels[0] + noise, 1.),
        ntk_condition_number=Measured(50. - topology.depths[0] + sum(topology.splits)
                                      + noise, 1.))


def config(folder: Path, name: str, **changes) -> Config:
    """A shipped config on the table."""
    cfg = Config.fromfile(ROOT / f'configs/{name}_topology_demo.py')
    cfg.merge_from_dict(dict(
        work_dir=str(folder), log_level='ERROR', experiment_name=folder.name,
        train_cfg=dict(measure='slow_table', setting=dict(image_size=32, num_images=2),
                       **changes)))
    cfg.launcher = 'none'
    return cfg


def forked(make: Callable[[Path], Config]) -> Start:
    """Start a run in a child of this process, which has loaded all that it needs."""
    def start(folder: Path) -> int:
        folder.mkdir(exist_ok=True)
        child = os.fork()
        if child:
            return child
        try:
            os.setsid()
            with one_line_errors():
                cfg = make(folder)
                with launch.measuring(cfg):
                    launch.build_runner(cfg).train()
            os._exit(0)
        finally:
            os._exit(1)

    return start


def study(data: Path) -> Start:
    """Start the study's tool, with two processes that measure and train for real."""
    draw = np.random.default_rng(0)
    np.savez(data / 'data.npz', **{
        f'{split}_{name}': value for split in ('train', 'test') for name, value in (
            ('images', draw.integers(0, 256, (24, 32, 32, 3), np.uint8)),
            ('labels', np.arange(24) % 10))})
    (data / 'study.py').write_text(f'''
_base_ = '{ROOT}/configs/complexity_study_cifar.py'
setting = dict(image_size=32, repeats=2, num_angles=4, num_images=4)
study = dict(num_topologies=4, settings=[dict(protocol='paper', **setting)],
             measures=['length_distortion', 'params'])
pipeline = [dict(type='Resize', scale=32), dict(type='PackInputs')]
dataset = dict(ann_file='{data}/data.npz', pipeline=pipeline)
model = dict(backbone=dict(pretrain_img_size=32))
train_dataloader = dict(batch_size=8, dataset=dataset)
val_dataloader = dict(batch_size=8, dataset=dataset)
train_cfg = dict(max_epochs=2, val_interval=2)
''')

    def start(folder: Path) -> int:
        return subprocess.Popen(
            [sys.executable, 'tools/complexity_study.py', str(data / 'study.py'),
             '--work-dir', str(folder), '--processes', '2'], cwd=ROOT,
            stdout=subprocess.DEVNULL, start_new_session=True).pid

    return start


def ended(process: int) -> bool:
    """Whether a run has ended by itself; then it must have ended well."""
    done, status = os.waitpid(process, os.WNOHANG)
    assert not done or status == 0, f'the run ended with status {status}'
    return bool(done)


def kill_often(start: Start, folder: Path, kills: int, total: int,
               draw: random.Random) -> List[int]:
    """Kill a run so often, then let it end; the lines of the ledger at each death.

    Most deaths are soon after a line that was drawn, of those that are still to come;
    every fourth is at any time, which most often is while it starts or while it writes
    its results.
    """
    ledger, lines = folder / 'measurements.jsonl', []

    def written() -> int:
        return ledger.read_bytes().count(b'\n') if ledger.exists() else 0

    while len(lines) < kills:
        wanted = written() + draw.randint(
            0, max(1, 2 * (total - written()) // (kills - len(lines))))
        latest = time.time() + (draw.uniform(0, 20) if len(lines) % 4 == 3 else 600)
        process = start(folder)
        while written() < min(wanted, total) and time.time() < latest:
            if ended(process):
                raise AssertionError('the run ended before it was killed')
            time.sleep(0.001)
        time.sleep(draw.random() / 20)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        lines.append(written())
    assert os.waitpid(start(folder), 0)[1] == 0
    return lines


def items(folder: Path) -> List[Tuple]:
    """What the ledger says was measured, line by line."""
    rows = map(json.loads, (folder / 'measurements.jsonl').read_text().splitlines()[1:])
    return [(row['topology'], row['repeat'], *row['measures']) for row in rows]


def left(folder: Path) -> Dict[str, object]:
    """All results of a folder but for times."""
    content: Dict[str, object] = {}
    for path in sorted(folder.rglob('*')):
        name = str(path.relative_to(folder))
        if path.suffix in ('.csv', '.json', '.png', '.py', '.jsonl') and not (
                name.startswith('20') or 'runs' in name):
            content[name] = path.read_bytes()
    for name in ('topology.json', 'family.json'):
        if name in content:
            result = json.loads(content[name])
            content[name] = {key: value for key, value in result.items()
                             if key not in TIMES}
    if 'study.csv' in content:  # real measures take real seconds
        header, *rows = [line.split(',') for line
                         in content['study.csv'].decode().splitlines()]
        quick = [i for i, name in enumerate(header) if 'seconds' not in name]
        content['study.csv'] = [[row[i] for i in quick] for row in (header, *rows)]
        result = json.loads(content['study.json'])
        content['study.json'] = [dict(one, seconds=0) for one in result.values()]
        del content['measurements.jsonl']
    return content


def try_kind(kind: str, kills: int, seed: int, scratch: Path) -> str:
    """Run it whole, kill it, compare; a line that says how it went."""
    start = study(scratch) if kind == 'study' else forked(STARTS[kind])
    folder = scratch / kind
    assert os.waitpid(start(folder), 0)[1] == 0
    whole = folder.rename(scratch / f'{kind}_whole')
    lines = kill_often(start, folder, kills, len(items(whole)) + 1, random.Random(seed))
    measured = items(folder)
    assert len(measured) == len(set(measured)), 'something was measured twice'
    assert sorted(measured) == sorted(items(whole))
    expected, found = left(whole), left(folder)
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == expected[name], f'{kind}: {name} differs'
    return (f'{kind}: killed with {lines} lines of {len(measured) + 1} in the ledger; '
            f'{len(expected)} files equal, nothing measured twice')


STARTS = dict(
    search=lambda folder: config(folder, 'search', max_iters=40),
    scaling=lambda folder: config(folder, 'scale', stop=dict(params=6e6),
                                  targets=dict(params=[5e6]), random_walks=2))


def main() -> None:
    """Try each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('kinds', nargs='*', default=['search', 'scaling', 'study'])
    parser.add_argument('--kills', type=int, default=10)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    for kind in args.kinds:
        with tempfile.TemporaryDirectory() as scratch:
            print(try_kind(kind, args.kills, args.seed, Path(scratch)), flush=True)


if __name__ == '__main__':
    main()
