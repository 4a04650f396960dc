"""From a config file and command line flags to a Runner that can start."""
import argparse
import inspect
import logging
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Tuple

import torch
import torch.distributed
from mmengine.config import Config, DictAction
from mmengine.dist import is_main_process
from mmengine.registry import DATASETS, LOOPS, RUNNERS
from mmengine.runner import Runner
from rich.progress import track

from mmasvit.datasets import checks
from mmasvit.errors import InputError
from mmasvit.search.work import MEASUREMENTS

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def add_config_arguments(parser: argparse.ArgumentParser,
                         what: str = 'config file') -> None:
    """Add what :func:`load_config` takes."""
    parser.add_argument('config', help=what)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='K=V',
                        help='override settings of the config, as in '
                        'train_dataloader.batch_size=4')


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the config and the flags that every tool around a Runner shares."""
    add_config_arguments(parser)
    parser.add_argument('--work-dir', help='folder for logs and checkpoints; default: '
                        "the config's, or work_dirs/<name of the config>")
    parser.add_argument('--launcher', choices=LAUNCHERS, default='none',
                        help='how the processes were started')
    # torch.distributed.launch passes it; torchrun sets the variable instead
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the tools that call :func:`check_data`."""
    parser.add_argument('--no-data-check', action='store_true',
                        help='do not look at every image file before starting')


def add_resume_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--resume`` of the tools whose runs leave checkpoints."""
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='go on from CHECKPOINT, or without a value from the latest '
                        'one in the work directory')


def set_resume(cfg: Config, args: argparse.Namespace) -> None:
    """Apply ``--resume``.

    Raises:
        InputError: If the checkpoint to start from does not exist.
    """
    if args.resume:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    check_checkpoint(cfg.get('load_from'))


def load_config(path: str, cfg_options: Optional[dict] = None) -> Config:
    """Read a config file.

    Raises:
        InputError: If it (or a config it builds on) is missing or cannot be read.
    """
    if not os.path.isfile(path):
        raise InputError(f'config {path} does not exist')
    try:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(cfg_options or {})
    except InputError:
        raise
    except Exception as error:  # a config is a program: anything can go wrong in it
        line = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'config {path} cannot be read: {line}') from error
    return cfg


def prepare(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the shared flags to a config, and start the process group if need be.

    Raises:
        InputError: If the work directory cannot be written.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    cfg.work_dir = (args.work_dir or cfg.get('work_dir')
                    or os.path.join('work_dirs', Path(cfg.filename).stem))
    check_writable(cfg.work_dir)
    if args.launcher != 'none' and not torch.cuda.is_available():
        _use_gloo(cfg)


def _use_gloo(cfg: Config) -> None:
    """Let several processes work without a GPU.

    mmengine's launcher picks a CUDA device before it starts a group, but leaves a group
    alone that exists already; and its wrapper pins the model to a device.
    """
    if cfg.launcher != 'pytorch':
        raise InputError(f"launcher '{cfg.launcher}' needs a GPU; without one start with "
                         "torchrun and --launcher pytorch")
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))


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
    """Raise :class:`InputError` if a local checkpoint file does not exist."""
    if path and '://' not in path and not os.path.isfile(path):
        raise InputError(f'checkpoint {path} does not exist')


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
    given = dict(cfg.get(entry) or {})
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


def build_runner(cfg: Config) -> Runner:
    """Build the config's Runner."""
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


@contextmanager
def measuring(cfg: Config) -> Iterator[None]:
    """Around a run that measures: interrupted it loses nothing, refused it leaves nothing.

    Some settings are checked by what a Runner builds, when its log is open already.
    """
    there = set(os.listdir(cfg.work_dir))
    try:
        yield
    except KeyboardInterrupt:
        print(f'what was measured is kept in {cfg.work_dir}; the same command with '
              '--resume goes on', file=sys.stderr)
        raise
    except InputError:
        new = set(os.listdir(cfg.work_dir)) - there
        if is_main_process() and MEASUREMENTS not in new:
            for path in (Path(cfg.work_dir, name) for name in new):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def leave() -> None:
    """End a finished process of a gloo group at once.

    The group's threads live on in objects that the interpreter frees late or never; now
    and then C++ finds one still running when its own clean-up begins, and aborts a run
    that has succeeded. So nothing is cleaned up but what has been written.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == 'gloo':
        torch.distributed.barrier()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
