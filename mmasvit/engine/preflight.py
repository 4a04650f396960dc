"""Every check that a run must pass before it starts."""
import copy
import os
import tempfile
from types import SimpleNamespace
from typing import Iterator, Optional, Sequence, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import LOOPS, MODELS

from mmasvit.arguments import whole_number
from mmasvit.coco.report import DataReport
from mmasvit.engine.blame import blaming
from mmasvit.engine.data import inspect_data
from mmasvit.errors import InputError
from mmasvit.geometry import NUM_STAGES
from mmasvit.measuring.sharing import on_main_process

LOADERS = ('train_dataloader', 'val_dataloader')


def check_seed(randomness: dict) -> None:
    seed = randomness.get('seed') if isinstance(randomness, dict) else randomness
    if seed is not None or not isinstance(randomness, dict):
        whole_number('randomness.seed', seed, 0, 2**32 - 1)


def check_writable(folder: str) -> None:
    """Make a folder and check that files can be made in it.

    Raises:
        InputError: If not.
    """
    try:
        folder = os.fspath(folder)
        folder.encode('utf-8')
    except UnicodeEncodeError:
        raise InputError(f'work directory {folder}: its name is no UTF-8 text') from None
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f'work directory {folder} is not writable: '
                         f'{error.strerror}') from None


def check_device(device: str) -> None:
    """Raise :class:`InputError` if torch cannot compute on a device."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f'device {device!r}: {str(error).splitlines()[0]}') from None


def check_loop(cfg: Config, name: str) -> None:
    """Raise :class:`InputError` unless a config's ``train_cfg`` is of a loop.

    Args:
        cfg: The config.
        name: Name of the loop in the registry.
    """
    given = cfg.get('train_cfg')
    if not isinstance(given, dict) or given.get('type') != name:
        raise InputError(f"config {cfg.filename} is not for this tool: its train_cfg.type "
                         f"must be '{name}'")


def check_measuring(cfg: Config) -> None:
    """Build a loop that measures, and its model, without a Runner.

    What such a loop refuses, it refuses in its constructor; a Runner would have begun a
    log by then.

    Raises:
        InputError: If the model or the loop is refused.
    """
    with blaming(f'config {cfg.filename}: model'):
        model = MODELS.build(cfg.get('model'))
    stand_in = SimpleNamespace(cfg=cfg, work_dir=cfg.work_dir, model=model)
    LOOPS.build(cfg.train_cfg, default_args=dict(
        runner=stand_in, dataloader=cfg.get('train_dataloader')))


def check_levels(cfg: Config) -> None:
    """Check that several processes would find a gradient for each output's norm.

    Raises:
        InputError: If a neck leaves the first of an AsViT's maps out (RetinaNet, FCOS and
            ATSS of mmdet do), at which ``DistributedDataParallel`` stops the run.
    """
    wrapper = cfg.get('model_wrapper_cfg') or {}
    if cfg.get('launcher', 'none') == 'none' or cfg.get('find_unused_parameters') or (
            wrapper.get('find_unused_parameters')):
        return
    for model in _models_of(cfg.get('model')):
        backbone, neck = model['backbone'], model.get('neck')
        if not str(backbone.get('type')).endswith('AsViT'):
            continue
        necks = neck if isinstance(neck, (list, tuple)) else [neck]
        first = max([part.get('start_level', 0) for part in necks
                     if isinstance(part, dict)], default=0)
        levels = tuple(backbone.get('out_indices', range(NUM_STAGES)))
        if (backbone.get('output_norm', True) and levels[:first]
                and levels[first - 1] >= backbone.get('frozen_stages', -1)):
            raise InputError(
                f'several processes: start_level={first} of the neck leaves out maps of '
                f'out_indices={levels}, whose norms would get no gradient, and '
                f'DistributedDataParallel would stop; set out_indices={levels[first:]} of '
                f"the backbone, start_level=0 and the last {len(levels) - first} of "
                'in_channels of the neck, or find_unused_parameters=True')


def _models_of(cfg: object) -> Iterator[dict]:
    """Every model in a config of one that has a backbone."""
    if isinstance(cfg, dict):
        if isinstance(cfg.get('backbone'), dict):
            yield cfg
        for value in cfg.values():
            yield from _models_of(value)


def check_data(cfg: Config, loaders: Tuple[str, ...] = LOADERS,
               images: bool = True,
               order: Optional[Sequence[str]] = None) -> DataReport:
    """Check the data that a config's loaders name, as far as it lies on local disks.

    One process does it for all. What can be put right is, in the config and in copies
    below its work directory, and said.

    Args:
        cfg: The config; its datasets and evaluators may be changed.
        loaders: Which of its loaders will be used.
        images: Whether to look at every image file of COCO datasets.
        order: The classes by label, if a checkpoint has settled them.

    Returns:
        What there is.

    Raises:
        InputError: If data is missing, damaged, or not of the model's classes.
    """
    names = [name for loader in loaders
             for name in (loader, loader.replace('dataloader', 'evaluator'))
             if cfg.get(name) is not None]

    def inspect_once():
        report = inspect_data(cfg, loaders, images, order)
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
