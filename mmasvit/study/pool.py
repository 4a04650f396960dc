"""Independent work items on several processes of one machine."""
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Callable, Iterator, Sequence, Tuple, TypeVar

Item, Result = TypeVar('Item'), TypeVar('Result')


def run_items(function: Callable[[Item], Result], items: Sequence[Item],
              processes: int, log_dir: str, threads: int = 1
              ) -> Iterator[Tuple[Item, Result]]:
    """Run a function on every item, as many at a time as there are processes.

    Items are handed out one by one, so long ones do not hold up the rest. Each process
    computes with a fixed number of threads: results depend neither on the number of
    processes nor on who took which item. With GPUs the processes take them in turn.

    Args:
        function: Something that can be imported.
        items: Its arguments, the longest best first.
        processes: Processes to start.
        log_dir: Folder for ``worker_<k>.log``, what the processes print.
        threads: Threads of torch per process. Defaults to 1.

    Yields:
        Items and results in the order in which they were done.
    """
    context = multiprocessing.get_context('spawn')
    numbers = context.Queue()
    for number in range(processes):
        numbers.put(number)
    pool = ProcessPoolExecutor(processes, context, _start, (numbers, log_dir, threads))
    try:
        futures = {pool.submit(function, item): item for item in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def _start(numbers, log_dir: str, threads: int) -> None:
    """What a process does before its first item."""
    import torch
    number = numbers.get()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the parent
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    log = os.open(os.path.join(log_dir, f'worker_{number}.log'),
                  os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def _leave_with_parent() -> None:
    """A parent that was killed may be started again: nobody else works in its folder."""
    multiprocessing.parent_process().join()
    os._exit(1)
