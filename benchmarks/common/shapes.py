"""A small set of generated shapes, for runs without data from outside."""
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make_data(folder: Path) -> str:
    """Generate it; return where it is.

    Raises:
        SystemExit: If that fails.
    """
    print('generating shapes', flush=True)
    status = subprocess.run(
        [sys.executable, str(ROOT / 'tools/make_shapes_coco.py'), str(folder), '--images',
         '150', '--val-images', '50', '--crops', '64'], cwd=ROOT).returncode
    if status:
        raise SystemExit(status)
    return str(folder)
