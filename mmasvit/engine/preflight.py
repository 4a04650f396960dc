"""Every check that a run must pass before it starts."""
import copy
import inspect
import os
import tempfile
import zipfile
from typing import Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import LOOPS

from mmasvit.coco.report import DataReport
from mmasvit.engine.data import inspect_data
from mmasvit.errors import InputError
from mmasvit.measuring.evaluator import on_main_process

LOADERS = ('train_dataloader', 'val_dataloader')


def check_seed(randomness: dict) -> None:
    seed = randomness.get('seed') if isinstance(randomness, dict) else randomness
    if not isinstance(randomness, dict) or seed is not None and (
            isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32):
        raise InputError('randomness.seed must be a whole number from 0 to 2**32 - 1, '
                         f'got {seed!r}')


def check_writable(folder: str) -> None:
    """Make a folder and check that files can be made in it.

    Raises:
        InputError: If not.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f'work directory {folder} is not writable: '
                         f'{error.strerror}') from None


def check_checkpoint(path: Optional[str]) -> None:
    """Raise :class:`InputError` if a local file is missing or clearly no checkpoint."""
    if not path or '://' in path:
        return
    if not os.path.isfile(path):
        raise InputError(f'checkpoint {path} does not exist')
    with open(path, 'rb') as file:
        pickled = file.read(1) == b'\x80'  # as torch wrote before it took to zip files
    if not pickled and not zipfile.is_zipfile(path):
        raise InputError(f'checkpoint {path} is damaged, or is none')


def check_device(device: str) -> None:
    """Raise :class:`InputError` if torch cannot compute on a device."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f'device {device!r}: {str(error).splitlines()[0]}') from None


def check_loop(cfg: Config, name: str, entry: str = 'train_cfg') -> None:
    """Check that a config is of a loop, and has the arguments that the loop takes.

    Args:
        cfg: The config.
        name: Name of the loop in the registry.
        entry: Where the config describes it, ``'train_cfg'`` or ``'test_cfg'``.

    Raises:
        InputError: If it is of another loop, or an argument is unknown or missing.
    """
    given = cfg.get(entry)
    given = dict(given) if isinstance(given, dict) else {}
    if given.pop('type', None) != name:
        raise InputError(f"config {cfg.filename} is not for this tool: its {entry}.type "
                         f"must be '{name}'")
    filled_in = ('runner', 'dataloader', 'evaluator')
    arguments = {argument: default for argument, default
                 in inspect.signature(LOOPS.get(name)).parameters.items()
                 if argument not in filled_in}
    unknown = [key for key in given if key not in arguments]
    missing = [key for key, argument in arguments.items()
               if argument.default is argument.empty and key not in given]
    if unknown or missing:
        raise InputError(f'{entry}: unknown keys {unknown}, missing keys {missing}; '
                         f'expected {", ".join(arguments)}')


def check_data(cfg: Config, loaders: Tuple[str, ...] = LOADERS,
               images: bool = True) -> DataReport:
    """Check the data that a config's loaders name, as far as it lies on local disks.

    One process does it for all. What can be put right is, in the config and in copies
    below its work directory, and said.

    Args:
        cfg: The config; its datasets and evaluators may be changed.
        loaders: Which of its loaders will be used.
        images: Whether to look at every image file of COCO datasets.

    Returns:
        What there is.

    Raises:
        InputError: If data is missing, damaged, or not of the model's classes.
    """
    names = [name for loader in loaders
             for name in (loader, loader.replace('dataloader', 'evaluator'))
             if cfg.get(name) is not None]

    def inspect_once():
        report = inspect_data(cfg, loaders, images)
        if report.refusals:
            first, *others = report.refusals
            more = f' (and {len(others)} more, see tools/check_data.py)' if others else ''
            raise InputError(first + more)
        for line in report.remarks:
            print(f'data: {line}')
        return report, {name: copy.deepcopy(cfg[name]) for name in names}

    report, checked = on_main_process(inspect_once)
    for name in names:
        cfg[name] = checked[name]
    return report
