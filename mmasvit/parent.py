"""A process ends with the one that started it."""
import os
import signal
import threading
import time
from typing import Optional


def end_with_parent(parent: Optional[int] = None) -> None:
    """From now on, die when the parent dies, as by ``kill -9``.

    A launcher that is killed leaves its workers: they would go on writing, and hold the
    work directory against the run that is started next. Linux sends the signal at once;
    elsewhere, and where it could be missed, a thread looks every second.

    Args:
        parent: Its process id, where known. Defaults to whatever it is now, which is
            another if the launcher has died already.
    """
    parent = parent or os.getppid()
    try:
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    except (AttributeError, OSError):
        pass

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
