"""Memory of the C library: kept by the process instead of given back at every step.

Glibc asks the kernel for every block of more than 32 MB anew and gives it back when it is
freed, so that each map of a large image costs page faults again: a training step of
As-ViT-L at 1280 px spent 15 of its 34 seconds in the kernel (docs/performance.md).
"""
import ctypes
import os

import torch

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of <malloc.h>
# glibc's own switches: who sets one has decided
SWITCHES = ('MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_MAX_', 'MALLOC_MMAP_THRESHOLD_')


def keep_memory() -> bool:
    """Have the C library keep what is freed, for the rest of this process.

    Numbers stay the same, and so does the peak; between peaks the process looks larger
    than it is. Nothing happens with a GPU, where maps are not in this memory; without
    glibc; and where the environment sets one of :data:`SWITCHES`
    (``MALLOC_TRIM_THRESHOLD_=131072`` leaves the C library as it is).

    Returns:
        Whether it is done.
    """
    if torch.cuda.is_available() or any(name in os.environ for name in SWITCHES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or none to ask
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
