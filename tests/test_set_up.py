"""The set-up: what it refuses, what it takes for done, what it repairs."""
import ast
import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / 'scripts').glob('set_up*.py'))
sys.path.insert(0, str(ROOT / 'scripts'))  # where the scripts find each other

import set_up  # noqa: E402
import set_up_environment  # noqa: E402
import set_up_machine as machine  # noqa: E402

sys.path.remove(str(ROOT / 'scripts'))

KINDS = ('cpu', 'cuda')


@pytest.fixture
def checkout(tmp_path):
    """A checkout with all that the set-up reads, and nothing installed."""
    for name in ('setup.py', 'mmasvit/version.py',
                 *(f'requirements/{path.name}'
                   for path in (ROOT / 'requirements').glob('*.txt'))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """Fake programs: a folder that is all there is on the PATH."""
    def add(folder, name, text):
        path = folder / name
        path.write_text(f'#!/bin/sh\n{text}\n')
        path.chmod(0o755)
        monkeypatch.setenv('PATH', str(folder))
        return path

    for name in ('CXX', 'CUDA_HOME', 'CUDA_PATH', 'CUDA_VISIBLE_DEVICES',
                 'MMASVIT_CPU_ONLY', 'MAX_JOBS'):
        monkeypatch.delenv(name, raising=False)
    return add


@pytest.fixture
def sound(checkout, monkeypatch):
    """An environment that passes for sound, with one installed distribution."""
    environment = set_up_environment.Environment(checkout)
    monkeypatch.setattr(set_up_environment.Environment, 'fault', lambda self: '')
    add_distribution(environment, 'torch-1')
    return environment


def add_distribution(environment, name, files=('code.py', ), missing=()):
    """Install what pip would, but for what is missing."""
    info = environment.site / f'{name}.dist-info'
    info.mkdir(parents=True)
    for file in files:
        (environment.site / file).write_text('')
    lines = ''.join(f'{file},,\n' for file in (*files, *missing))
    (info / 'RECORD').write_text(lines)
    (info / 'INSTALLER').write_text('pip')
    return info


def stamp_all(environment, kind='cpu'):
    steps = set_up.plan_steps(2)
    for step in steps:
        environment.stamp(step, kind)
    return steps


def run_main(checkout, monkeypatch, capsys):
    """Run the script on a checkout; return its status and its error lines."""
    monkeypatch.setattr(set_up, 'ROOT', checkout)
    status = set_up.main()
    return status, capsys.readouterr().err.splitlines()


# What is refused: with one line, status 2, and nothing written.


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_an_older_python_gets_as_far_as_the_check(script):
    # Python parses the older grammar on request down to 3.7 or so; what later versions
    # added (`match`, `:=`, `except*`) is refused.
    ast.parse(script.read_text(), feature_version=(3, 6))
    assert 'from __future__' not in script.read_text()


def test_wrong_python(checkout, monkeypatch, capsys):
    monkeypatch.setattr(machine, 'SUPPORTED', ((3, 99), ))
    status, lines = run_main(checkout, monkeypatch, capsys)
    assert status == 2 and len(lines) == 1
    assert 'Python 3.99 is needed' in lines[0] and 'PYTHON=' in lines[0]
    assert not (checkout / '.venv').exists()


@pytest.mark.parametrize('module', ['venv', 'ensurepip'])
def test_python_that_makes_no_environments(module, checkout, monkeypatch, capsys):
    find_spec = machine.importlib.util.find_spec
    monkeypatch.setattr(machine.importlib.util, 'find_spec',
                        lambda name: None if name == module else find_spec(name))
    status, lines = run_main(checkout, monkeypatch, capsys)
    assert status == 2 and len(lines) == 1 and f'no {module} module' in lines[0]


def test_what_a_link_leads_to_stays(checkout, monkeypatch, capsys, tmp_path_factory):
    there = tmp_path_factory.mktemp('environment')
    (there / 'file').touch()
    (checkout / '.venv').symlink_to(there)
    status, lines = run_main(checkout, monkeypatch, capsys)
    assert status == 2 and len(lines) == 1 and '.venv is a link' in lines[0]
    assert (there / 'file').exists()


def test_no_compiler(checkout, commands, monkeypatch, capsys):
    commands(checkout, 'something', 'true')
    status, lines = run_main(checkout, monkeypatch, capsys)
    assert status == 2 and len(lines) == 1
    assert 'no C++ compiler found' in lines[0] and 'g++' in lines[0]
    assert not (checkout / '.venv').exists()


def test_compiler_that_fails(checkout, commands):
    commands(checkout, 'c++', 'echo "error: what is C++17?"; exit 1')
    with pytest.raises(machine.SetUpError, match=r'what is C\+\+17'):
        machine.find_compiler()


def test_no_disk_space(checkout, monkeypatch, capsys):
    monkeypatch.setattr(set_up, 'find_compiler', lambda: 'c++')
    monkeypatch.setattr(set_up, 'gpu_is_wanted', lambda: False)
    usage = machine.shutil.disk_usage(checkout)._replace(free=3_000_000_000)
    monkeypatch.setattr(machine.shutil, 'disk_usage', lambda path: usage)
    status, lines = run_main(checkout, monkeypatch, capsys)
    assert status == 2 and len(lines) == 1 and '3.0 GB are free' in lines[0]
    assert not (checkout / '.venv').exists()


@pytest.mark.parametrize('driver, nvcc, expected', [
    ('13.0', None, 'no nvcc'),
    ('13.0', '12.4', 'nvcc is of CUDA 12'),
    ('12.4', '13.0', 'driver is for CUDA 12'),
    ('13.1', '13.0', ''),
])
def test_gpu_needs_the_toolkit_of_torch(driver, nvcc, expected, checkout, commands,
                                        monkeypatch):
    commands(checkout, 'nvidia-smi', 'echo "GPU 0: some"; '
             f'echo "| Driver Version: 1.2 CUDA Version: {driver} |"')
    (checkout / 'bin').mkdir()
    monkeypatch.setenv('CUDA_HOME', str(checkout))
    if nvcc:
        compiler = commands(checkout / 'bin', 'nvcc', f'echo "release {nvcc}, V1"; '
                            'echo "#$ _HERE_=/real/cuda/bin"')
        monkeypatch.setenv('PATH', f'{checkout}:{compiler.parent}')
    constraints = (ROOT / 'requirements/constraints.txt').read_text()
    assert machine.gpu_is_wanted()
    if expected:
        with pytest.raises(machine.SetUpError, match=expected) as error:
            machine.find_cuda(constraints)
        assert '13' in str(error.value) and 'MMASVIT_CPU_ONLY=1' in str(error.value)
    else:
        assert machine.find_cuda(constraints) == '/real/cuda'


@pytest.mark.parametrize('name, value', [('MMASVIT_CPU_ONLY', '1'),
                                         ('CUDA_VISIBLE_DEVICES', '')])
def test_gpu_can_be_left_alone(name, value, checkout, commands, monkeypatch):
    commands(checkout, 'nvidia-smi', 'echo "GPU 0: some"')
    monkeypatch.setenv(name, value)
    assert not machine.gpu_is_wanted()


def test_without_an_index_nothing_is_left(checkout, monkeypatch, capsys):
    monkeypatch.setattr(set_up, 'gpu_is_wanted', lambda: False)
    monkeypatch.setattr(set_up, 'find_compiler', lambda: 'c++')
    monkeypatch.setattr(set_up, 'check_disk', lambda folder, needed_gb: None)
    monkeypatch.setattr(set_up.Environment, 'make', lambda self: self.folder.mkdir())
    monkeypatch.setattr(set_up.Runner, 'python', lambda self, *arguments: (
        "WARNING: Retrying after connection broken by 'NewConnectionError'\n"
        'ERROR: No matching distribution found for pip'))
    status, lines = run_main(checkout, monkeypatch, capsys)
    assert status == 2 and len(lines) == 1
    assert 'pip cannot reach its package index' in lines[0]
    assert not (checkout / '.venv').exists()


# What passes for done.


def test_valid_stamps_start_nothing(sound, monkeypatch, capsys):
    stamp_all(sound)
    monkeypatch.setattr(set_up, 'gpu_is_wanted', lambda: False)
    monkeypatch.setattr(set_up.Runner, 'python', None)  # cannot be called
    monkeypatch.setattr(set_up, 'find_compiler', None)
    assert run_main(sound.root, monkeypatch, capsys) == (0, [])


@pytest.mark.parametrize('name, first', [
    ('requirements/torch.txt', 'torch'),
    ('requirements/tests.txt', 'openmmlab+tests'),
    ('requirements/constraints.txt', 'build'),
    ('setup.py', 'mmasvit'),
])
def test_changed_file_invalidates(name, first, sound):
    steps = stamp_all(sound)
    assert sound.count_done(steps, KINDS) == len(steps)
    with open(sound.root / name, 'a') as file:
        file.write('# changed\n')
    assert steps[sound.count_done(steps, KINDS)].name == first


@pytest.mark.parametrize('content', [None, '', '[]', '{"key": 1}'])
def test_missing_or_damaged_stamp(content, sound):
    steps = stamp_all(sound)
    if content is None:
        (sound.stamps / 'mmcv').unlink()
    else:
        (sound.stamps / 'mmcv').write_text(content)
    assert steps[sound.count_done(steps, KINDS)].name == 'mmcv'


def test_a_step_that_begins_is_no_longer_done(sound, monkeypatch, capsys):
    steps = stamp_all(sound)
    (sound.stamps / 'torch').unlink()
    monkeypatch.setattr(set_up, 'find_compiler', lambda: 'c++')
    monkeypatch.setattr(set_up, 'check_disk', lambda folder, needed_gb: None)
    monkeypatch.setattr(set_up, 'gpu_is_wanted', lambda: False)

    def killed(self, step, kind):
        # Nothing may pass for done that a later step of this run would have renewed.
        assert sound.count_done(steps, KINDS) == 1
        sound.stamp(step, kind)
        assert sound.count_done(steps, KINDS) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(set_up.Runner, 'install', killed)
    status, lines = run_main(sound.root, monkeypatch, capsys)
    assert status == 130 and len(lines) == 1 and 'stopped' in lines[0]


def test_removed_package_invalidates_and_an_added_one_does_not(sound):
    steps = stamp_all(sound)
    add_distribution(sound, 'added-1')
    assert sound.count_done(steps, KINDS) == len(steps)
    (sound.site / 'torch-1.dist-info').rename(sound.site / 'torch-2.dist-info')
    assert sound.count_done(steps, KINDS) == 0


def test_gpu_operators_serve_the_cpu_and_not_the_reverse(sound):
    steps = stamp_all(sound, 'cpu')
    assert steps[sound.count_done(steps, ('cuda', ))].name == 'mmcv'
    stamp_all(sound, 'cuda')
    assert sound.count_done(steps, ('cpu', 'cuda')) == len(steps)


# What is repaired.


def test_half_installed_packages_are_forgotten(sound):
    broken = {add_distribution(sound, 'killed-1', missing=['never_written.py']).name,
              add_distribution(sound, 'early-1').name,
              add_distribution(sound, 'late-1').name}
    (sound.site / 'early-1.dist-info/RECORD').unlink()
    (sound.site / 'late-1.dist-info/INSTALLER').unlink()
    (sound.site / '~orch').mkdir()
    add_distribution(sound, 'cleaned-1', missing=['__pycache__/code.cpython-311.pyc'])
    assert set(sound.forget_broken()) == broken
    assert sound.installed() == ['cleaned-1.dist-info', 'torch-1.dist-info']
    assert not (sound.site / '~orch').exists()


def test_faults_of_an_environment(tmp_path):
    environment = set_up_environment.Environment(tmp_path)
    assert environment.fault() == 'it has no working Python'  # nothing there
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', environment.folder],
                   check=True)
    assert environment.fault() == 'it has no working pip'
    (environment.site / 'pip').mkdir()
    (environment.site / 'pip/__main__.py').write_text('print("pip 99")')
    script = environment.folder / 'bin/pip'
    script.write_text(f'#!{environment.python}\n')
    assert environment.fault() == ''
    script.write_text('#!/another/place/.venv/bin/python\n')
    assert environment.fault() == 'it was made in another place'
    script.unlink()
    assert environment.fault() == 'it was made in another place'
    python = environment.folder.joinpath('bin/python')
    python.unlink()
    python.symlink_to('/nowhere/python')
    assert environment.fault() == 'it has no working Python'
    python.unlink()
    python.write_text('#!/bin/sh\necho Python 3.5.1\n')
    python.chmod(0o755)
    assert environment.fault().startswith('its Python is not python3.')


