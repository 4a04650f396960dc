"""Everything a bare machine needs, installed into ``.venv/`` of this checkout.

``make demo`` and ``make test`` start with this script. It needs nothing but Python's
own library. Each step leaves a stamp that says what it was made from; where all stamps
hold, nothing is started. A set-up that was stopped half-way goes on, and what it left
broken is found and installed again.

``MMASVIT_CPU_ONLY=1`` builds without GPU operators although there is a GPU;
``MAX_JOBS`` bounds the number of compilers that run at a time.
"""
# An older Python 3 has to get as far as check_python: no syntax beyond Python 3.6 here.
import argparse
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple, Tuple

from set_up_environment import Environment
from set_up_machine import (SetUpError, build_variables, check_disk, check_python,
                            compile_jobs, find_compiler, find_cuda, gpu_is_wanted,
                            last_line)

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = 'requirements/constraints.txt'
SAY_EVERY = 30  # seconds between two lines of progress where there is no terminal

TRY_OPERATOR = '''
import sys, torch
from mmcv.ops import nms
for device in sys.argv[1:]:
    boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 2.]], device=device)
    assert len(nms(boxes, torch.tensor([.9, .8], device=device), 0.5)[1]) == 1
'''
TRY_IMPORTS = 'import cv2, mmdet.models, mmpretrain.models, pycocotools.mask'

# What in a command's output tells the cause of a failure, and what the user is told.
CAUSES = (
    (r'No space left on device', 'no disk space left: free some and run this again'),
    (r'NewConnectionError|NameResolutionError|ConnectTimeout|Read timed out|ProxyError|'
     r'SSLError|ConnectionResetError|Connection broken',
     "pip cannot reach its package index: check the network and pip's settings "
     '(pip config list), then run this again'),
    (r'Killed signal terminated|[Cc]annot allocate memory|out of memory',
     'the compiler ran out of memory: run this again with MAX_JOBS=1'),
)


class Step(NamedTuple):
    """One run of pip.

    Args:
        name (str): Name of its stamp.
        title (str): What is said before it starts.
        arguments (Tuple[str, ...]): What ``pip install`` is given.
        files (Tuple[str, ...]): The files of the checkout that it depends on.
        disk_gb (float): Disk space it takes while it runs, pip's cache included.
        proof (str): A program that runs when the step has succeeded.
    """
    name: str
    title: str
    arguments: Tuple[str, ...]
    files: Tuple[str, ...]
    disk_gb: float
    proof: str = ''


def plan_steps(jobs):
    """List the steps, in their order."""
    # Without isolation, mmcv is compiled against the torch that it will run with, and
    # every source distribution is built by the pinned tools of the first step.
    common = ('--no-build-isolation', '-c', CONSTRAINTS)

    def pinned(name, title, disk_gb, proof='', options=()):
        files = tuple(f'requirements/{part}.txt' for part in name.split('+'))
        wanted = tuple(word for file in files for word in ('-r', file))
        return Step(name, title, common + options + wanted, files + (CONSTRAINTS, ),
                    disk_gb, proof)

    return (
        pinned('build', 'build tools: some seconds', 0.2),
        pinned('torch', 'torch with its CUDA libraries: 1 to 2 minutes, and the time '
               'to download 3 GB', 10.4, 'import torchvision'),
        # Measured: 13 minutes of one core.
        pinned('mmcv', f"compiling mmcv's C++ operators: about {max(2, 15 // jobs)} "
               f'minutes on {jobs} core{"s" * (jobs > 1)}, once (seconds if pip has '
               'kept them)', 0.7, TRY_OPERATOR, ('-v', )),
        pinned('openmmlab+tests', 'mmdetection, mmpretrain, pytest and what they need: '
               'about a minute', 0.7, TRY_IMPORTS),
        Step('mmasvit', 'this package: some seconds', common + ('--no-deps', '-e', '.'),
             ('setup.py', 'mmasvit/version.py'), 0.1),
    )


