"""A recipe as the text of a config file."""
import os
import textwrap
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from mmasvit.config_text import literal, quotable
from mmasvit.errors import InputError
from mmasvit.recipe.decide import JITTER, Rate, Schedule, Sizing
from mmasvit.recipe.facts import BaseFacts, DataFacts, Part

FLIPS = {'none': None, 'horizontal': ['horizontal'],
         'all': ['horizontal', 'vertical', 'diagonal']}
WIDTH = 90


class Recipe(NamedTuple):
    """All that the config says.

    Attributes:
        base: The config that it builds on.
        base_name: How it refers to it.
        data_root: Folder that the paths of the data are relative to.
        train, val, test: The parts of the set.
        data: What is in the training part.
        masks: Whether masks are predicted.
        backbone: What changes in the backbone, see :func:`mmasvit.recipe.backbone`.
        in_channels: Of the neck, if they change.
        sizing: How images are resized.
        crop: Side of training crops in pixels.
        flips: A key of ``FLIPS``.
        batch_size: Images in a step of each process.
        processes: Number of processes.
        detections: Detections kept per image.
        schedule: How long.
        rate: Learning rate.
        new_optimizer: Whether AdamW takes the place of the base's optimizer.
        seed: Seed of everything.
        why: Lines that say what was found and decided.
        commands: What to run, for the docstring.
    """
    base: BaseFacts
    base_name: str
    data_root: Path
    train: Part
    val: Part
    test: Part
    data: DataFacts
    masks: bool
    backbone: Optional[Dict[str, Any]]
    in_channels: Optional[List[int]]
    sizing: Sizing
    crop: int
    flips: str
    batch_size: int
    processes: int
    detections: int
    schedule: Schedule
    rate: Rate
    new_optimizer: bool
    seed: int
    why: Tuple[str, ...]
    commands: Tuple[str, ...]


class Code(str):
    """Text that is an expression already."""


def write_config(recipe: Recipe) -> str:
    """The text of the config."""
    classes = recipe.data.classes
    parts = [
        f'"""{quotable(_about(recipe))}\n"""\n_base_ = {literal(recipe.base_name)}',
        *_imports(recipe),
        f'data_root = {literal(_folder(recipe.data_root))}\n'
        f'classes = {literal(classes, indent=11)}\nnum_classes = len(classes)',
        _assign('model', _model(recipe)),
        f'{_pipelines(recipe)}',
        _loaders(recipe),
        _schedule(recipe),
    ]
    return '\n\n'.join(parts) + '\n'


def _about(recipe: Recipe) -> str:
    lines = [f'A detector for {_named(recipe.data.classes)}, by tools/new_config.py.', '']
    lines += [f'    {command}' for command in recipe.commands] + ['']
    for line in recipe.why:
        lines += textwrap.wrap(line, WIDTH - 2, initial_indent='- ',
                               subsequent_indent='  ')
    return '\n'.join(lines)


def _named(classes: Tuple[str, ...]) -> str:
    few = ', '.join(' '.join(name.split()) for name in classes[:4])
    more = len(classes) - 4
    return few + (f' and {more} other classes' if more > 0 else '')


def _imports(recipe: Recipe) -> List[str]:
    """What our own configs bring along and others do not."""
    if 'mmasvit' in str((recipe.base.cfg.get('custom_imports') or {}).get('imports')):
        return []
    return ["custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)\n"
            '# epochs that do not depend on the ones before make a resumed run equal\n'
            "custom_hooks = [dict(type='EpochSeedHook')]"]


# --------------------------------------------------------------------------- the model


def _model(recipe: Recipe) -> dict:
    model: Dict[str, Any] = {}
    base = recipe.base.model
    divisor, least = recipe.base.pad_size_divisors
    if divisor > least:  # crops are not padded: on padding anything would be found
        model['data_preprocessor'] = dict(pad_size_divisor=least)
    if recipe.backbone:
        model['backbone'] = recipe.backbone
    if recipe.in_channels:
        model['neck'] = dict(in_channels=recipe.in_channels)
    for at in recipe.base.head_paths:
        _set_classes(model, base, at)
    if not recipe.masks:
        _drop_masks(model, base, recipe.base.path)
    if recipe.detections > 100:
        model['test_cfg'] = _limits(base, recipe.detections)
    return model