@pytest.mark.parametrize('there, kept, expected', [
    ('sound', 'sound', ['install']),
    ('broken', 'sound', ['uninstall', 'install']),
    ('broken', 'broken', ['uninstall', 'install', 'uninstall', 'cache', 'install']),
])
def test_operators_that_do_not_fit_are_replaced(there, kept, expected, sound,
                                                monkeypatch):
    ran = []
    state = dict(there=there, kept=kept)

    def python(self, *arguments):
        if arguments[0] == '-c':
            return '' if state['there'] == 'sound' else 'ImportError: undefined symbol'
        ran.append(arguments[2])
        if ran[-1] == 'uninstall':
            state['there'] = None
        elif ran[-1] == 'cache':
            state['kept'] = 'sound'  # nothing: pip compiles
        elif state['there'] is None:
            state['there'] = state['kept']
        return ''

    monkeypatch.setattr(set_up.Runner, 'python', python)
    step = next(step for step in set_up.plan_steps(2) if step.name == 'mmcv')
    set_up.Runner(sound, {}, 0).install(step, 'cpu')
    assert ran == expected
    assert sound.is_done(step, ('cpu', ))


# Commands: their output, their failures, their end.


@pytest.fixture
def runner(checkout):
    environment = set_up_environment.Environment(checkout)
    environment.folder.mkdir()
    environment.python = sys.executable
    return set_up.Runner(environment, dict(os.environ),
                         set_up.take_lock(environment))


