"""Give every tool wrong options, wrong settings and damaged files; see what it does.

    python tests/endurance/fuzz.py [--calls 2000] [--minutes 20] [--seed 0] [--first 0]

Each call is a sound command of a tool in which an option, an entry of ``--cfg-options`` or
a file was changed at random, by a seed: call 17 of a seed is the same call every time, and
``--first 17 --calls 1`` repeats it alone. It runs in a fork of this process. Found are:

- a traceback, or a status other than 0 and 2; with 2, not exactly one line of error, or
  one that commands the terminal;
- a file of the input that was changed, or one of the output that is not whole;
- more than 2 GB of memory above the start;
- calls that do not end in time. A changed number may ask for a long run, so these are
  only counted where the run has begun, by what it wrote.
"""
import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import runpy
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import mmdet.apis  # noqa: F401, loaded before the forks
import mmpretrain  # noqa: F401
import torch
from mmengine.config import Config

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).parent)]
import kills  # noqa: E402
from helpers import (ROOT, TOOLS, call, load, make_coco, own_globals,  # noqa: E402
                     tool_imports)
from latencies import make_table  # noqa: E402

from mmasvit.complexity import Summary  # noqa: E402
from mmasvit.study.table import Row, correlate, write_study  # noqa: E402

SECONDS = 60  # that a call may take
MEMORY = 2 * 2**30
NASTY = ('', ' ', '-1', '0', '1', '2.5', 'nan', 'inf', '-inf', '1e999', '9' * 20,
         '999999999', 'abc', 'None', 'True', '[]', '{}', '[1,2', "('a',)", '..', '/',
         '/dev/null', '/dev/zero', '/nowhere/at/all', '\x1b[31mred', '{{ fileDirname }}',
         '${HOME}', 'a' * 300, '\udcff', '%s%n', '日本語', '--help-me', 'a=b', '*', '0x10')
VALUES = (None, True, -1, 0, 1.5, float('nan'), float('inf'), 10**25, '', 'abc', [], {},
          [[]], {'type': 'Nothing'}, {'a': {'b': None}}, '\x1b[2J', [None], '1')
ARCH = '4,2,2|2,1,2|2,1,2|2,1,2|8,8'


# ------------------------------------------------------------------ what is sound

