"""Every check that a run must pass before it starts."""
import inspect
import os
import tempfile
import zipfile
from typing import Iterator, List, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import DATASETS, LOOPS
from rich.progress import track

from mmasvit.datasets import checks
from mmasvit.errors import InputError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


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
               images: bool = True) -> None:
    """Check the data that a config's loaders name, as far as it lies on local disks.

    Args:
        cfg: The config.
        loaders: Which of its loaders will be used.
        images: Whether to look at every image file of COCO datasets.

    Raises:
        InputError: If data is missing, damaged, or not of the model's classes.
    """
    paths = set()
    for loader in loaders:
        for dataset in _datasets((cfg.get(loader) or {}).get('dataset')):
            paths.update(_check_dataset(cfg, dataset))
    if images and paths and is_main_process():
        total = len(paths)
        checks.check_images(
            sorted(paths), track=lambda faults: track(
                faults, 'looking at the images', total=total, transient=True))


def _datasets(cfg: Optional[dict]) -> Iterator[dict]:
    """The innermost datasets under wrappers such as RepeatDataset and ConcatDataset."""
    if not cfg:
        return
    if cfg.get('dataset') or cfg.get('datasets'):
        for inner in cfg.get('datasets') or [cfg['dataset']]:
            yield from _datasets(inner)
    else:
        yield cfg


def _check_dataset(cfg: Config, dataset: dict) -> List[str]:
    """Check one dataset's files but for the images; return those."""
    root, ann_file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
    if '://' in root or '://' in ann_file:
        return []  # not on a local disk
    if root and not os.path.isdir(root):
        raise InputError(f'data_root {root} does not exist')
    if not str(dataset.get('type', '')).endswith('CocoDataset'):
        return []
    classes = (dataset.get('metainfo') or {}).get('classes')
    if not classes:
        with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
            classes = registry.get(dataset['type']).METAINFO['classes']
    coco = checks.read_coco(os.path.join(root, ann_file), classes)
    _check_num_classes(cfg.get('model') or {}, classes)
    folder = os.path.join(root, (dataset.get('data_prefix') or {}).get('img', ''))
    return checks.coco_image_paths(coco, folder)


def _check_num_classes(model: dict, classes: Tuple[str, ...]) -> None:
    """Compare the heads of a two-stage or one-stage detector with the dataset."""
    for name in ('roi_head', 'bbox_head'):
        for predicted in _find(model.get(name), 'num_classes'):
            if predicted != len(classes):
                raise InputError(
                    f"the model's {name} predicts {predicted} classes, the dataset has "
                    f'{len(classes)}: set num_classes in every head')


def _find(cfg, key: str) -> Iterator:
    """All values under ``key`` anywhere in nested dicts and lists."""
    if isinstance(cfg, dict):
        for name, value in cfg.items():
            if name == key:
                yield value
            yield from _find(value, key)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from _find(value, key)