def test_output_goes_to_the_log_and_progress_to_the_screen(runner, monkeypatch, capsys):
    monkeypatch.setattr(set_up, 'SAY_EVERY', 0)
    program = ('import time; print("[3/78] c++ a.cpp", flush=True); time.sleep(1.2); '
               'print("end")')
    assert runner.python('-c', program) == ''
    assert '3 of 78 files compiled' in capsys.readouterr().out
    assert 'end' in runner.environment.log.read_text().splitlines()


def test_failure_ends_in_the_line_that_tells(runner):
    runner.environment.python = '/bin/echo'
    runner.python('No space left on device: an earlier run')
    runner.environment.python = runner.environment.folder / 'pip'
    Path(runner.environment.python).write_text(
        '#!/bin/sh\necho "ERROR: no such version"\necho "some hint"\nexit 1\n')
    Path(runner.environment.python).chmod(0o755)
    runner.environment.python = str(runner.environment.python)
    with pytest.raises(machine.SetUpError, match='failed: ERROR: no such version$'):
        runner.pip('something')


def test_killed_command_says_so(runner):
    program = ('import os; print("[6/78] c++ " + 999 * "x", flush=True); '
               'os.kill(os.getpid(), 9)')
    output = runner.python('-c', program)
    assert machine.last_line(output) == 'error: killed by signal 9'
    assert len(machine.last_line(output.replace('error', ''))) <= 200


