"""The machine that ``set_up.py`` finds: what it lacks is said before work starts."""
# An older Python 3 has to get as far as check_python: no syntax beyond Python 3.6 here.
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

SUPPORTED = ((3, 11), )  # the Python versions that an install has been shown with
CPU_ONLY_HINT = 'or build without GPU operators: MMASVIT_CPU_ONLY=1 make ...'
# Variables that would send what pip installs, or what Python imports, elsewhere.
MISLEADING = ('PYTHONPATH', 'PYTHONHOME', 'PIP_USER', 'PIP_TARGET', 'PIP_PREFIX')
TRIAL_PROGRAM = '''
#include <Python.h>
#include <optional>
int main() { return std::optional<int>(0).value(); }
'''


class SetUpError(Exception):
    """One clear line for the user: what is wrong, and what would be right."""


def python_name():
    """Return the name of this Python, as its packages are called: python3.11."""
    return f'python{sys.version_info[0]}.{sys.version_info[1]}'


def last_line(text):
    """Return the last line that says something, the last error if there is one.

    A compiler's command line is cut: what matters of a line comes first.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r'(^|\s|\w)[Ee](RROR|rror):', line)]
    return (errors or lines or ['no output'])[-1][:200]


def output_of(*command):
    """Run a command that may be missing or fail; return its output, '' if so."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, universal_newlines=True,
                              check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ''


def check_python():
    """Refuse a Python that nobody has tried, or one that cannot make environments."""
    if sys.version_info[:2] not in SUPPORTED:
        wanted = ' or '.join(f'{major}.{minor}' for major, minor in SUPPORTED)
        raise SetUpError(
            f'Python {wanted} is needed, {sys.executable} is '
            f'{sys.version.split()[0]}: install it, or name it: '
            f'make PYTHON=/path/to/python{wanted.split()[0]} ...')
    for module in ('venv', 'ensurepip'):
        if importlib.util.find_spec(module) is None:
            raise SetUpError(
                f'{sys.executable} has no {module} module, which .venv/ is made with: '
                f'install it (on Debian and Ubuntu: {python_name()}-venv)')


def find_compiler():
    """Find a C++17 compiler that can build a Python extension.

    Returns:
        str: Its command.
    """
    named = os.environ.get('CXX')
    names = [named] if named else ['c++', 'g++', 'clang++']
    compiler = next((name for name in names if shutil.which(name.split()[0])), None)
    if compiler is None:
        raise SetUpError(f'no C++ compiler found ({", ".join(names)}): install one (on '
                         'Debian and Ubuntu: g++), or name it with CXX=')
    headers = sysconfig.get_path('include')
    if not Path(headers, 'Python.h').exists():
        raise SetUpError(f"Python's C headers are missing ({headers}/Python.h): "
                         f'install them (on Debian and Ubuntu: {python_name()}-dev)')
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, 'trial.cpp').write_text(TRIAL_PROGRAM)
        trial = subprocess.run(
            [*compiler.split(), '-std=c++17', f'-I{headers}', 'trial.cpp'], cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True)
    if trial.returncode:
        raise SetUpError(f'the C++ compiler {compiler} fails on a C++17 program '
                         f'({last_line(trial.stdout)}): install a newer or complete '
                         'one, or name it with CXX=')
    return compiler


def gpu_is_wanted():
    """Tell whether operators for a GPU are to be built."""
    cpu_only = os.environ.get('MMASVIT_CPU_ONLY', '0') not in ('', '0')
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    return not cpu_only and not hidden and 'GPU ' in output_of('nvidia-smi', '-L')


def find_cuda(constraints):
    """Find the CUDA toolkit that the pinned torch wants.

    Args:
        constraints (str): The pinned versions.

    Returns:
        str: Its folder.
    """
    wanted = re.search(r'^cuda-toolkit==(\d+)', constraints, re.M).group(1)
    driver = re.search(r'CUDA Version: (\d+)', output_of('nvidia-smi'))
    if driver and int(driver.group(1)) < int(wanted):
        raise SetUpError(f"the GPU's driver is for CUDA {driver.group(1)}, torch needs "
                         f'{wanted}: update the driver, {CPU_ONLY_HINT}')
    # Where torch looks, in its order.
    home = os.environ.get('CUDA_HOME') or os.environ.get('CUDA_PATH')
    nvcc = f'{home}/bin/nvcc' if home else shutil.which('nvcc')
    nvcc = nvcc or '/usr/local/cuda/bin/nvcc'
    release = re.search(r'release (\d+)\.', output_of(nvcc, '--version'))
    if release is None or release.group(1) != wanted:
        found = f'{nvcc} is of CUDA {release.group(1)}' if release else 'no nvcc'
        raise SetUpError(f'there is a GPU, but {found}: install the CUDA {wanted} '
                         f'toolkit and set CUDA_HOME, {CPU_ONLY_HINT}')
    # nvcc may be a link or a wrapper: only it knows the folder that its headers are in.
    plan = output_of(nvcc, '--dryrun', '-x', 'cu', os.devnull)
    binaries = re.search(r'_HERE_=(.+)', plan)
    return os.path.dirname(binaries.group(1) if binaries else os.path.dirname(nvcc))


def check_disk(folder, needed_gb):
    """Refuse to start something that would fill the disk."""
    free_gb = shutil.disk_usage(str(folder)).free / 1e9
    if free_gb < needed_gb:
        raise SetUpError(f'{needed_gb:.1f} GB of disk space are needed in {folder}, '
                         f'{free_gb:.1f} GB are free: free some and run this again')


def compile_jobs(with_cuda):
    """Bound the number of compilers by cores and by memory."""
    if os.environ.get('MAX_JOBS', '').isdigit():
        return max(1, int(os.environ['MAX_JOBS']))
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity')
              else os.cpu_count() or 1]
    # The memory of the machine, and of the container. A compiler takes up to 1.5 GB,
    # one that compiles for a GPU more.
    for path, pattern, unit in (('/proc/meminfo', r'MemAvailable:\s*(\d+)', 1024),
                                ('/sys/fs/cgroup/memory.max', r'^(\d+)', 1)):
        text = Path(path).read_text() if os.path.exists(path) else ''
        found = re.search(pattern, text)
        if found:
            limits.append(int(found.group(1)) * unit / (4e9 if with_cuda else 2e9))
    return max(1, int(min(limits)))


def build_variables(temporary, jobs, compiler, cuda_home):
    """Return the environment variables that everything is installed with.

    Args:
        temporary (Path): Folder for temporary files.
        jobs (int): Compilers that may run at a time.
        compiler (str): The C++ compiler.
        cuda_home (str): Folder of the CUDA toolkit, '' to build for the CPU only.

    Returns:
        Dict[str, str]: The variables, those of the user included.
    """
    variables = {name: value for name, value in os.environ.items()
                 if name not in MISLEADING}
    variables.update(TMPDIR=str(temporary), MAX_JOBS=str(jobs), CXX=compiler,
                     MMCV_WITH_OPS='1')
    # Python hands on the -g of its own build, and debug symbols are half of the time.
    # setuptools adds CPPFLAGS to those flags; CFLAGS would replace them, -O3 too.
    variables['CPPFLAGS'] = f'{variables.get("CPPFLAGS", "")} -g0'.strip()
    if cuda_home:
        variables.update(CUDA_HOME=cuda_home)
    else:
        variables.update(CUDA_VISIBLE_DEVICES='', FORCE_CUDA='0')
    return variables
