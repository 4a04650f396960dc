"""The whole way in one command: data, pre-training, detector, scores, pictures.

Generates a COCO-format set of textured shapes, trains the small classifier on crops of
it, trains Cascade Mask R-CNN on that backbone, evaluates with pycocotools on held-out
images, and draws curves and detections. Each step is an ordinary command and is printed
before it runs; what is already there is not done again.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Optional

from mmasvit.errors import InputError, one_line_errors

ROOT = Path(__file__).resolve().parent.parent
CLASSIFIER = 'configs/asvit_tiny_shapes.py'
DETECTOR = 'configs/cascade_asvit_tiny_shapes.py'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--processes', type=int, default=default_processes(),
                        help='training processes (default here: %(default)s)')
    return parser.parse_args()


def default_processes() -> int:
    """One process on a GPU; on CPUs two processes of one thread beat one of two."""
    import torch
    if torch.cuda.is_available():
        return 1
    return min(2, len(os.sched_getaffinity(0)))


def step(title: str, command: List[str], threads: Optional[int] = None) -> float:
    """Announce and run one command; return its seconds.

    Raises:
        SystemExit: With the command's status if it fails.
    """
    print(f'\n=== {title}\n$ {shlex.join(command)}', flush=True)
    env = dict(os.environ)
    if threads:
        env['OMP_NUM_THREADS'] = str(threads)
    start = time.time()
    command = [sys.executable if word == 'python' else word for word in command]
    status = subprocess.run(command, cwd=ROOT, env=env).returncode
    if status:
        raise SystemExit(status)
    return time.time() - start


def train(title: str, config: str, work_dir: Path, processes: int) -> float:
    """Train a config, going on from where an earlier call was cut short."""
    command = ['tools/train.py', config, '--work-dir', str(work_dir), '--resume',
               '--no-data-check']
    if processes > 1:
        launch = ['python', '-m', 'torch.distributed.run', '--standalone',
                  f'--nproc_per_node={processes}']
        return step(title, launch + command + ['--launcher', 'pytorch'], threads=1)
    return step(title, ['python'] + command)


def latest_checkpoint(work_dir: Path) -> str:
    """The checkpoint that a finished run names as its last."""
    return (work_dir / 'last_checkpoint').read_text().strip()


def main() -> None:
    """Run all steps."""
    args = parse_args()
    if args.processes < 1:
        raise InputError(f'--processes must be at least 1, got {args.processes}')
    from mmasvit.engine.preflight import check_writable
    work_dir = ROOT / 'work_dirs'  # where the detector's config expects the classifier
    check_writable(str(work_dir))
    classifier, detector = (work_dir / Path(config).stem
                            for config in (CLASSIFIER, DETECTOR))
    seconds = {}
    seconds['data'] = step('generate the data', [
        'python', 'tools/make_shapes_coco.py', 'data/shapes', '--images', '6000',
        '--crops', '64'])
    seconds['classifier'] = train('pre-train the backbone as a classifier on crops',
                                  CLASSIFIER, classifier, args.processes)
    seconds['detector'] = train('train the detector on that backbone', DETECTOR,
                                detector, args.processes)
    seconds['evaluation'] = step('evaluate it and draw what it finds', [
        'python', 'tools/test.py', DETECTOR, latest_checkpoint(detector), '--work-dir',
        str(detector / 'test'), '--show-dir', 'pictures', '--no-data-check'])
    report(detector, seconds)


def report(work_dir: Path, seconds: dict) -> None:
    """Print the scores and where to look; draw the curves."""
    from mmasvit.visualization import plot_training, read_scalars
    log = sorted(work_dir.glob('*/vis_data/scalars.json'))
    plot_training([row for path in log for row in read_scalars(path)],
                  work_dir / 'curves.png')
    test_log = max(work_dir.glob('test/*/*.json'), key=os.path.getmtime)
    scores = json.loads(test_log.read_text().splitlines()[-1])
    print('\n=== held-out average precision (pycocotools)')
    for kind in ('bbox', 'segm'):
        print(f'{kind}: AP {scores[f"coco/{kind}_mAP"]:.3f}, AP50 '
              f'{scores[f"coco/{kind}_mAP_50"]:.3f}')
    print('\n=== time: ' + ', '.join(f'{name} {value / 60:.1f} min'
                                     for name, value in seconds.items()))
    print(f'curves of loss and AP:                {work_dir / "curves.png"}')
    print(f'pictures, ground truth left, ours right: '
          f'{work_dir / "test" / "pictures"}')


if __name__ == '__main__':
    with one_line_errors():
        main()
