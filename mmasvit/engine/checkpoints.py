"""A checkpoint is the model's, the classes' and the optimizer's, or it is refused.

mmengine loads what fits and logs the rest among a hundred other lines: a classifier's
checkpoint in a detector gives a trained backbone under heads of random numbers.
"""
import re
from typing import Dict, List, Optional, Sequence

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from torch import Tensor, nn

from mmasvit.errors import InputError, printable
from mmasvit.weights import read_checkpoint


def read(path: str) -> dict:
    """Read a checkpoint onto the CPU.

    Raises:
        InputError: If it cannot be read or holds no named tensors.
    """
    checkpoint = read_checkpoint(path)
    if not isinstance(checkpoint, dict) or not _weights(checkpoint):
        raise InputError(f'checkpoint {path} holds no weights')
    return checkpoint


def check_fit(model: nn.Module, checkpoint: dict, path: str, whole: bool = True) -> None:
    """Load a checkpoint's weights and refuse it where they are not the model's.

    Args:
        model: What to load them into; a wrapper's own is taken out of it.
        checkpoint: From :func:`read`.
        path: Its name, for the message.
        whole: Whether all must fit, as for a test. Otherwise, as for a start of
            training, it is enough that something does. Defaults to True.

    Raises:
        InputError: If not; the line says what is missing, left over or of another shape.
    """
    while isinstance(getattr(model, 'module', None), nn.Module):
        model = model.module
    weights = _weights(checkpoint)
    own = model.state_dict()
    fitting = [key for key in own if key in weights]
    if fitting and not whole:
        return
    misfits: List[str] = []
    try:
        found = model.load_state_dict(weights, strict=False)
        # statistics that torch before 1.0 did not count
        missing = [key for key in found.missing_keys
                   if not key.endswith('num_batches_tracked')]
        surplus = list(found.unexpected_keys)
    except RuntimeError as error:  # torch's way to say that shapes differ
        misfits = re.findall(r'size mismatch for (.*?)(?:\.\s*$|$)', str(error), re.M)
        if not misfits:
            raise
        missing = [key for key in own if key not in weights]
        surplus = [key for key in weights if key not in own]
    if misfits or missing or surplus:
        raise InputError(
            f'checkpoint {path} does not fit the model: {len(missing)} tensors are '
            f'missing{_first(missing)}, {len(surplus)} left over{_first(surplus)}, '
            f'{len(misfits)} of another shape{_first(misfits)}; it is of {_parts(weights)}'
            f", the config's model of {_parts(own)}")


def check_resumable(checkpoint: dict, path: str) -> None:
    """Raise :class:`InputError` if a training run cannot go on from a checkpoint."""
    lacking = [name for name in ('meta', 'message_hub', 'optimizer')
               if name not in checkpoint]
    if lacking:
        raise InputError(
            f'--resume: checkpoint {path} has no {" and no ".join(lacking)}, weights '
            f'only; to begin a new run with them: --cfg-options load_from={path}')


def classes_of(checkpoint: dict) -> Optional[Sequence[str]]:
    """Names of the classes that a checkpoint's labels stand for, if it says so."""
    meta = checkpoint.get('meta') or {}
    names = {key.lower(): value
             for key, value in (meta.get('dataset_meta') or {}).items()}
    found = names.get('classes') or meta.get('CLASSES')  # of mmdet 2
    return (found, ) if isinstance(found, str) else found and tuple(found)


def classes_of_config(cfg: Config, loader: str = 'test_dataloader',
                      defaults: bool = True) -> Optional[Sequence[str]]:
    """Names of the classes of a config's data.

    Args:
        cfg: The config.
        loader: Whose dataset. Defaults to that of the test.
        defaults: Whether those of the dataset's type count where the config has none.
    """
    dataset = (cfg.get(loader) or {}).get('dataset') or {}
    while dataset.get('dataset') or dataset.get('datasets'):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    names = (dataset.get('metainfo') or {}).get('classes')
    if names is None and defaults and 'type' in dataset:
        with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
            names = getattr(registry.get(dataset['type']), 'METAINFO', {}).get('classes')
    return names and tuple(names)


def settle_classes(cfg: Config, checkpoint: dict, path: str,
                   loader: str = 'test_dataloader', defaults: bool = True) -> None:
    """Compare a checkpoint's classes with the config's, before anything is built.

    The numbers of the classes are those that the checkpoint was trained with: where the
    config has the same names in another order, the checkpoint's order is put there.

    Args:
        cfg: The config; its datasets may be changed.
        checkpoint: From :func:`read`.
        path: Its name, for the messages.
        loader: Whose dataset. Defaults to that of the test.
        defaults: As in :func:`classes_of_config`.

    Raises:
        InputError: If they are of other names.
    """
    trained, wanted = classes_of(checkpoint), classes_of_config(cfg, loader, defaults)
    if not trained or not wanted or trained == wanted:
        return
    if sorted(trained) != sorted(wanted):
        raise InputError(f'checkpoint {path} is of the classes {_short(trained)}, the '
                         f"config's {loader} of {_short(wanted)}")
    print_log(f'The classes are in the order of {path}: {_short(trained)}; the config '
              f'has {_short(wanted)}.', logger='current')
    _set_classes(cfg[loader].dataset, wanted, trained)


def refuse_other_classes(cfg: Config, checkpoint: dict, path: str) -> None:
    """Raise :class:`InputError` if training would go on with other classes."""
    trained = classes_of(checkpoint)
    wanted = classes_of_config(cfg, 'train_dataloader')
    if trained and wanted and trained != wanted:
        raise InputError(f'--resume: checkpoint {path} is of the classes '
                         f"{_short(trained)}, the config's data of {_short(wanted)}")


def _set_classes(dataset: dict, old: Sequence[str], new: Sequence[str]) -> None:
    """Rename the classes in a dataset's config and in those it wraps."""
    for inner in (dataset.get('datasets') or []) + [dataset.get('dataset')]:
        if inner:
            _set_classes(inner, old, new)
    metainfo = dataset.get('metainfo')
    if metainfo and tuple(metainfo.get('classes') or ()) == tuple(old):
        metainfo['classes'] = new


def _weights(checkpoint: dict) -> Dict[str, Tensor]:
    """The named tensors, without the prefix of a model that was wrapped."""
    state = checkpoint.get('state_dict', checkpoint)
    return {re.sub(r'^module\.', '', key): value for key, value in state.items()
            if isinstance(key, str) and isinstance(value, Tensor)}


def _parts(state: Dict[str, Tensor]) -> str:
    return ', '.join(dict.fromkeys(key.split('.')[0] for key in state))


def _first(items: List[str]) -> str:
    return f' ({items[0]}{", ..." if len(items) > 1 else ""})' if items else ''


def _short(names: Sequence[str], most: int = 8) -> str:
    shown = ', '.join(map(printable, names[:most]))
    return f'({shown}{", ..." if len(names) > most else ""})'
