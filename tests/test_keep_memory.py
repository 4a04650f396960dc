"""What is freed stays with the process, unless the user decides otherwise."""
import os
import platform
import subprocess
import sys

import pytest

from mmasvit.memory import SWITCHES

COUNT = '''
import resource
import torch
from mmasvit.memory import keep_memory
print(keep_memory())
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(1 << 24)  # 64 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()  # the first ones are fresh whatever is done
print(faults())
'''
PAGES = 4 * (1 << 26) // os.sysconf('SC_PAGE_SIZE')  # of the four maps


def count(**environment):
    """Whether memory is kept, and the page faults of four maps after the first four."""
    clean = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    done = subprocess.run([sys.executable, '-c', COUNT], env={
        **clean, 'CUDA_VISIBLE_DEVICES': '', **environment}, check=True, text=True,
        capture_output=True)
    kept, faults = done.stdout.split()
    return kept == 'True', int(faults)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a switch of glibc')
def test_maps_come_from_memory_that_is_there():
    kept, faults = count()
    assert kept and faults < PAGES / 100


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a switch of glibc')
def test_a_switch_of_the_user_leaves_the_library_alone():
    kept, faults = count(**{SWITCHES[0]: '131072'})
    assert not kept and faults > PAGES / 1000  # huge pages make one fault of 512