def make_world(folder: Path) -> None:
    """Inputs of every tool: data, configs, checkpoints, finished runs."""
    for split, seed in (('train', 0), ('val', 1)):
        make_coco(folder / f'coco/annotations/instances_{split}2017.json',
                  folder / f'coco/{split}2017', images=4, masks=False, seed=seed)
    kills.study_config(folder)
    (folder / 'classifier.py').write_text(f'''
_base_ = '{folder}/study.py'
model = dict(backbone=dict(arch='{ARCH}'), head=dict(in_channels=64))
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
test_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(
    type='mmengine.NpzDataset', ann_file='{folder}/data.npz', split='test',
    pipeline=[dict(type='Resize', scale=32), dict(type='PackInputs')]))
test_cfg = dict()
test_evaluator = dict(type='Accuracy', topk=(1, ))
study = None
''')
    (folder / 'detector.py').write_text(f'''
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py',
          'mmdet::_base_/default_runtime.py']
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, type='AsViT', arch='{ARCH}', pretrain_img_size=32),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
    bbox_head=dict(num_classes=2, in_channels=16, feat_channels=16, stacked_convs=1))
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
end = dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape',
                                            'img_shape', 'scale_factor'))
def_ = dict(type='CocoDataset', data_root='{folder}/coco/',
            metainfo=dict(classes=('cat', 'dog')))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(ann_file='annotations/instances_train2017.json',
                 data_prefix=dict(img='train2017/'), pipeline=[
                     *load, dict(type='Resize', scale=(64, 48)), end], **def_))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(ann_file='annotations/instances_val2017.json', test_mode=True,
                 data_prefix=dict(img='val2017/'), pipeline=[
                     load[0], dict(type='Resize', scale=(64, 48)), load[1], end], **def_))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', metric='bbox',
                     ann_file='{folder}/coco/annotations/instances_val2017.json')
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=2)
val_cfg, test_cfg = dict(), dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3))
''')
    for kind, changes in (('search', 'max_iters=6'), (
            'scale', 'stop=dict(params=3.4e6), targets=dict(params=[3e6]), random_walks=1')):
        (folder / f'{kind}.py').write_text(
            f"_base_ = '{ROOT}/configs/{kind}_topology_demo.py'\n"
            f"train_cfg = dict(measure='slow_table', {changes},\n"
            '    setting=dict(image_size=32, num_images=2))\n')
    make_table().save(folder / 'device.json')
    (folder / 'timed.py').write_text(f'''
_base_ = '{ROOT}/configs/search_topology_detection.py'
train_cfg = dict(max_iters=2, measure=dict(profile='{folder}/device.json'), setting=dict(
    image_size=32, num_images=2, num_angles=3, repeats=1))
''')
    for tool, words in (
            ('train', ('classifier.py', '--work-dir', 'trained')),
            ('train', ('detector.py', '--work-dir', 'detector')),
            ('search_topology', ('search.py', '--work-dir', 'searched')),
            ('search_topology', ('timed.py', '--work-dir', 'timed')),
            ('scale_topology', ('scale.py', '--work-dir', 'scaled'))):
        words = [str(folder / word) if not word.startswith('-') else word
                 for word in words]
        status, _, said = call(f'tools/{tool}.py', *words)
        assert status == 0, said
    (folder / 'studied').mkdir()
    rows = [Row(kills_topology(i), 50. + i, {
        name: Summary(float(i), [float(i)], 1.) for name in ('params', 'macs')})
        for i in range(4)]
    write_study(str(folder / 'studied'), rows, correlate(rows), 'accuracy')


def kills_topology(i: int):
    """Different topologies."""
    from mmasvit import Topology
    return Topology.parse(f'{4 + i},2,2|2,1,2|2,1,2|2,1,2|16,16')


class Command(NamedTuple):
    """A sound command.

    Attributes:
        tool: Name of the tool.
        words: Its arguments; ``@`` stands for the world, ``^`` for the output.
        files: Inputs, in the world, that it reads.
        status: How it ends.
    """
    tool: str
    words: Tuple[str, ...]
    files: Tuple[str, ...] = ()
    status: int = 0


COCO = ('coco/annotations/instances_train2017.json',
        'coco/annotations/instances_val2017.json', 'coco/train2017/001.png',
        'coco/val2017/002.png')