def test_stopping_stops_the_children_too(runner, monkeypatch):
    def interrupt(self):
        if runner.environment.log.read_text().rstrip().endswith('started'):
            raise KeyboardInterrupt

    monkeypatch.setattr(set_up.Progress, 'show', interrupt)
    program = ('import subprocess, sys; subprocess.run(["sh", "-c", "echo started; '
               'sleep 600"], pass_fds=[int(sys.argv[1])])')
    with pytest.raises(KeyboardInterrupt):
        runner.python('-c', program, str(runner.lock))
    os.close(runner.lock)
    # The innermost child holds the lock as well: it is free when that child has ended.
    lock = os.open(runner.environment.root, os.O_RDONLY)
    for _ in range(100):
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.1)
    pytest.fail('a child lives on')


def test_two_set_ups_take_turns(checkout, monkeypatch, capsys):
    environment = set_up_environment.Environment(checkout)
    first = set_up.take_lock(environment)
    monkeypatch.setattr(time, 'sleep', lambda seconds: os.close(first))
    set_up.take_lock(environment)
    assert 'another one is at work' in capsys.readouterr().out


# What is installed.


def test_requirements_are_pinned_and_agree():
    def pins(path):
        lines = [line for line in path.read_text().splitlines()
                 if line and not line.startswith('#')]
        assert all(re.fullmatch(r'[\w.-]+==[\w.+]+', line) for line in lines), path
        return {line.lower() for line in lines}

    constraints = pins(ROOT / 'requirements/constraints.txt')
    for path in (ROOT / 'requirements').glob('*.txt'):
        assert pins(path) <= constraints


def test_makefile_starts_everything_with_the_set_up():
    makefile = (ROOT / 'Makefile').read_text()
    for target in ('demo', 'test', 'bench'):
        assert f'\n{target}: set-up\n' in makefile
    assert 'make test' in (ROOT / '.ci/run').read_text()
