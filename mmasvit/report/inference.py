"""Running a checkpoint on data, for a page."""
import hashlib
import json
import time
from pathlib import Path
from typing import Callable, Dict, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmasvit.engine import checkpoints
from mmasvit.engine.blame import blaming
from mmasvit.errors import InputError
from mmasvit.files import replacing, write_json
from mmasvit.report.quiet import quiet

RUN = 'run.json'  # what a kept result was made with


def load_model(cfg: Config, path: Path, loader: str) -> nn.Module:
    """A config's model with a checkpoint's weights, in evaluation mode, on a GPU if any.

    Args:
        cfg: The config; its classes are put in the checkpoint's order.
        path: The checkpoint.
        loader: Name of the loader whose data the model will see.

    Raises:
        InputError: If the checkpoint is not of this model, or of other classes.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with quiet():
        checkpoint = checkpoints.read(str(path))
        checkpoints.settle_classes(cfg, checkpoint, str(path), loader)
        with blaming('model'):
            model = MODELS.build(cfg.model)
    checkpoints.check_fit(model, checkpoint, str(path))
    return model.to('cuda:0' if torch.cuda.is_available() else 'cpu').eval()


def build_loader(loader: dict, batch_size: int = 1) -> DataLoader:
    """A loader of a config's data in order, in this process."""
    changed = dict(loader, batch_size=batch_size, num_workers=0,
                   persistent_workers=False, drop_last=False,
                   sampler=dict(type='DefaultSampler', shuffle=False))
    changed.pop('batch_sampler', None)
    with quiet(), blaming('dataloader'):
        return Runner.build_dataloader(changed)


def timed(model: nn.Module, batch: dict) -> Tuple[list, float]:
    """What a model says of a batch, and the seconds it took."""
    return timed_call(lambda: model.test_step(batch), model)


def timed_call(call: Callable[[], object], model: nn.Module) -> Tuple[object, float]:
    """What a call of a model gives, and the seconds it took."""
    gpu = next(model.parameters()).is_cuda
    if gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.no_grad():
        result = call()
    if gpu:
        torch.cuda.synchronize()
    return result, time.perf_counter() - start


def device_name(model: nn.Module) -> str:
    """What a model runs on, for people."""
    if next(model.parameters()).is_cuda:
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f'CPU, {threads} thread{"" if threads == 1 else "s"}'


def digest(*parts: object) -> str:
    """A name for files (given as paths) and values, other for other content.

    Raises:
        InputError: If a file cannot be read.
    """
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            try:
                with open(part, 'rb') as file:
                    whole.update(hashlib.file_digest(file, 'sha256').digest())
            except OSError as error:
                raise InputError(f'{part}: {error.strerror}') from None
        else:
            whole.update(repr(part).encode())
    return whole.hexdigest()


def read_kept(folder: Path, key: str, name: str) -> Optional[Tuple[object, dict]]:
    """A result that was kept under the same key, and the facts beside it.

    Args:
        folder: Where results are kept.
        key: Of all that the result depends on.
        name: The result's file.
    """
    try:
        facts = json.loads((folder / RUN).read_text(encoding='utf-8'))
        if facts.pop('key') != key:
            return None
        return json.loads((folder / name).read_text(encoding='utf-8')), facts
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def keep(folder: Path, key: str, name: str, result: object, facts: Dict[str, object]
         ) -> None:
    """Keep a result and facts for :func:`read_kept`.

    Raises:
        InputError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{folder} cannot be written: {error.strerror}') from None
    with replacing(folder / name) as temporary:
        Path(temporary).write_text(json.dumps(result), encoding='utf-8')
    write_json(folder / RUN, dict(key=key, **facts))  # last: where it is, all is