COMMANDS = (
    Command('train', ('@/classifier.py', '--work-dir', '^/run'),
            ('classifier.py', 'study.py', 'data.npz')),
    Command('train', ('@/detector.py', '--work-dir', '^/run'), ('detector.py', *COCO)),
    Command('train', ('@/classifier.py', '--work-dir', '@/trained', '--resume',
                      '--cfg-options', 'train_cfg.max_epochs=2'),
            ('trained/epoch_1.pth', 'trained/last_checkpoint')),
    Command('test', ('@/classifier.py', '@/trained/epoch_1.pth', '--work-dir', '^/run'),
            ('classifier.py', 'trained/epoch_1.pth', 'data.npz')),
    Command('test', ('@/detector.py', '@/detector/epoch_1.pth', '--work-dir', '^/run',
                     '--show-dir', 'shown', '--out', '^/found.pkl'),
            ('detector.py', 'detector/epoch_1.pth', *COCO)),
    Command('get_flops', ('@/detector.py', '--shape', '64', '64', '--out', '^/f.json'),
            ('detector.py', )),
    Command('detect_image', ('@/detector.py', '@/detector/epoch_1.pth', '@/coco/val2017',
                             '--out', '^/found', '--score-thr', '0.1'),
            ('detector.py', 'detector/epoch_1.pth', *COCO[2:])),
    Command('check_data', ('@/coco', ), COCO),
    Command('check_data', ('@/detector.py', ), ('detector.py', *COCO)),
    Command('make_shapes_coco', ('^/set', '--images', '2', '--val-images', '1', '--size',
                                 '64', '--seed', '1')),
    Command('measure_topology', ('8,2,3|4,1,2|4,1,4|4,1,6|32', '--image-size', '32',
                                 '--repeats', '1', '--num-images', '2', '--num-angles',
                                 '3', '--out', '^/m.json', '--data', '@/coco'), COCO[2:]),
    Command('draw_topology', ('small', '--out', '^/t.svg', '--title', 'mine',
                              '--image-size', '224')),
    Command('plan_tokens', (f'{ROOT}/configs/asvit_tiny_shapes_elastic.py', )),
    Command('search_topology', ('@/search.py', '--work-dir', '^/run'), ('search.py', )),
    Command('search_topology', ('@/search.py', '--work-dir', '@/searched', '--resume'),
            ('searched/measurements.jsonl', 'searched/run.json')),
    Command('search_topology', ('@/timed.py', '--work-dir', '^/run', '--cfg-options',
                                'train_cfg.measure.profile=@/device.json'),
            ('timed.py', 'device.json')),
    Command('profile_device', ('--out', '^/device.json', '--shape', '32', '--widths', '8',
                               '--rounds', '1', '--no-references')),
    Command('report', ('@/timed', '--out', '^/r.html'),
            ('timed/topology.json', 'timed/history.csv')),
    Command('scale_topology', ('@/scale.py', '--work-dir', '^/run'), ('scale.py', )),
    Command('scale_topology', ('@/scale.py', '--work-dir', '@/scaled'),
            ('scaled/measurements.jsonl', 'scaled/run.json')),
    Command('complexity_study', ('@/study.py', '--work-dir', '^/run', '--processes', '1'),
            ('study.py', 'data.npz')),
    Command('compare_searches', ('@/searched', '--out', '^/c.png'),
            ('searched/topology.json', 'searched/history.csv')),
    Command('compare_families', ('@/scaled', ), ('scaled/family.json', )),
    Command('report', ('@/searched', '--out', '^/r.html'),
            ('searched/topology.json', 'searched/history.csv')),
    Command('report', ('@/scaled', '--out', '^/r.html'),
            ('scaled/family.json', 'scaled/scaling.png')),
    Command('report', ('@/studied', '--out', '^/r.html'),
            ('studied/study.csv', 'studied/study.json')),
    Command('report', ('@/trained', '--out', '^/r.html'),
            ('trained/epoch_1.pth', 'trained/data.json', 'trained/classifier.py')),
    Command('new_config', ('@/coco', '--out', '^/mine.py', '--epochs', '1', '--base',
                           f'{ROOT}/configs/cascade_asvit_tiny.py', '--arch', 'seed'),
            COCO),
    Command('new_config', ('@/coco', '--out', '^/mine.py', '--epochs', '1', '--arch',
                           '@/searched/topology.json'), ('searched/topology.json', )),
    Command('label_token_lengths', ('@/classifier.py', '@/trained/epoch_1.pth', '--out',
                                    '^/labels.json'), ('classifier.py', ), 2),
    Command('sweep_budgets', ('@/classifier.py', '@/trained/epoch_1.pth', '--work-dir',
                              '^/run'), ('classifier.py', ), 2),
    Command('export', ('@/classifier.py', '@/trained/epoch_1.pth', '--out', '^/c.onnx',
                       '--shape', '64', '96', '--opset', '18'),
            ('classifier.py', 'trained/epoch_1.pth')),
    Command('calibrate_exits', ('@/classifier.py', '@/trained/epoch_1.pth', '--out',
                                '^/c.pth', '--q', '0.5'), ('classifier.py', ), 2),
)
# those that train take seconds each
WEIGHTS = [1 if {'--work-dir', '--epochs'} & set(command.words) else 3
           for command in COMMANDS]


