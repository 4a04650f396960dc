"""What several test files share: how to start a tool, and to wait for it."""
import contextlib
import io
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

ROOT = Path(__file__).parent.parent
TOOLS = sorted(path for path in (ROOT / 'tools').glob('*.py')
               if not path.name.startswith('_'))


def command(*words, processes=0):
    """The command line of a tool, or of several processes of it."""
    start = [sys.executable]
    if processes:
        start += ['-m', 'torch.distributed.run', '--standalone',
                  f'--nproc_per_node={processes}']
    return start + [str(word) for word in words]


def run(*words, processes=0, status=0):
    """Run a tool in a process of its own and return what it printed.

    Its exit status is checked.
    """
    done = subprocess.run(command(*words, processes=processes), cwd=ROOT, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def managers(*roots):
    """The classes that keep their instances by name, each its own."""
    roots = roots or (DefaultScope, MessageHub, MMLogger, Visualizer)
    return [*roots, *(one for root in roots if root.__subclasses__()
                      for one in managers(*root.__subclasses__()))]


@contextlib.contextmanager
def own_globals(fresh=False):
    """Forget the default scope, the logger and so on that a Runner leaves behind.

    Args:
        fresh: Whether to begin without those of earlier Runners: a visualizer that has
            the name of another is that other, and writes where it wrote.
    """
    kept = {manager: dict(manager._instance_dict) for manager in managers()}
    for manager in managers() if fresh else ():
        manager._instance_dict.clear()
    try:
        yield
    finally:
        for manager in managers():
            manager._instance_dict.clear()
            manager._instance_dict.update(kept.get(manager, {}))


def call(tool, *words):
    """Run a tool in this process, seconds sooner; return status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(ROOT), tool_imports(), own_globals(fresh=True), \
            mock.patch.object(sys, 'argv', [tool, *map(str, words)]), \
            contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(tool, run_name='__main__')
            status = 0
        except SystemExit as stop:
            status = stop.code or 0
    return status, out.getvalue(), err.getvalue()


def wait_for_lines(path, number, process):
    """Wait until a process has written so many lines to a file."""
    while not path.exists() or len(path.read_bytes().splitlines()) < number:
        assert process.poll() is None, 'it ended too early'
        time.sleep(0.02)


def tool_imports():
    """Within it ``import _cli`` finds what it finds in a tool's own process."""
    return mock.patch.object(sys, 'path', [str(ROOT / 'tools'), *sys.path])


def load(tool):
    """The names that a tool defines, without running it."""
    with contextlib.chdir(ROOT), tool_imports():
        return runpy.run_path(tool)


def works(*words):
    """What a tool prints that succeeds, in this process."""
    status, out, err = call(*words)
    assert not status, err
    return out


def fails(*words):
    """The one line that a tool prints for bad input, in this process."""
    status, _, err = call(*words)
    lines = err.strip().splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    assert status == 2, err
    assert len(errors) == 1 and lines[-1] == errors[0], lines
    return errors[0]


def make_coco(ann_file, image_folder, images=4, classes=('cat', 'dog'), objects=3,
              masks=True, size=(64, 48), prefix='', seed=0):
    """Write a small set in COCO's format: noise with bright rectangles.

    Its name, ``{prefix}{number}.png``, says which image it is. Returns the file's dict.
    """
    import json

    import cv2
    import numpy as np
    rng = np.random.default_rng(seed)
    coco = dict(images=[], annotations=[], categories=[
        dict(id=number, name=name) for number, name in enumerate(classes, 1)])
    Path(image_folder).mkdir(parents=True, exist_ok=True)
    Path(ann_file).parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    for image_id in range(1, images + 1):
        picture = rng.integers(0, 80, (height, width, 3), dtype=np.uint8)
        for _ in range(objects):
            w, h = (int(rng.integers(side // 8, side // 2)) for side in size)
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            picture[y:y + h, x:x + w] += 128
            number = len(coco['annotations']) + 1
            row = dict(id=number, image_id=image_id, bbox=[x, y, w, h], area=w * h,
                       iscrowd=0, category_id=1 + number % len(classes))
            if masks:
                row['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            coco['annotations'].append(row)
        name = f'{prefix}{image_id:03d}.png'
        (Path(image_folder) / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(Path(image_folder) / name), picture)
        coco['images'].append(dict(id=image_id, file_name=name, width=width,
                                   height=height))
    Path(ann_file).write_text(json.dumps(coco), encoding='utf-8')
    return coco