def _set_classes(model: dict, base: dict, at: Tuple) -> None:
    """Override ``num_classes`` at a place; all of a list of heads at once."""
    inner = model
    for depth, name in enumerate(at):
        base = base[name]
        if isinstance(base, (list, tuple)):
            if depth != len(at) - 2:
                raise InputError(f'base: num_classes at {".".join(map(str, at))} of the '
                                 'model is too deep in a list to be set')
            where = '.'.join(map(str, at[:depth + 1]))
            inner[name] = Code('[\n    dict(head, num_classes=num_classes)\n'
                               f'    for head in _base_.model.{where}]')
            return
        inner = inner.setdefault(name, {})
    inner['num_classes'] = Code('num_classes')


def _drop_masks(model: dict, base: dict, path: Path) -> None:
    heads = base.get('roi_head') or {}
    parts = [name for name in ('mask_roi_extractor', 'mask_head') if name in heads]
    for name in parts:
        model.setdefault('roi_head', {})[name] = None
    if 'mask_head' in base:
        raise InputError(f'base {path} needs masks, which not all objects of the set '
                         'have')


def _limits(base: dict, detections: int) -> dict:
    """Test settings that leave room for so many detections per image."""
    settings = base.get('test_cfg') or {}
    if 'rcnn' not in settings:
        return dict(max_per_img=detections) if 'max_per_img' in settings else {}
    rpn = settings.get('rpn') or {}
    return dict(
        rpn={key: max(rpn.get(key, 0), 2 * detections) for key in
             ('nms_pre', 'max_per_img')},
        rcnn=dict(max_per_img=max(settings['rcnn'].get('max_per_img', 0), detections)))


# ---------------------------------------------------------------------------- the data


def _pipelines(recipe: Recipe) -> str:
    load = dict(type='LoadAnnotations', with_bbox=True, with_mask=recipe.masks)
    # polygons are resized and cropped in a tenth of the time that bitmaps take
    keep_polygons = recipe.masks and not recipe.data.rles
    load_train = dict(load, poly2mask=False) if keep_polygons else load
    sizing = recipe.sizing
    if sizing.factor:
        resize = dict(type='Resize', scale_factor=sizing.factor, keep_ratio=True)
        jitter = dict(type='RandomChoice', transforms=Code(
            '[\n    [dict(type=\'Resize\', scale_factor=factor, keep_ratio=True)]\n    '
            f'for factor in {tuple(round(sizing.factor * j, 3) for j in JITTER)}]'))
    else:
        scale = (sizing.long_side, ) * 2
        resize = dict(type='Resize', scale=scale, keep_ratio=True)
        jitter = dict(type='RandomResize', scale=scale,
                      ratio_range=(JITTER[0], JITTER[-1]), keep_ratio=True)
    flips = FLIPS[recipe.flips]
    flip = [] if not flips else [
        dict(type='RandomFlip', prob=0.5) if len(flips) == 1 else
        dict(type='RandomFlip', prob=[0.25] * len(flips), direction=flips)]
    train = [dict(type='LoadImageFromFile'), load_train, jitter,
             dict(type='RandomCrop', crop_size=(recipe.crop, ) * 2), *flip,
             dict(type='PackDetInputs')]
    test = [dict(type='LoadImageFromFile'), resize, load,
            dict(type='PackDetInputs', meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))]
    return '\n'.join(
        f'{name}_pipeline = [\n' + ''.join(
            f'    {_text(transform, 4)},\n' for transform in pipeline) + ']'
        for name, pipeline in (('train', train), ('test', test)))


def _loaders(recipe: Recipe) -> str:
    """Loaders and evaluators."""
    metainfo = dict(classes=Code('classes'))
    if len(recipe.data.classes) > 80:
        metainfo['palette'] = None  # COCO's own has 80 colours
    lines = [_assign('metainfo', metainfo)]
    train = _dataset(recipe, recipe.train, 'train')
    min_size = _base_dataset(recipe, 'train').get('filter_cfg', {}).get('min_size', 0)
    if min_size > recipe.data.sizes.min():
        train['filter_cfg'] = dict(filter_empty_gt=True, min_size=0)
    loader = dict(batch_size=recipe.batch_size, dataset=train)
    if recipe.schedule.images_per_epoch:
        loader['sampler'] = dict(
            _delete_=True, type='StreamSampler',
            images_per_epoch=recipe.schedule.images_per_epoch)
    if _imports(recipe):
        loader.update(persistent_workers=False,
                      worker_init_fn=dict(type='mmengine.seed_worker'))
    lines.append(_assign('train_dataloader', loader))
    lines.append(_assign('val_dataloader', dict(
        dataset=_dataset(recipe, recipe.val, 'val'))))
    separate = recipe.test.split != recipe.val.split
    lines.append(_assign('test_dataloader', dict(
        dataset=_dataset(recipe, recipe.test, 'test'))) if separate else
        'test_dataloader = val_dataloader')
    lines.append(_assign('val_evaluator', _evaluator(recipe, recipe.val)))
    lines.append(_assign('test_evaluator', _evaluator(recipe, recipe.test)) if separate
                 else 'test_evaluator = val_evaluator')
    return '\n'.join(lines)