# ------------------------------------------------------------------ what is changed

def change_option(draw: random.Random, command: Command, world: Path) -> List[str]:
    """Another value, one word less or more, an option that the tool has or has not."""
    words, options = list(command.words), OPTIONS[command.tool]
    kind = draw.randrange(5)
    if kind < 2:
        words[draw.randrange(len(words))] = draw.choice(NASTY)
    elif kind == 2:
        del words[draw.randrange(len(words))]
    elif kind == 3:
        words += [draw.choice(options or ['--unknown']), draw.choice(NASTY)]
    else:
        words.insert(draw.randrange(len(words) + 1), draw.choice(NASTY))
    return words


def change_setting(draw: random.Random, command: Command, world: Path) -> List[str]:
    """Another value of an entry of the config, or an entry that there is not."""
    given = next(word for word in command.words if word.endswith('.py'))
    cfg = Config.fromfile(given.replace('@', str(world)))
    places = [place for place, _ in leaves(cfg.to_dict()) if '\n' not in place]
    place = draw.choice(places)
    if draw.random() < .2:
        parts = place.split('.')[:draw.randint(1, 4)]
        place = '.'.join([*parts[:-1], draw.choice(('new', parts[-1] + 's', 'type'))])
    elif draw.random() < .3:  # a whole branch
        place = '.'.join(place.split('.')[:draw.randint(1, 3)])
    return [*command.words, *([] if '--cfg-options' in command.words else
                              ['--cfg-options']), f'{place}={draw.choice(NASTY)}']


def leaves(value: Any, place: str = '') -> Iterator[Tuple[str, Any]]:
    """All entries of nested dicts and lists, and where they are."""
    if isinstance(value, (dict, list, tuple)) and value:
        for key, inner in (value.items() if isinstance(value, dict) else
                           enumerate(value)):
            yield from leaves(inner, f'{place}.{key}' if place else str(key))
    else:
        yield place, value


