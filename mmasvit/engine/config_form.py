"""The form that a config must have, whatever its parts are: declared, and checked once.

What stands here is what our own code relies on before a part is made; what a part takes
beyond it, it says itself when it is made.
"""
import difflib
import inspect
import math
import os
from typing import Any, Callable, Iterable, Iterator, Tuple, Union

from mmengine.config import Config
from mmengine.runner import Runner

from mmasvit.arguments import Either, check_shape, real, whole_number
from mmasvit.errors import InputError

MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))


def _whole(least: int, most: int = 2**63 - 1) -> Callable[[Any], int]:
    return lambda value: whole_number('it', value, least, most)


def _count(least: int) -> Callable[[Any], int]:
    """As :func:`_whole`; mmdet's own configs hold whole numbers that were computed."""
    return lambda value: whole_number(
        'it', int(value) if isinstance(value, float) and value.is_integer() else value,
        least)


def _dataset(value: Any) -> None:
    check_shape('it', value, _DATASET)


def _evaluator(value: Any) -> None:
    check_shape('it', value, _EVALUATOR)


def _anything(value: Any) -> None:
    pass


_TEXT, _DICT = Either(str, None), Either(dict, None)
_DATASET = {
    'data_root?': _TEXT, 'ann_file?': _TEXT,
    'data_prefix?': Either({str: _TEXT}, str, None),
    'metainfo?': Either({'classes?': Either([str], str, None)}, None),
    'pipeline?': Either([Either({'type': _anything}, callable)], None),
    'filter_cfg?': _DICT, 'backend_args?': _DICT,
    'dataset?': _dataset, 'datasets?': [_dataset]}
_LOADER = Either({
    'dataset?': _DATASET, 'batch_size?': _whole(1, 2**31 - 1),
    'num_workers?': _whole(0, MOST_WORKERS)}, None)
_EVALUATOR = Either({
    'metric?': Either(str, [str], None), 'ann_file?': _TEXT,
    'metrics?': Either([_evaluator], _evaluator)}, [_evaluator], None)
_LOOP = Either({
    'max_epochs?': Either(_count(1), None), 'max_iters?': Either(_count(1), None),
    'val_interval?': _count(1), 'val_begin?': _count(0)}, None)
_SCHEDULER = {
    'begin?': real, 'end?': real, 'T_max?': Either(real, None), 'milestones?': [real],
    **{f'{name}?': Either(real, None) for name in (
        'gamma', 'factor', 'start_factor', 'end_factor', 'eta_min', 'power')}}
_HOOK = Either({'type': _anything}, callable)
FORM = {
    'model?': _DICT, 'train_dataloader?': _LOADER, 'val_dataloader?': _LOADER,
    'test_dataloader?': _LOADER, 'val_evaluator?': _EVALUATOR,
    'test_evaluator?': _EVALUATOR, 'train_cfg?': _LOOP, 'val_cfg?': _DICT,
    'test_cfg?': _DICT, 'optim_wrapper?': _DICT,
    'param_scheduler?': Either([_SCHEDULER], _SCHEDULER, None), 'auto_scale_lr?': _DICT,
    'default_hooks?': Either({str: _DICT}, None), 'custom_hooks?': Either([_HOOK], None),
    'env_cfg?': Either({'mp_cfg?': _DICT, 'dist_cfg?': _DICT}, None), 'visualizer?': _DICT,
    'log_processor?': _DICT, 'data_preprocessor?': _DICT, 'load_from?': _TEXT,
    'resume?': bool, 'work_dir?': _TEXT, 'default_scope?': _TEXT,
    'experiment_name?': _TEXT, 'log_level?': Either(str, int), 'study?': _DICT,
    'tta_model?': _DICT, 'tta_pipeline?': Either([dict], None)}
_MODEL = {'data_preprocessor?': _DICT, 'roi_head?': _DICT, 'backbone?': _DICT,
          'test_cfg?': _DICT, 'train_cfg?': _DICT}
# where no number is of use that is not finite
_FINITE = ('optim_wrapper.optimizer.', 'param_scheduler.')
_KNOWN = {name.rstrip('?') for name in FORM} | set(
    inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
        'custom_imports', 'runner_type', 'find_unused_parameters', 'compile',
        'activation_checkpointing', 'efficient_conv_bn_eval', 'model_wrapper_cfg'}


def check_form(cfg: Config, options: Iterable[str] = ()) -> None:
    """Check a config's outer form, its numbers, and the names of its entries.

    Args:
        cfg: The config.
        options: The entries that ``--cfg-options`` has changed.

    Raises:
        InputError: With the first entry that is wrong.
    """
    plain, name = cfg.to_dict(), f'config {cfg.filename}:'
    check_shape(name, plain, FORM)
    check_shape(f'{name} model', plain.get('model') or {}, _MODEL)
    for place, value in _numbers('', plain):
        if isinstance(value, int):
            if abs(value) >= 2**63:
                raise InputError(f'{name} {place} must be a number of at most 64 bits')
        elif math.isnan(value) or math.isinf(value) and place.startswith(_FINITE):
            raise InputError(f'{name} {place} must be a finite number, got {value}')
    for entry in (*plain, *(option.split('.')[0] for option in options)):
        meant = difflib.get_close_matches(entry, _KNOWN, 1, 0.9)
        if meant and entry not in _KNOWN:
            raise InputError(f'{name} {entry} is no entry of a config; {meant[0]} is '
                             'meant?')


def check_entries(cfg: Config, needed: Iterable[str]) -> None:
    """Raise :class:`InputError` if a config lacks an entry that a tool needs."""
    missing = [name for name in needed if cfg.get(name) is None]
    if missing:
        raise InputError(f'config {cfg.filename} has no {" and no ".join(missing)}')


def _numbers(place: str, value: Any) -> Iterator[Tuple[str, Union[int, float]]]:
    """All numbers in a config and where they are."""
    if isinstance(value, (int, float)):
        yield place, value
    elif isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _numbers(f'{place}.{key}'.lstrip('.'), inner)
