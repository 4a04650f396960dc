"""From a config file and command line flags to a Runner that can start."""
import argparse
import logging
import os
import re
import shutil
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple, Union

import torch
import torch.distributed
from mmengine.config import Config, DictAction
from mmengine.dist import init_dist, is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils.dl_utils import set_multi_processing

from mmasvit.engine.blame import blaming
from mmasvit.engine.config_form import check_form
from mmasvit.engine.data import MENDED_FOLDER
from mmasvit.engine.preflight import check_measuring, check_seed, check_writable
from mmasvit.engine.runner import CarefulRunner
from mmasvit.errors import InputError
from mmasvit.lock import locked
from mmasvit.measuring.sharing import on_main_process
from mmasvit.parent import end_with_parent
from mmasvit.weights import DamagedCheckpoint, check_checkpoint, read_checkpoint

PATIENCE = 3  # seconds to wait for a folder: a killed run is gone by then
DATA_FILE = 'data.json'  # in a training's work directory: what it trains on
LAST = 'last_checkpoint'  # there too, by mmengine: the path of the newest


def set_resume(cfg: Config, args: argparse.Namespace) -> None:
    """Apply ``--resume``, when :func:`prepare` has settled the work directory.

    Where there is nothing to resume, the run starts as it would without the flag, and
    says so if there was something.

    Raises:
        InputError: If the checkpoint to start from does not exist or is damaged.
    """
    checkpoint = args.resume
    if checkpoint == 'auto':
        checkpoint, damaged = latest_checkpoint(cfg.work_dir)
        if damaged and is_main_process():
            rest = f'going on from {checkpoint}' if checkpoint else 'beginning anew'
            print(f'--resume: {damaged[0]}: {rest}')
    if checkpoint:
        cfg.resume, cfg.load_from = True, checkpoint
    check_checkpoint(cfg.get('load_from'))


def latest_checkpoint(work_dir: str) -> Tuple[Optional[str], List[str]]:
    """The newest whole checkpoint of a run in a work directory.

    Whatever a kill, a full disk or a bad one has damaged is passed over. The folder may
    have been moved.

    Returns:
        Its path, None if there is none, and a line for each that is damaged.

    Raises:
        InputError: If the newest one holds more than weights and plain values.
    """
    note = Path(work_dir, LAST)
    noted = note.read_bytes().decode(errors='replace') if note.is_file() else ''
    noted = noted.strip() if noted.strip().isprintable() else ''
    if '://' in noted:
        return noted, []
    # under any name and in any folder: CheckpointHook's filename_tmpl and out_dir
    last = [Path(work_dir, os.path.basename(noted)), Path(noted)]
    others = [path for path in Path(work_dir).iterdir() if path.is_file()
              and re.fullmatch(r'(epoch|iter)_\d+\.pth', path.name)]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    damaged = []
    for path in dict.fromkeys(path for path in last + others if path.is_file()):
        try:
            read_checkpoint(str(path))
            return str(path), damaged
        except DamagedCheckpoint as error:
            damaged.append(str(error))
    return None, damaged


def load_config(path: str, cfg_options: Union[Sequence[str], dict, None] = None
                ) -> Config:
    """Read a config file.

    Args:
        path: The file.
        cfg_options: Settings to override, as mmengine's ``--cfg-options`` takes them
            (words such as ``'train_dataloader.batch_size=4'``) or makes of them (a dict).

    Raises:
        InputError: If it (or a config it builds on) is missing, cannot be read, or is
            not of the form that all configs have.
    """
    if not os.path.isfile(path):
        raise InputError(f'config {path} does not exist')
    changes = cfg_options if isinstance(cfg_options, dict) else _changes(cfg_options)
    try:
        _check_bases(path)
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(changes)
    except InputError:
        raise
    except Exception as error:  # a config is a program: anything can go wrong in it
        line = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'config {path} cannot be read: {line}') from error
    check_form(cfg, changes)
    return cfg


def _check_bases(path: str) -> None:
    """Raise :class:`InputError` if a config builds on what is no file: a pipe would never
    end, ``/dev/zero`` fill the memory."""
    for base in Config._get_base_files(path):
        base, _ = Config._get_cfg_path(base, path)
        if not os.path.isfile(base):
            raise InputError(f'config {path} builds on {base}, which is no file')
        _check_bases(base)