def tell(text):
    """Print at once, also where the output is a file."""
    print(text, flush=True)


class Progress:
    """Says how long something has been running, and what it wrote last.

    Args:
        output (BinaryIO): The file that it writes to, open for reading.
    """

    def __init__(self, output):
        self.output = output
        self.began = self.said = time.monotonic()
        self.compiled = self.line = ''

    def elapsed(self):
        """Return the elapsed time as text."""
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        return f'      {minutes}:{seconds:02d}'

    def show(self):
        """Read on; say something if it is time."""
        for line in self.output.read().decode(errors='replace').splitlines():
            count = re.match(r'\s*\[(\d+)/(\d+)\]', line)  # ninja's
            if count:
                self.compiled = f'{count.group(1)} of {count.group(2)} files compiled'
            self.line = line.strip() or self.line
        self.say(f'{self.elapsed()}  {self.compiled or self.line}')

    def say(self, text, last=False):
        """Overwrite the line in a terminal; elsewhere add one now and then."""
        if sys.stdout.isatty():
            width = shutil.get_terminal_size().columns - 1
            text = '\r' + text[:width].ljust(width)
            print(text, end='\n' if last else '', flush=True)
        elif last or time.monotonic() - self.said >= SAY_EVERY:
            self.said = time.monotonic()
            tell(text[:88])


class Runner:
    """Runs commands in an environment, with its log, and shows progress.

    Args:
        environment (Environment): Where.
        variables (Dict[str, str]): Environment variables of the commands.
        lock (int): Descriptor of the lock, which a command keeps beyond our own death.
    """

    def __init__(self, environment, variables, lock):
        self.environment = environment
        self.variables = variables
        self.lock = lock

    def python(self, *arguments):
        """Run ``.venv/bin/python``.

        Returns:
            str: Its output if it failed, else ''.
        """
        command = [self.environment.python, *arguments]
        log_path = str(self.environment.log)
        with open(log_path, 'ab') as log, open(log_path, 'rb') as reader:
            log.write(f'\n$ {" ".join(command)}\n'.encode())
            log.flush()
            start = reader.seek(0, os.SEEK_END)
            # In a session of its own, so that its compilers can be stopped with it.
            process = subprocess.Popen(
                command, cwd=str(self.environment.root), env=self.variables,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=(self.lock, ))
            self.wait(process, Progress(reader))
            reader.seek(start)
            output = reader.read().decode(errors='replace')
        if process.returncode < 0:
            output += f'\nerror: killed by signal {-process.returncode}'
        return (output.strip() or 'no output') if process.returncode else ''

    @staticmethod
    def wait(process, progress):
        """Wait for a process; stop all of it if we are stopped."""
        try:
            while process.poll() is None:
                progress.show()
                try:
                    process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    pass
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise

    def pip(self, *arguments):
        """Run pip; raise what the user is told if it fails."""
        output = self.python('-m', 'pip', 'install', '--no-input', '--progress-bar',
                             'off', '--disable-pip-version-check', *arguments)
        if output:
            told = [told for pattern, told in CAUSES if re.search(pattern, output)]
            raise SetUpError(told[0] if told else f'pip failed: {last_line(output)}')

    def install(self, step, kind):
        """Run a step and its proof, and stamp it."""
        began = Progress(None)
        proof = ('-c', step.proof, 'cpu', *['cuda'] * (kind == 'cuda'))
        if step.name == 'mmcv' and self.python(*proof):
            # pip would be content with the version, whether or not it runs.
            self.python('-m', 'pip', 'uninstall', '-y', 'onedl-mmcv')
        self.pip(*step.arguments)
        wrong = step.proof and self.python(*proof)
        if step.name == 'mmcv' and wrong:
            # pip keeps what it compiled by version, for whatever torch and GPU.
            tell('      what pip had kept does not fit this torch: compiling anew')
            self.python('-m', 'pip', 'uninstall', '-y', 'onedl-mmcv')
            self.python('-m', 'pip', 'cache', 'remove', 'onedl_mmcv')
            self.pip(*step.arguments)
            wrong = self.python(*proof)
        if wrong:
            raise SetUpError(f'what was installed does not run: {last_line(wrong)}; '
                             'if it stays so, remove .venv/ and run this again')
        began.say(f'{began.elapsed()}  done', last=True)
        self.environment.stamp(step, kind)


