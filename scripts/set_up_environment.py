"""``.venv/`` as it lies on the disk: what is in it, what of it is sound, its stamps."""
# Syntax of Python 3.6, as set_up.py says.
import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys

from set_up_machine import SetUpError, last_line, output_of, python_name


class Environment:
    """``.venv/`` of a checkout: its state on disk, and commands that run in it.

    Args:
        root (Path): The checkout.
    """

    def __init__(self, root):
        self.root = root
        self.folder = root / '.venv'
        self.python = str(self.folder / 'bin' / 'python')
        self.site = self.folder / 'lib' / python_name() / 'site-packages'
        self.log = self.folder / 'set_up.log'
        # On the same disk, and cleared: /tmp is often small, and a killed pip leaves
        # gigabytes there.
        self.temporary = self.folder / 'tmp'
        self.stamps = self.folder / 'stamps'

    def fault(self):
        """Say why it has to be made from scratch; '' if it is sound."""
        if not os.path.exists(self.python):
            return 'it has no working Python'
        version = output_of(self.python, '--version').split()[-1:]
        if not version or f'python{version[0]}'.rpartition('.')[0] != python_name():
            return f'its Python is not {python_name()}'
        if not output_of(self.python, '-m', 'pip', '--version').startswith('pip '):
            return 'it has no working pip'
        # The scripts in bin/ name the folder that they were made in.
        script = self.folder / 'bin' / 'pip'
        if (not script.exists()
                or os.fsencode(str(self.folder)) not in script.read_bytes()[:1000]):
            return 'it was made in another place'
        return ''

    def make(self):
        """Make it from scratch."""
        # Not from an environment that is active: it may be the one that is removed.
        python = getattr(sys, '_base_executable', sys.executable)
        made = subprocess.run([python, '-m', 'venv', '--clear', str(self.folder)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        if made.returncode:
            raise SetUpError(f'{python} cannot make {self.folder}: '
                             f'{last_line(made.stdout)}')

    def installed(self):
        """List what pip installed completely: names with versions."""
        return sorted(record.parent.name
                      for record in self.site.glob('*.dist-info/RECORD'))

    def forget_broken(self):
        """Make pip install again what a killed pip left half-installed.

        pip takes a folder ``NAME.dist-info`` for an installation, though it is there
        before all files are; ``INSTALLER`` and the final ``RECORD`` come last.

        Returns:
            List[str]: The folders that were removed.
        """
        broken = []
        for info in self.site.glob('*.dist-info'):
            complete = (info / 'INSTALLER').exists() and (info / 'RECORD').exists()
            if complete:
                with (info / 'RECORD').open(newline='', encoding='utf-8') as record:
                    files = [row[0] for row in csv.reader(record) if row]
                complete = all((self.site / file).exists() for file in files
                               if not file.endswith('.pyc'))
            if not complete:
                broken.append(info.name)
                shutil.rmtree(str(info))
        for leftover in self.site.glob('~*'):  # a package that pip was about to remove
            shutil.rmtree(str(leftover), ignore_errors=True)
        return broken

    def key(self, step, kind):
        """Hash what the result of a step depends on."""
        parts = [str(self.root), python_name(), step.name, kind * (step.name == 'mmcv')]
        parts += [(self.root / file).read_text(encoding='utf-8') for file in step.files]
        return hashlib.sha256('\0'.join(parts).encode()).hexdigest()

    def is_done(self, step, kinds):
        """Tell whether the stamp of a step holds, and nothing was removed since."""
        try:
            stamp = json.loads((self.stamps / step.name).read_text())
            return (stamp['key'] in [self.key(step, kind) for kind in kinds]
                    and set(stamp['installed']) <= set(self.installed()))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def count_done(self, steps, kinds):
        """Count the steps whose result, and that of all before, still holds."""
        return next((number for number, step in enumerate(steps)
                     if not self.is_done(step, kinds)), len(steps))

    def forget(self, steps):
        """Remove the stamps of steps that are about to be done again."""
        for step in steps:
            (self.stamps / step.name).unlink(missing_ok=True)

    def stamp(self, step, kind):
        """Note what a step was made from, and what was installed at its end."""
        self.stamps.mkdir(exist_ok=True)
        content = dict(key=self.key(step, kind), installed=self.installed())
        partial = self.folder / 'stamp.part'
        partial.write_text(json.dumps(content))
        partial.replace(self.stamps / step.name)
