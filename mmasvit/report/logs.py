"""What a training left behind: its config, its checkpoint, and curves of its logs."""
import json
import math
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config

from mmasvit.arguments import check_shape, numeric
from mmasvit.engine.launch import latest_checkpoint, load_config
from mmasvit.errors import InputError
from mmasvit.report import charts
from mmasvit.report.page import (Block, Chart, Charts, Commands, Section, duration,
                                 table_of)
from mmasvit.weights import DamagedCheckpoint, check_checkpoint

_NO_METRICS = ('data_time', 'time', 'step', 'memory', 'iter', 'epoch')
Rows = List[Dict[str, float]]


def find_config(work_dir: Path,
                options: Optional[Sequence[str]] = None) -> Optional[Config]:
    """The config that a work directory's last run dumped; None if there is none.

    Raises:
        InputError: If it cannot be read.
    """
    found = [*work_dir.glob('*.py'), *work_dir.glob('*/vis_data/config.py')]
    if not found:
        return None
    return load_config(str(max(found, key=lambda path: path.stat().st_mtime_ns)), options)


def find_checkpoint(work_dir: Path) -> Path:
    """The best checkpoint that a run kept as such, or else its newest; whole ones only.

    Raises:
        InputError: If there is none, or all are damaged.
    """
    best = sorted((path for path in work_dir.glob('best_*.pth') if path.is_file()),
                  key=lambda path: path.stat().st_mtime_ns)
    for path in reversed(best):
        with suppress(DamagedCheckpoint):
            check_checkpoint(str(path))
            return path
    latest, damaged = latest_checkpoint(str(work_dir))
    if latest is None or '://' in latest:
        raise InputError(damaged[0] if damaged else f'{work_dir} holds no checkpoint')
    return Path(latest)


def read_log(work_dir: Path) -> Rows:
    """Rows of all runs in the order of training.

    A run that was resumed, or begun anew, replaces what earlier ones had logged from its
    first iteration on.
    """
    rows: Rows = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        new = list(_rows(path))
        first = next((row['iter'] for row in new if 'loss' in row), None)
        if first is None:
            continue  # a test or a run that was stopped at once
        before = next((i for i, row in enumerate(rows)
                       if 'loss' in row and row['iter'] >= first), len(rows))
        rows = rows[:before] + new
    return rows


def _rows(path: Path) -> Iterator[dict]:
    """The whole lines of a log: a kill or a full disk may have cut one."""
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        try:
            row = json.loads(line)
            check_shape('', row, {'iter?': numeric, 'loss?': numeric})
            if 'loss' not in row or 'iter' in row:
                yield row
        except (ValueError, RecursionError):
            continue


@dataclass(frozen=True)
class Curves:
    """Series over the iterations.

    Args:
        training: Points (iterations, values) of each name that training logs.
        validation: The same of what validation gives; its rows hold no iteration and
            stand where they were logged.
        seconds: Time in training iterations.
        last: Number of the last iteration.
    """
    training: Dict[str, Tuple[List[float], List[float]]]
    validation: Dict[str, Tuple[List[float], List[float]]]
    seconds: float
    last: int


def curves_of(rows: Rows) -> Curves:
    """Series out of logged rows."""
    training, validation = {}, {}
    last, seconds = 0, 0.
    for row in rows:
        trains = 'loss' in row
        if trains:
            seconds += row.get('time', 0) * max(0, row['iter'] - last)
            last = row['iter']
        into = training if trains else validation
        for name, value in row.items():
            if (name in _NO_METRICS or not isinstance(value, (int, float))
                    or not math.isfinite(value) or not trains and value < 0):
                continue
            x, y = into.setdefault(name, ([], []))
            x.append(last)
            y.append(value)
    return Curves(training, validation, seconds, last)


def curve_section(rows: Rows) -> Optional[Section]:
    """Loss, its parts, learning rate and validation over the iterations."""
    curves = curves_of(rows)
    if not curves.training:
        return None
    x_limits = (0, max(1, curves.last) * 1.02)
    drawn = [Chart('Training loss', charts.lines(
        {'loss': curves.training['loss']}, 'iteration', y_limits=(0, None),
        x_limits=x_limits))]
    for kind, title in (('coco', 'Average precision on held-out data'), ('', 'Held out')):
        series = {name.split('/')[-1].replace('_', ' '): points
                  for name, points in curves.validation.items()
                  if re.search(r'/(bbox|segm)_mAP(_50)?$' if kind else
                               r'^(?!coco/)', name)}
        if series:
            drawn.append(Chart(title, charts.lines(
                series, 'iteration', y_limits=(0, None), markers=True,
                x_limits=x_limits)))
    parts = {name: points for name, points in curves.training.items()
             if 'loss' in name and name != 'loss'}
    if len(parts) > 1:
        most = sorted(parts, key=lambda name: -parts[name][1][-1])[:6]
        drawn.append(Chart('Parts of the loss', charts.lines(
            {name: parts[name] for name in most}, 'iteration', y_limits=(0, None),
            x_limits=x_limits), '' if len(parts) <= 6 else
            f'the {len(most)} largest at the end of {len(parts)}'))
    for name, title in (('lr', 'Learning rate'), ('grad_norm', 'Norm of the gradient'),
                        ('token_stride', 'Token stride'),
                        ('relative_macs', 'Share of the full multiply-accumulates')):
        if name in curves.training:
            drawn.append(Chart(title, charts.lines(
                {name: curves.training[name]}, 'iteration', y_limits=(0, None),
                x_limits=x_limits)))
    lead = f'{curves.last} iterations'
    if curves.seconds:
        lead += f', {duration(curves.seconds)} in training iterations'
    return Section('Training', [Charts(drawn)], lead + '.')


def environment(work_dir: Path) -> Dict[str, str]:
    """What the last run says it ran on, from its log."""
    logs = sorted(work_dir.glob('*/*.log'))
    for path in reversed(logs):
        text = path.read_text(encoding='utf-8', errors='replace')
        found = re.search(r'System environment:\n(.*?)\nRuntime environment:', text,
                          re.DOTALL)
        if found:
            # details of how torch was compiled are indented by less
            pairs = re.findall(r'^ {4}([^:\n]+): (.+)$', found[1], re.MULTILINE)
            return {name: value for name, value in pairs if 'compiling' not in name}
    return {}


def environment_section(work_dir: Path, config: Optional[str],
                        checkpoint: Optional[Path]) -> Optional[Section]:
    """Where it ran, and commands to go on with."""
    blocks: List[Block] = []
    if config:
        lines = [f'python tools/train.py {shlex.quote(config)} --work-dir '
                 f'{shlex.quote(str(work_dir))} --resume']
        if checkpoint:
            names = f'{shlex.quote(config)} {shlex.quote(str(checkpoint))}'
            lines += [f'python tools/test.py {names}']
        blocks.append(Commands(lines,
                               'To go on with the training, and to score it again'))
    found = environment(work_dir)
    if found:
        blocks.append(table_of(found, caption='as the last run logged it'))
    return Section('Environment and commands', blocks) if blocks else None