def take_lock(environment):
    """Wait until no other set-up works in this checkout.

    Returns:
        int: A descriptor; the lock ends when everybody who has it has closed it.
    """
    lock = os.open(str(environment.root), os.O_RDONLY)
    progress = None
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if progress is None:
                tell('set-up: another one is at work here, waiting for its end')
                log = environment.log if environment.log.exists() else os.devnull
                progress = Progress(open(str(log), 'rb'))
            progress.show()
            time.sleep(1)
        except OSError:  # some network file systems have no locks
            return lock


def prepare(root):
    """Find out what is left to do, and whether it can be done; change nothing sound.

    Returns:
        Tuple: The :class:`Runner`, the steps, how many of them are done, why ``.venv/``
        is to be made from scratch ('' if it is not), and the kind of operators.
    """
    environment = Environment(root)
    lock = take_lock(environment)
    gpu = gpu_is_wanted()
    # Operators for a GPU run on the CPU as well.
    kinds = ('cuda', ) if gpu else ('cpu', 'cuda')
    jobs = compile_jobs(gpu)
    steps = plan_steps(jobs)
    fault = environment.fault()
    if fault and environment.folder.is_symlink():
        # venv would empty what the link leads to, and then refuse to work there.
        raise SetUpError(f'.venv is a link, and of no use here ({fault}): remove it')
    done = 0 if fault else environment.count_done(steps, kinds)
    if not fault and done < len(steps):
        broken = environment.forget_broken()
        if broken:
            tell(f'set-up: half-installed, to be done again: {", ".join(broken)}')
            done = environment.count_done(steps, kinds)
        if any(name.startswith('pip-') for name in broken):
            fault, done = 'its pip is half-installed', 0

    compiler, cuda_home = 'c++', ''
    if any(step.name == 'mmcv' for step in steps[done:]):
        compiler = find_compiler()
        cuda_home = find_cuda((root / CONSTRAINTS).read_text()) if gpu else ''
    check_disk(environment.folder if environment.folder.exists() else root,
               sum(step.disk_gb for step in steps[done:]))
    variables = build_variables(environment.temporary, jobs, compiler, cuda_home)
    return Runner(environment, variables, lock), steps, done, fault, kinds[0]


def set_up(root):
    """Do what is left to do."""
    check_python()
    runner, steps, done, fault, kind = prepare(root)
    environment = runner.environment
    if done == len(steps):
        return
    tell('set-up: installing into .venv/, complete output in .venv/set_up.log')
    if fault:
        if environment.folder.exists():
            tell(f'set-up: making .venv/ from scratch: {fault}')
        environment.make()
    environment.forget(steps[done:])
    for number, step in enumerate(steps[done:], done + 1):
        tell(f'[{number}/{len(steps)}] {step.title}')
        shutil.rmtree(str(environment.temporary), ignore_errors=True)
        environment.temporary.mkdir()
        try:
            runner.install(step, kind)
        except SetUpError as error:
            if fault and number == 1:  # nothing is there that would be worth keeping
                shutil.rmtree(str(environment.folder), ignore_errors=True)
                raise
            raise SetUpError(f'{error} (complete output: {environment.log})')
    shutil.rmtree(str(environment.temporary), ignore_errors=True)


def main():
    """Set up; return the exit status."""
    def stop(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        set_up(ROOT)
    except (SetUpError, OSError) as error:
        print(f'set-up: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('\n' * sys.stdout.isatty() + 'set-up: stopped; the same command goes on '
              'from here', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    argparse.ArgumentParser(description=__doc__).parse_args()  # --help installs nothing
    sys.exit(main())
