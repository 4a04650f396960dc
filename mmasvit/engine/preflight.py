"""Every check that a run must pass before it starts."""
import os
import tempfile
import zipfile
from types import SimpleNamespace
from typing import Iterator, List, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import DATASETS, LOOPS, MODELS
from rich.progress import track

from mmasvit.arguments import whole_number
from mmasvit.datasets import checks
from mmasvit.errors import InputError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


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
    try:
        model = MODELS.build(cfg.get('model'))
    except (KeyError, TypeError) as error:
        line = ' '.join(str(error).strip('"').split())
        raise InputError(f'config {cfg.filename}: model: {line}') from error
    stand_in = SimpleNamespace(cfg=cfg, work_dir=cfg.work_dir, model=model)
    LOOPS.build(cfg.train_cfg, default_args=dict(
        runner=stand_in, dataloader=cfg.get('train_dataloader')))


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