def _base_dataset(recipe: Recipe, name: str) -> dict:
    return (recipe.base.cfg.get(f'{name}_dataloader') or {}).get('dataset') or {}


def _dataset(recipe: Recipe, part: Part, name: str) -> dict:
    start = {}
    if _base_dataset(recipe, name).get('type') != 'CocoDataset':
        start = dict(_delete_=True, type='CocoDataset')
        start.update(dict(filter_cfg=dict(filter_empty_gt=True)) if name == 'train'
                     else dict(test_mode=True))
    folder = _below(recipe.data_root, part.split.image_folder)
    return dict(
        start, data_root=Code('data_root'), metainfo=Code('metainfo'),
        ann_file=_below(recipe.data_root, part.split.ann_file),
        data_prefix=dict(img=_folder(folder) if folder else ''),
        pipeline=Code('train_pipeline' if name == 'train' else 'test_pipeline'))


def _evaluator(recipe: Recipe, part: Part) -> dict:
    path = _below(recipe.data_root, part.split.ann_file)
    text = Code(literal(path) if os.path.isabs(path) else f'data_root + {literal(path)}')
    start = {}
    if (recipe.base.cfg.get('val_evaluator') or {}).get('type') != 'CocoMetric':
        start = dict(_delete_=True, type='CocoMetric')
    return dict(start, metric=['bbox', 'segm'] if recipe.masks else 'bbox', ann_file=text)


def _below(root: Path, path: Path) -> str:
    """A path relative to a folder that it is in; any other stays absolute."""
    relative = os.path.relpath(path, root)
    if relative == os.curdir:
        return ''
    return os.path.abspath(path) if relative.startswith(os.pardir) else relative


def _folder(path) -> str:
    return os.path.join(str(path), '')


# ------------------------------------------------------------------------ the schedule


def _schedule(recipe: Recipe) -> str:
    plan = recipe.schedule
    total = recipe.batch_size * recipe.processes
    wrapper: Dict[str, Any] = dict(optimizer=dict(lr=recipe.rate.lr))
    if recipe.new_optimizer:
        wrapper = dict(
            _delete_=True, type='OptimWrapper', optimizer=dict(
                type='AdamW', lr=recipe.rate.lr, weight_decay=0.05),
            clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(norm_decay_mult=0.))
    lines = [
        f'max_epochs = {plan.epochs}',
        _assign('train_cfg', dict(
            _delete_=True, type='EpochBasedTrainLoop', max_epochs=Code('max_epochs'),
            val_interval=plan.val_interval)),
        _assign('optim_wrapper', wrapper),
        'param_scheduler = [\n'
        '    dict(type=\'LinearLR\', start_factor=1e-2, by_epoch=False, begin=0, '
        f'end={plan.warm_up}),\n'
        '    dict(type=\'CosineAnnealingLR\', by_epoch=True, begin=0, T_max=max_epochs,\n'
        f'         eta_min={recipe.rate.lr / 100:.2g}, convert_to_iter_based=True),\n]',
        '# another number of processes has another batch: the rate follows it',
        _assign('auto_scale_lr', dict(enable=True, base_batch_size=total)),
        _assign('default_hooks', dict(checkpoint=dict(interval=plan.val_interval,
                                                      max_keep_ckpts=2))),
        _assign('randomness', dict(seed=recipe.seed)),
    ]
    return '\n'.join(lines)


# -------------------------------------------------------------------------- formatting


def _assign(name: str, value) -> str:
    return f'{name} = {_text(value, 0, len(name) + 3)}'


def _text(value, indent: int, used: int = 0) -> str:
    """Python text of a value, in mmengine's style of ``dict(...)``.

    Args:
        value: Dicts and lists of literals and :class:`Code`.
        indent: Columns that the line begins with.
        used: Columns more that are taken on the first line.
    """
    if isinstance(value, Code):
        return value.replace('\n', '\n' + ' ' * indent)
    if not isinstance(value, dict):
        return literal(value, indent)
    inner = [f'{key}={_text(item, indent + 4, len(key) + 1)}'
             for key, item in value.items()]
    line = f'dict({", ".join(inner)})'
    if '\n' not in line and indent + used + len(line) < WIDTH:
        return line
    space = ' ' * (indent + 4)
    return 'dict(\n' + ',\n'.join(space + item for item in inner) + ')'
