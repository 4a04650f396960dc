"""The whole way in one command: data, a trained detector, its scores, a page.

Without a folder it generates a COCO-format set of textured shapes, pre-trains a small
As-ViT as a classifier of crops of it and trains Cascade Mask R-CNN on that backbone; with
one (``make demo DATA=folder``) it writes a config for the images there and trains that
from random weights. Each step is an ordinary command and is printed before it runs; a
training that was cut short goes on from its last whole epoch.
"""
import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Optional, Tuple

from mmasvit.errors import InputError, one_line_errors

ROOT = Path(__file__).resolve().parent.parent
CLASSIFIER = 'configs/asvit_tiny_shapes.py'
DETECTOR = 'configs/cascade_asvit_tiny_shapes.py'
MINUTES = 12  # of training on a folder of one's own
SAY_EVERY = 15  # seconds between two lines about a training

# what mmengine's log says of a step, and of a validation
_STEP = re.compile(r'(?:Epoch|Iter)\(train\) +(?:\[(\d+)\])?\[ *(\d+)/(\d+)\].*'
                   r'eta: (?:(\d+) days?, )?(\d+):(\d+):\d+.*? loss: (\S+)')
_SCORES = {'box AP': r'coco/bbox_mAP: (\S+)', 'mask AP': r'coco/segm_mAP: (\S+)',
           '% right': r'accuracy/top1: (\S+)'}


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('data', nargs='?', help='a folder with images and annotations '
                        "in COCO's format; default: generated shapes")
    parser.add_argument('--minutes', type=float, default=MINUTES, help='how long to train '
                        'on a folder of your own (default: %(default)s)')
    parser.add_argument('--processes', type=int, default=default_processes(),
                        help='training processes (default here: %(default)s)')
    return parser.parse_args()


def default_processes() -> int:
    """One process on a GPU; on CPUs two processes of one thread beat one of two."""
    import torch
    if torch.cuda.is_available():
        return 1
    return min(2, len(os.sched_getaffinity(0)))


def readable(line: str) -> Optional[str]:
    """What a line of mmengine's log says, for a person; None if nothing of interest."""
    step = _STEP.search(line)
    if step:
        epoch, done, total, days, hours, minutes, loss = step.groups()
        left = (int(days or 0) * 24 + int(hours)) * 60 + int(minutes) + 1
        where = f'epoch {epoch}, ' if epoch else ''
        return f'{where}step {done} of {total}: loss {float(loss):.2f}, {left} min left'
    found = {name: re.search(pattern, line) for name, pattern in _SCORES.items()}
    scores = [f'{float(score.group(1)):.3g} {name}' if name.startswith('%') else
              f'{name} {float(score.group(1)):.3f}' for name, score in found.items() if score]
    if scores and '(val)' in line:
        return f'on held-out images: {", ".join(scores)}'
    return None


def announce(title: str, command: List[str]) -> List[str]:
    """Print what is about to run; return the command as the system takes it."""
    print(f'\n=== {title}\n$ {shlex.join(command)}', flush=True)
    return [sys.executable if word == 'python' else word for word in command]


def step(title: str, command: List[str]) -> float:
    """Announce and run one command; return its seconds.

    Raises:
        SystemExit: With the command's status if it fails.
    """
    start = time.monotonic()
    status = subprocess.run(announce(title, command), cwd=ROOT).returncode
    if status:
        raise SystemExit(status)
    return time.monotonic() - start


def train(title: str, config: str, work_dir: Path, processes: int) -> float:
    """Train a config, going on from where an earlier call was cut short.

    The complete log is in ``work_dir``; here stands a line now and then.

    Raises:
        SystemExit: With the training's status if it fails, after its last words.
    """
    command = ['tools/train.py', config, '--work-dir', str(work_dir), '--resume']
    env = dict(os.environ)
    if processes > 1:
        command = ['-m', 'torch.distributed.run', '--standalone',
                   f'--nproc_per_node={processes}', *command, '--launcher', 'pytorch']
        env['OMP_NUM_THREADS'] = '1'
    start = said = time.monotonic()
    process = subprocess.Popen(announce(title, ['python', *command]), cwd=ROOT, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors='replace')
    last: List[str] = []
    try:
        for line in process.stdout:
            last = last[-19:] + [line]
            text, now = readable(line), time.monotonic()
            if text and ('held-out' in text or now - said >= SAY_EVERY or said == start):
                said = now
                print(f'{(now - start) / 60:6.1f} min  {text}', flush=True)
    finally:
        process.stdout.close()
        if process.wait():
            print(''.join(last), end='', file=sys.stderr)
            raise SystemExit(process.returncode)
    return time.monotonic() - start


def prepare_shapes(processes: int) -> Tuple[str, float]:
    """Generate the data and pre-train the backbone.

    Returns:
        The detector's config, and the seconds of training.
    """
    step('generate the data', ['python', 'tools/make_shapes_coco.py', 'data/shapes',
                               '--images', '6000', '--crops', '64'])
    # where the detector's config expects it
    work_dir = Path('work_dirs', Path(CLASSIFIER).stem)
    return DETECTOR, train('pre-train the backbone: crops of single shapes, by class',
                           CLASSIFIER, work_dir, processes)


def prepare_folder(data: str, minutes: float) -> Tuple[str, float]:
    """Write a config for a folder, unless an earlier call has.

    Returns:
        The config, and the seconds of training: none.
    """
    name = re.sub(r'\W+', '_', Path(data).resolve().name).strip('_') or 'data'
    config = Path('work_dirs', f'demo_{name}.py')
    if not (ROOT / config).exists():
        (ROOT / config).parent.mkdir(exist_ok=True)
        step('look at the data and write a config for it', [
            'python', 'tools/new_config.py', os.path.abspath(data), '--out', str(config),
            '--minutes', f'{minutes:g}'])
    return str(config), 0.


def main() -> None:
    """Run all steps."""
    args = parse_args()
    if args.processes < 1:
        raise InputError(f'--processes must be at least 1, got {args.processes}')
    if not 0 < args.minutes < float('inf'):
        raise InputError(f'--minutes must be a positive number, got {args.minutes:g}')
    start = time.monotonic()
    config, seconds = (prepare_folder(args.data, args.minutes) if args.data
                       else prepare_shapes(args.processes))
    work_dir = Path('work_dirs', Path(config).stem)
    seconds += train('train the detector', config, work_dir, args.processes)
    step('score it on held-out images and make its page', [
        'python', 'tools/report.py', str(work_dir)])
    print(f'\n=== {(time.monotonic() - start) / 60:.1f} min in all, {seconds / 60:.1f} of '
          f'them training\nopen {ROOT / work_dir / "report" / "index.html"} in a browser')


if __name__ == '__main__':
    with one_line_errors():
        main()
