"""One run at a time in a folder, and no trace of one that died."""
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from mmasvit.errors import InputError
from mmasvit.lock import locked

HOLD = '''
import os, sys, time
from mmasvit.lock import locked
with locked(sys.argv[1]):
    if len(sys.argv) > 2 and not os.fork():
        time.sleep(60)  # a data worker that outlives its parent
    print(os.getpid(), flush=True)
    time.sleep(60)
'''


def hold(folder, *flags):
    """A process that holds a folder."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(folder), *flags],
                               stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline()
    return process


@pytest.mark.slow
@pytest.mark.parametrize('flags', [(), ('with a child', )])
def test_a_second_is_refused_until_the_first_is_killed(tmp_path, flags):
    first = hold(tmp_path, *flags)
    try:
        for _ in range(2):
            with pytest.raises(InputError, match=f'another run works in {tmp_path}; '
                               ) as caught, locked(tmp_path):
                pass
            assert '\n' not in str(caught.value)
        os.kill(first.pid, signal.SIGKILL)  # the child lives on
        first.wait()
        with locked(tmp_path):
            pass
        assert os.listdir(tmp_path) == []
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)


def test_it_ends_with_its_block_and_holds_one_folder_alone(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    with locked(tmp_path / 'a'), locked(tmp_path / 'b'):
        with pytest.raises(InputError), locked(tmp_path / 'a' / '..' / 'a'):
            pass
    with pytest.raises(KeyError), locked(tmp_path / 'a'):
        raise KeyError
    with locked(tmp_path / 'a'):
        pass


def test_a_forked_child_ends_it_neither_nor_keeps_it(tmp_path):
    context = multiprocessing.get_context('fork')
    with locked(tmp_path):
        child = context.Process(target=time.sleep, args=(30, ))
        child.start()
        time.sleep(0.5)
        with pytest.raises(InputError), locked(tmp_path):
            pass
    try:
        with locked(tmp_path):
            pass
    finally:
        child.kill()


def test_workers_end_with_a_launcher_that_is_killed(tmp_path):
    """And the folder is free at once for who waits a moment."""
    from mmasvit.parent import end_with_parent
    read, write = os.pipe()
    launcher = os.fork()
    if not launcher:
        if not os.fork():  # the worker
            end_with_parent()
            with locked(tmp_path):
                os.write(write, str(os.getpid()).encode())
                time.sleep(60)
        time.sleep(60)
        os._exit(0)
    worker = int(os.read(read, 20))
    with pytest.raises(InputError), locked(tmp_path):
        pass
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    with locked(tmp_path, patience=5):
        pass
    with pytest.raises(ProcessLookupError):
        while True:  # until whoever adopted it has noticed
            os.kill(worker, 0)
            state = open(f'/proc/{worker}/stat').read().split()[2]
            if state == 'Z':
                raise ProcessLookupError
            time.sleep(0.05)