def change_file(draw: random.Random, command: Command, world: Path) -> List[str]:
    """A file of the input that is damaged, another, or none."""
    path = world / draw.choice(command.files)
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content) or 1)
    kind = draw.randrange(12)
    if path.suffix == '.json' and kind < 6:
        path.write_text(json.dumps(changed_json(draw, json.loads(content))))
    elif path.suffix == '.csv' and kind < 4:
        cells = content.decode().split(',')
        cells[draw.randrange(len(cells))] = str(draw.choice(VALUES))
        path.write_text(','.join(cells), errors='replace')
    elif kind < 3:
        path.write_bytes(content[:place])
    elif kind < 5:
        content[place:place + 300] = bytes(len(content[place:place + 300]))
        path.write_bytes(content)
    elif kind < 8:
        for _ in range(draw.choice((1, 5, 50))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
    elif kind == 8:
        path.write_bytes(draw.choice((b'', b'\0' * 999, b'[' * 10**5, b'\xff\xfe\xfa',
                                      b'{"a": ' + b'9' * 5000 + b'}')))
    else:
        path.unlink()
        if kind == 9:
            path.mkdir()
        elif kind == 10:
            os.mkfifo(path)
        else:
            path.symlink_to(draw.choice(('/dev/zero', '/nowhere', path.name)))
    return list(command.words)


def changed_json(draw: random.Random, value: Any) -> Any:
    """One entry is another, is missing, or is nested."""
    if isinstance(value, (dict, list)) and value and draw.random() < .85:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = draw.choice(list(keys))
        if draw.random() < .15:
            del value[key]
        else:
            value[key] = changed_json(draw, value[key])
        return value
    return draw.choice((*VALUES, [value], {'a': value}))


# ------------------------------------------------------------------ a call

class Report(NamedTuple):
    """What a call did."""
    number: int
    line: str
    kind: str
    status: Optional[int]
    faults: Tuple[str, ...]
    seconds: float
    said: str = ''


def try_call(number: int, seed: int, origin: Path, world: Path, out: Path) -> Report:
    """Make the call of a number and judge it; those below 0 are sound."""
    draw = random.Random(f'{seed} {number}')
    command = COMMANDS[~number] if number < 0 else draw.choices(COMMANDS, WEIGHTS)[0]
    for folder in (world, out):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(origin, world)
    out.mkdir()
    kinds: Dict[str, Callable] = dict(option=change_option)
    if number < 0:
        kinds = dict(none=lambda draw, command, world: command.words)
    elif command.words[0].endswith('.py') and '--cfg-options' in OPTIONS[command.tool]:
        kinds['setting'] = change_setting
    if command.files and number >= 0:
        kinds['file'] = change_file
    kind = draw.choice(list(kinds))
    words = kinds[kind](draw, command, world)
    words = [word.replace('@', str(world)).replace('^', str(out)) for word in words]
    before, began = state(world), time.time()
    status, said, memory = in_child(f'tools/{command.tool}.py', words, out)
    seconds = time.time() - began
    line = f'tools/{command.tool}.py {shlex.join(map(ascii_of, words))}'
    faults = list(judge(status, said, memory, before, state(world), out, words, world))
    return Report(number, line, kind, status, tuple(faults), seconds, said)


def ascii_of(word: str) -> str:
    return word.encode('ascii', 'backslashreplace').decode()


def in_child(tool: str, words: List[str], out: Path) -> Tuple[Optional[int], str, int]:
    """Status (None out of time), what it said on stderr, and bytes of memory it took."""
    with tempfile.TemporaryFile('w+', errors='backslashreplace') as errors:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setsid()
                nobody = os.open(os.devnull, os.O_RDWR)
                os.dup2(nobody, 0)
                os.dup2(nobody, 1)
                os.dup2(errors.fileno(), 2)
                sys.stdin = open(0, closefd=False)
                fork = kills.multiprocessing.get_context('fork')
                kills.multiprocessing.get_context = lambda _=None: fork
                os.chdir(out)  # what a changed word names lies there
                sys.argv, sys.path[:0] = [tool, *words], [str(ROOT / 'tools')]
                sys.stdout = open(1, 'w', closefd=False)
                sys.stderr = open(2, 'w', closefd=False, errors='backslashreplace')
                try:
                    with own_globals(fresh=True):
                        runpy.run_path(str(ROOT / tool), run_name='__main__')
                    status = 0
                except SystemExit as stop:
                    status = stop.code or 0
                except BaseException:
                    traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(status)
        end, status = time.time() + SECONDS, None
        while time.time() < end:
            done, code, usage = os.wait4(child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(code)
                break
            time.sleep(.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            _, _, usage = os.wait4(child, 0)
        errors.seek(0)
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return status, errors.read(), max(0, usage.ru_maxrss - own) * 1024


def state(folder: Path) -> Dict[str, str]:
    """Digests of files, by name."""
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob('*') if path.is_file() and not path.is_symlink()}


def judge(status: Optional[int], said: str, memory: int, before: Dict[str, str],
          after: Dict[str, str], out: Path, words: List[str], world: Path
          ) -> Iterator[str]:
    """What is wrong with what a call did."""
    if status is None:
        if not any(out.rglob('*.log')) and not any(world.rglob('*/*.log')):
            yield 'did not end, and had not begun'
        return
    if 'Traceback (most recent call last)' in said:
        yield 'traceback: ' + said.strip().splitlines()[-1][:150]
    elif status not in (0, 2):
        yield f'status {status}'
    errors = [line for line in said.splitlines() if line.startswith('error: ')]
    if status == 2 and 'check_data' not in str(words) and len(errors) != 1 and (
            errors or not said.strip() == ''):
        yield f'{len(errors)} lines of error'
    if any('\x1b' in line for line in errors):
        yield 'an error that commands the terminal'
    if memory > MEMORY:
        yield f'{memory / 2**30:.1f} GB of memory'
    work_dirs = tuple(f'{name}/' for name in ('trained', 'detector', 'searched', 'scaled',
                                              'studied')
                      if any(word.startswith(str(world / name)) for word in words))
    for name in before:
        if before[name] != after.get(name) and not name.startswith(work_dirs):
            yield f'{name} was changed'
    for path in [*out.rglob('*'), *world.rglob('.mmasvit-*')]:
        if path.name.startswith('.mmasvit-'):
            yield f'{path.name} was left behind'
        elif path.suffix == '.json' and path.is_file() and 'scalars' not in path.name:
            try:
                [json.loads(line) for line in [path.read_text()]]
            except ValueError:
                if 'vis_data' not in path.parts:
                    yield f'{path.name} is not whole'
        elif path.is_file() and not path.stat().st_size and path.suffix not in (
                '.log', ''):
            yield f'{path.name} is empty'


def options_of(tool: Path) -> List[str]:
    """The options of a tool."""
    found: List[str] = []
    with contextlib.chdir(ROOT), tool_imports():
        import _cli
        real = _cli.Parser.parse_args

        def look(parser, argv=None):
            found.extend(word for action in parser._actions
                         for word in action.option_strings if word != '-h')
            raise KeyboardInterrupt

        _cli.Parser.parse_args = look
        try:
            load(f'tools/{tool.name}')['parse_args']([])
        except KeyboardInterrupt:
            pass
        finally:
            _cli.Parser.parse_args = real
    return [word for word in found if word not in ('--help', '--launcher', '--show',
                                                   '--device')]


OPTIONS: Dict[str, List[str]] = {}


def fuzz(calls: int, minutes: float, seed: int, first: int = 0,
         tell: Callable[[Report], None] = lambda report: None) -> List[Report]:
    """Make calls until there are enough, or the time is over."""
    OPTIONS.update({path.stem: options_of(path) for path in TOOLS})
    assert {command.tool for command in COMMANDS} == set(OPTIONS), 'a tool is left out'
    torch.set_num_threads(1)
    reports = []
    with tempfile.TemporaryDirectory() as scratch:
        world, origin, out = (Path(scratch, name) for name in ('world', 'origin', 'out'))
        world.mkdir()
        child = os.fork()  # its Runners' globals are none of the calls'
        if not child:
            status = 1
            try:
                make_world(world)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0, 'the inputs cannot be made'
        shutil.copytree(world, origin)
        for number in range(-len(COMMANDS) if calls > 1 else 0, 0):
            report = try_call(number, seed, origin, world, out)
            assert report.status == COMMANDS[~number].status and not report.faults, report
        end = time.time() + 60 * minutes  # the sound ones took a minute or two
        for number in range(first, first + calls):
            if time.time() > end:
                break
            reports.append(try_call(number, seed, origin, world, out))
            tell(reports[-1])
    return reports


def summary(reports: List[Report]) -> Dict[str, int]:
    """Calls, and how they ended."""
    return dict(
        calls=len(reports), worked=sum(one.status == 0 for one in reports),
        refused=sum(one.status == 2 for one in reports),
        still_running=sum(one.status is None for one in reports),
        faults=sum(bool(one.faults) for one in reports))


def main() -> None:
    """Call, and tell what was found as it is found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--calls', type=int, default=2000)
    parser.add_argument('--minutes', type=float, default=20)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--first', type=int, default=0, help='number of the first call')
    parser.add_argument('--all', action='store_true', help='tell of every call')
    args = parser.parse_args()

    def tell(report: Report) -> None:
        if report.faults or args.all or args.calls == 1:
            print(f'{report.number} {"; ".join(report.faults) or report.status} '
                  f'({report.seconds:.1f} s)\n    {report.line}', flush=True)
            if args.calls == 1:
                print(report.said)

    reports = fuzz(args.calls, args.minutes, args.seed, args.first, tell)
    print(summary(reports))
    sys.exit(any(report.faults for report in reports))


if __name__ == '__main__':
    main()
