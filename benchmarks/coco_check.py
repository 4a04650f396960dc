"""Time of the checks on annotation files beside pycocotools' loading of the same file.

    python benchmarks/coco_check.py                # of COCO's size, some minutes
    python benchmarks/coco_check.py --images 5000

A set is made up in a temporary folder: as many images, objects, categories and points per
polygon as train2017 of COCO has, or less in proportion. Both are timed in turn, each in
a process of its own, so that neither pays for the other's memory.
"""
import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import orjson

from mmasvit.tables import print_table

IMAGES, OBJECTS, CATEGORIES = 118_000, 860_000, 80
POINTS = 22  # of a polygon, on average
CONTESTANTS = {
    'pycocotools.coco.COCO': '''
import contextlib, io
from pycocotools.coco import COCO
def work():
    with contextlib.redirect_stdout(io.StringIO()):
        COCO(PATH)
''',
    'mmasvit.coco': '''
from mmasvit.coco.annotations import CocoFile
from mmasvit.coco.checks import find_faults
from mmasvit.coco.report import SplitReport
from mmasvit.coco.view import Use, View
def work():
    view = View(CocoFile.read(PATH), Use(masks=True, scored=True, masks_scored=True))
    SplitReport.of(view, '', find_faults(view))
''',
}
TIMING = '''
import time
begin = time.perf_counter()
work()
print(time.perf_counter() - begin)
'''


def make(path: Path, images: int, seed: int = 0) -> None:
    """Write a sound annotation file of so many images."""
    rng = np.random.default_rng(seed)
    objects = images * OBJECTS // IMAGES
    of = rng.integers(images, size=objects)
    boxes = np.concatenate([rng.uniform(0, 300, (objects, 2)),
                            rng.uniform(5, 180, (objects, 2))], 1).round(2)
    labels = rng.integers(CATEGORIES, size=objects)
    rows = []
    for i in range(objects):
        x, y, width, height = boxes[i].tolist()
        points = rng.uniform(size=(POINTS, 2)) * (width, height) + (x, y)
        rows.append(dict(
            segmentation=[points.round(2).ravel().tolist()], area=width * height / 2,
            iscrowd=0, image_id=int(of[i]) + 1, bbox=[x, y, width, height],
            category_id=int(labels[i]) + 1, id=i + 1))
    path.write_bytes(orjson.dumps(dict(
        images=[dict(id=i + 1, file_name=f'{i + 1:012d}.jpg', width=640, height=480)
                for i in range(images)],
        categories=[dict(id=i + 1, name=f'class {i}') for i in range(CATEGORIES)],
        annotations=rows)))


def time_once(code: str, path: Path) -> float:
    """Seconds in a process of its own, its imports aside."""
    done = subprocess.run([sys.executable, '-c', f'PATH = {str(path)!r}{code}{TIMING}'],
                          check=True, capture_output=True, text=True)
    return float(done.stdout)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=IMAGES)
    parser.add_argument('--repeats', type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Make a set, time both in turn, print medians and their ratio."""
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'instances.json')
        make(path, args.images)
        seconds = {name: [] for name in CONTESTANTS}
        for _ in range(args.repeats):
            for name, code in CONTESTANTS.items():
                seconds[name].append(time_once(code, path))
        size = path.stat().st_size / 2**20
    reference = statistics.median(seconds['pycocotools.coco.COCO'])
    print_table(
        f'{args.images:,} images, {args.images * OBJECTS // IMAGES:,} objects, '
        f'{size:.0f} MiB', ['', 'median', 'all', 'of pycocotools'],
        [[name, f'{statistics.median(found):.1f} s',
          ' '.join(f'{value:.1f}' for value in found),
          f'{statistics.median(found) / reference:.2f}'] for name, found in
         seconds.items()])


if __name__ == '__main__':
    main()