def _changes(words: Optional[Sequence[str]]) -> dict:
    """What the words of ``--cfg-options`` change."""
    given = argparse.Namespace(changes={})
    try:
        DictAction('--cfg-options', 'changes')(None, given, words or ())
    except AssertionError as error:  # brackets without their other half
        raise InputError(f'--cfg-options: {error}') from None
    return given.changes


def prepare(cfg: Config, args: argparse.Namespace) -> None:
    """Apply the shared flags to a config, and start the process group if need be.

    Raises:
        InputError: If the work directory cannot be written.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    check_seed(cfg.get('randomness', {}))
    if args.launcher == 'pytorch':
        if 'RANK' not in os.environ:
            raise InputError('--launcher pytorch needs torchrun, as in '
                             'tools/dist_train.sh')
        end_with_parent()
    cfg.work_dir = (args.work_dir or cfg.get('work_dir')
                    or os.path.join('work_dirs', Path(cfg.filename).stem))
    check_writable(cfg.work_dir)
    note = Path(cfg.work_dir, LAST)
    if note.exists() and not note.is_file():
        raise InputError(f'{note} is no file: remove it')
    if args.launcher != 'none':
        if torch.cuda.is_available():
            _start_group(cfg)
        else:
            _use_gloo(cfg)


def _start_group(cfg: Config) -> None:
    """Start the process group as a Runner does, only sooner.

    The checks before it are made by one process for all.
    """
    environment = cfg.get('env_cfg') or {}
    set_multi_processing(**environment.get('mp_cfg', {}), distributed=True)
    if not torch.distributed.is_initialized():
        init_dist(cfg.launcher, **environment.get('dist_cfg', {}))


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


def _initial_weights(cfg: object) -> Iterator[str]:
    """The checkpoints on local disks that a model's config names."""
    if isinstance(cfg, dict):
        for key, value in cfg.items():
            if (isinstance(value, str) and os.path.isfile(value)
                    and (key == 'checkpoint' or key.endswith('_ckpt'))):
                yield value
            else:
                yield from _initial_weights(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from _initial_weights(value)


def build_runner(cfg: Config) -> Runner:
    """Build the config's Runner.

    Raises:
        InputError: If the config names a part, or an argument of one, that does not
            exist or is refused by it.
    """
    for path in _initial_weights(cfg.get('model')):
        read_checkpoint(path)  # before a part reads it by a loader that trusts everybody
    with blaming(f'config {cfg.filename}'):
        if 'runner_type' in cfg:
            return RUNNERS.build(cfg)
        return CarefulRunner.from_cfg(cfg)


@contextmanager
def alone(cfg: Config) -> Iterator[None]:
    """Around a run: no second one works in its work directory meanwhile.

    Raises:
        InputError: If one does, on every process of the job.
    """
    with ExitStack() as held:
        on_main_process(lambda: held.enter_context(
            locked(cfg.work_dir, PATIENCE)))
        yield


@contextmanager
def measuring(cfg: Config) -> Iterator[None]:
    """Around a run that measures: alone in its work directory, and checked first.

    Interrupted it loses nothing.

    Raises:
        InputError: If an argument is wrong, or another run works there.
    """
    with alone(cfg):
        check_measuring(cfg)
        try:
            yield
        except KeyboardInterrupt:
            print(f'what was measured is kept in {cfg.work_dir}; the same command goes '
                  'on, with --resume or without', file=sys.stderr)
            raise


@contextmanager
def training(cfg: Config) -> Iterator[None]:
    """Around a training: alone in its work directory; refused it leaves nothing there.

    Raises:
        InputError: If the run is refused, or another one works there.
    """
    with alone(cfg), refusing(cfg):
        yield


@contextmanager
def refusing(cfg: Config) -> Iterator[None]:
    """Around a run: one that is refused leaves nothing in its work directory.

    Whether a checkpoint fits shows when the model is built, and its Runner's log is open.
    A run that had begun keeps all it wrote.
    """
    there = set(os.listdir(cfg.work_dir))
    try:
        yield
    except InputError as error:
        new = set(os.listdir(cfg.work_dir)) - there
        if error.traced:  # in the log
            new = set()
        # what is written before the first step; with anything else, it had begun
        before = {name for name in new if re.fullmatch(r'\d{8}_\d{6}', name)}
        before |= {os.path.basename(cfg.filename or ''), DATA_FILE, MENDED_FOLDER}
        if is_main_process() and new <= before:
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
