"""From a config's loaders and evaluators to a checked set of data.

What is wrong is found by :mod:`mmasvit.coco`; here stands which files a config means and
what it does with them, and what is put right in it: names of classes in the order of the
labels, and mended copies of annotation files in the place of the user's.
"""
import inspect
import os
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

from mmengine.config import Config
from mmengine.fileio import list_from_file
from mmengine.registry import DATASETS
from rich.console import Console
from rich.progress import track

from mmasvit.coco.annotations import CocoFile
from mmasvit.coco.checks import find_faults
from mmasvit.coco.findings import Finding, shown
from mmasvit.coco.folders import ClassFolders, check_folders
from mmasvit.coco.images import look_at
from mmasvit.coco.mending import MENDED, mend
from mmasvit.coco.parts import (Part, check_files, check_image_files, refused,
                                report_parts)
from mmasvit.coco.report import DataReport, SplitReport
from mmasvit.coco.view import Use, View
from mmasvit.errors import InputError

MENDED_FOLDER = 'annotations'  # of a work directory: what the run reads in place of yours


@dataclass
class Split:
    """A dataset of a config, and what is done with it.

    Args:
        name: ``'train'``, ``'val'`` or ``'test'``, with a number from the second on.
        dataset: Its place in the config, which may be changed.
        type: Its class.
        metrics: Places of the COCO metrics that score it.
    """
    name: str
    dataset: dict
    type: type
    metrics: List[dict] = field(default_factory=list)

    @property
    def train(self) -> bool:
        return self.name.startswith('train')

    @property
    def root(self) -> str:
        return self.dataset.get('data_root') or ''

    @property
    def ann_file(self) -> str:
        return os.path.join(self.root, self.dataset.get('ann_file') or '')

    @property
    def image_folder(self) -> str:
        prefix = self.dataset.get('data_prefix') or {}
        return os.path.join(self.root, prefix.get('img', '') if isinstance(
            prefix, dict) else prefix)

    @property
    def classes(self) -> Optional[Tuple[str, ...]]:
        """Names that the config gives, in its order."""
        classes = (self.dataset.get('metainfo') or {}).get('classes')
        if isinstance(classes, str):
            if not os.path.isfile(classes):
                raise InputError(f'metainfo.classes is the text {classes!r}: a single '
                                 f'class is classes=({classes!r}, )')
            classes = list_from_file(classes)
        if classes is None:
            classes = self.type.METAINFO.get('classes')
        return classes if classes is None else tuple(classes)


def inspect_data(cfg: Config, loaders: Sequence[str], images: bool,
                 order: Optional[Sequence[str]] = None) -> DataReport:
    """Find out what the datasets of a config hold, and put right what can be.

    Datasets on remote disks and of kinds that are not known are passed over.

    Args:
        cfg: The config; classes, and paths of annotation files, may be changed in it.
            Mended copies go to ``cfg.work_dir``; without one nothing is mended.
        loaders: Which of its loaders will be used.
        images: Whether to look at the image files.
        order: The classes by label, where a checkpoint has settled them. Defaults to
            the order of the first annotation file.

    Raises:
        InputError: If a folder or a file is missing, or is not at all what it should be.
    """
    splits = list(_splits(cfg, loaders))
    with _read_once():
        coco = [split for split in splits if _is_coco(split.type)]
        parts = [Part(split.name, View(_read(split.ann_file), _use(split)),
                      split.image_folder, _by_opencv(split)) for split in coco]
        classes = parts[0].view.classes if parts else ()
        if order and set(order) == set(classes):
            classes = tuple(order)
        found = check_files(parts, classes)
        for split, part, findings in zip(coco, parts, found):
            if not refused(findings):
                findings += _class_findings(cfg, split, part.view, classes)
                findings += _metric_findings(split, part.view)
        if images:
            check_image_files(parts, found, show_progress)
            if not any(map(refused, found)):
                for split, part, findings in zip(coco, parts, found):
                    findings += _map_findings(split, part)
        report = report_parts(parts, found)
        if not report.refusals:
            for split, part in zip(coco, parts):
                _put_right(cfg, split, part.view, classes)
    folders = [split for split in splits if _is_folder(split)]
    return DataReport({**report.splits, **_inspect_folders(cfg, folders)})


def show_progress(results: Iterable, total: int, what: str) -> Iterable:
    """Show on a terminal how far a look at many files has come."""
    console = Console(stderr=True)
    return track(results, what, total=total, console=console, transient=True,
                 disable=not console.is_terminal)


def model_heads(model: dict) -> Iterator[Tuple[str, dict]]:
    """Heads of a detector that predict the dataset's classes, with their names.

    Other parts, a semantic head for one, may have other classes by design.
    """
    for owner, part in [('', model), ('roi_head.', model.get('roi_head') or {})]:
        for name in ('bbox_head', 'mask_head', 'mask_iou_head'):
            heads = part.get(name) or []
            for head in heads if isinstance(heads, (list, tuple)) else [heads]:
                if isinstance(head, dict) and not head.get('class_agnostic'):
                    yield f'{owner}{name}', head
    for inner in model.values():  # a model around a model
        if isinstance(inner, dict) and 'backbone' in inner:
            yield from model_heads(inner)


def _splits(cfg: Config, loaders: Sequence[str]) -> Iterator[Split]:
    for loader in loaders:
        name = loader.split('_')[0]
        metrics = list(_coco_metrics(cfg.get(f'{name}_evaluator')))
        datasets = _datasets((cfg.get(loader) or {}).get('dataset'))
        for number, dataset in enumerate(datasets, 1):
            root, ann_file = dataset.get('data_root') or '', dataset.get('ann_file') or ''
            backend = (dataset.get('backend_args') or {}).get('backend', 'local')
            if '://' in f'{root}{ann_file}' or backend != 'local':
                continue
            if root and not os.path.isdir(root):
                raise InputError(f'data_root {root} does not exist')
            found = dataset.get('type')
            if isinstance(found, str):
                scope = cfg.get('default_scope')
                with DATASETS.switch_scope_and_registry(scope) as registry:
                    found = registry.get(found)
            if inspect.isclass(found):
                yield Split(name if number == 1 else f'{name}_{number}', dataset, found,
                            metrics)


def _datasets(cfg: Optional[dict]) -> Iterator[dict]:
    """The innermost datasets under wrappers such as RepeatDataset and ConcatDataset."""
    if not cfg:
        return
    if cfg.get('dataset') or cfg.get('datasets'):
        for inner in cfg.get('datasets') or [cfg['dataset']]:
            yield from _datasets(inner)
    else:
        yield cfg


def _coco_metrics(evaluator) -> Iterator[dict]:
    """The COCO metrics of an evaluator's config."""
    if isinstance(evaluator, (list, tuple)):
        for inner in evaluator:
            yield from _coco_metrics(inner)
    elif isinstance(evaluator, dict):
        if str(evaluator.get('type')).endswith('CocoMetric'):
            yield evaluator
        yield from _coco_metrics(evaluator.get('metrics'))


def _is_coco(kind: type) -> bool:
    """Whether a dataset reads its files as mmdet's CocoDataset does."""
    base = next((parent for parent in kind.__mro__
                 if parent.__name__ == 'CocoDataset'), None)
    return base is not None and all(
        getattr(kind, name) is getattr(base, name)
        for name in ('load_data_list', 'parse_data_info', 'filter_data'))


@lru_cache(maxsize=None)
def _read(path: str) -> CocoFile:
    return CocoFile.read(path)


@contextmanager
def _read_once() -> Iterator[None]:
    """Let splits of one file share it, no longer than need be."""
    try:
        yield
    finally:
        _read.cache_clear()


def _use(split: Split) -> Use:
    filters = (None if split.dataset.get('test_mode') else
               split.dataset.get('filter_cfg')) or {}
    scoring = [metric for metric in split.metrics if not metric.get('format_only')]
    names = [name for metric in scoring for name in (
        [metric['metric']] if isinstance(metric.get('metric'), str)
        else metric.get('metric') or [])]
    return Use(
        classes=split.classes, train=split.train, scored=bool(scoring),
        masks=any(step.get('with_mask') for step in split.dataset.get('pipeline') or []
                  if str(step.get('type')).endswith('LoadAnnotations')),
        masks_scored='segm' in names, min_size=filters.get('min_size', 0),
        filter_empty=bool(filters.get('filter_empty_gt', False)))


def _by_opencv(split: Split) -> bool:
    """Whether images are loaded as mmdet does by default; other loaders read others."""
    return all(step.get('imdecode_backend', 'cv2') == 'cv2'
               and step.get('color_type', 'color') == 'color'
               for step in split.dataset.get('pipeline') or []
               if str(step.get('type')).split('.')[-1].startswith('Load')
               and 'Image' in str(step.get('type')))


def _class_findings(cfg: Config, split: Split, view: View,
                    order: Tuple[str, ...]) -> List[Finding]:
    """Classes against the model's heads, and the config's order against the labels'."""
    findings, total = [], len(view.classes)
    for name, head in model_heads(cfg.get('model') or {}):
        if head.get('num_classes', total) != total:
            findings.append(Finding(
                'head-classes', True, total, head['num_classes'],
                f"the model's {name} predicts {head['num_classes']} classes, the dataset "
                f'has {total}: set num_classes in every head'))
            break
    roi_head = (cfg.get('model') or {}).get('roi_head') or {}
    if split.train and roi_head.get('mask_head') and not view.use.masks:
        findings.append(Finding(
            'mask-head', True, 1, 1, "the model has a mask head, the dataset's pipeline "
            'loads no masks: LoadAnnotations(with_mask=True) or roi_head.mask_head=None'))
    if set(split.classes or ()) == set(order) and split.classes != order:
        findings.append(Finding(
            'class-order', False, total, total, "the config's classes are in another "
            'order than the labels, which follow the file: '
            f'{shown(order, total)} is taken'))
    return findings


def _map_findings(split: Split, part: Part) -> List[Finding]:
    """Semantic maps that are loaded beside the images, as HTC's head wants them."""
    if not any(step.get('with_seg') for step in split.dataset.get('pipeline') or []):
        return []
    prefix, paths = split.dataset.get('data_prefix') or {}, part.images
    if not prefix.get('seg'):
        return [Finding('semantic-maps', True, len(paths), len(paths),
                        'the pipeline loads semantic maps (with_seg=True), data_prefix '
                        'has no folder of them (seg=...)')]
    folder = os.path.join(split.root, prefix['seg'])
    suffix = split.dataset.get('seg_map_suffix', '.png')
    names = (os.path.relpath(path, part.image_folder) for path in paths)
    maps = [os.path.join(folder, os.path.splitext(name)[0] + suffix) for name in names]
    bad = [look for look in look_at(maps, lambda looks: show_progress(
        looks, len(maps), f'looking at the semantic maps of {part.name}')) if look.fault]
    return [Finding('semantic-maps', True, len(bad), len(maps),
                    f'{len(bad)} of {len(maps)} semantic maps: {bad[0].text}')
            ] if bad else []


def _metric_findings(split: Split, view: View) -> List[Finding]:
    """The files of the metrics against the loader's."""
    findings = []
    for metric in split.metrics:
        path = metric.get('ann_file')
        if not path or '://' in path or _same(path, view.coco.path):
            continue
        scored = _read(path)
        missing = set(view.coco.images.ids) - set(scored.images.ids)
        more = set(scored.images.ids) - set(view.coco.images.ids)
        line = f"the evaluator's ann_file {path} is another file"
        ids = [{row['name']: row['id'] for row in file.categories
                if row['name'] in view.classes} for file in (view.coco, scored)]
        if list(ids[0].items()) != list(ids[1].items()):
            findings.append(Finding('evaluator-file', True, 1, 1,
                                    f'{line}, with other categories or another order'))
        elif missing:
            findings.append(Finding(
                'evaluator-file', True, len(missing), len(view.coco.images),
                f'{line}, which lacks {len(missing)} of {len(view.coco.images)} images; '
                f'ids {shown(missing)}'))
        elif not metric.get('format_only'):
            if more:
                findings.append(Finding(
                    'evaluator-images', False, len(more), len(scored.images),
                    f'{line}, with {len(more)} images more, on which all is missed'))
            findings += [replace(found, text=f'{line}: {found.text}')
                         for found in find_faults(_scored(path, view))]
    return findings


def _put_right(cfg: Config, split: Split, view: View, order: Tuple[str, ...]) -> None:
    """Change a dataset's config: the order of its classes, a mended copy of its file."""
    if split.classes is not None and split.classes != order:
        info = dict(split.dataset.get('metainfo') or {})
        palette = info.get('palette')
        if isinstance(palette, (list, tuple)) and len(palette) == len(order):
            info['palette'] = [palette[split.classes.index(name)] for name in order]
        split.dataset['metainfo'] = dict(info, classes=order)
    if cfg.get('work_dir'):
        moved = order if view.classes != order else None
        copied = _copy_if_needed(cfg, split.name, view, moved)
        for number, metric in enumerate(split.metrics):
            path = metric.get('ann_file') or ''
            if path and _same(path, view.coco.path):
                metric['ann_file'] = copied or path
            elif path and '://' not in path:
                metric['ann_file'] = _copy_if_needed(
                    cfg, f'{split.name}_evaluator_{number}', _scored(path, view),
                    moved) or path
        if copied:
            split.dataset['ann_file'] = copied


def _copy_if_needed(cfg: Config, name: str, view: View,
                    order: Optional[Tuple[str, ...]]) -> Optional[str]:
    """Path of a mended copy; None where nothing is to be mended."""
    kinds = {finding.kind for finding in find_faults(view)}
    if order is None and not kinds & set(MENDED):
        return None
    path = os.path.abspath(Path(cfg.work_dir, MENDED_FOLDER, f'{name}.json'))
    mend(view, path, order)
    return path


def _scored(path: str, view: View) -> View:
    """A file that a metric compares with, in the use of the loader's."""
    return View(_read(path), replace(view.use, masks=False))


def _is_folder(split: Split) -> bool:
    """Whether a dataset takes its classes from the names of folders, as mmpretrain's."""
    names = [parent.__name__ for parent in split.type.__mro__]
    return 'CustomDataset' in names and not split.dataset.get('ann_file') and (
        split.dataset.get('with_label', True))


def _inspect_folders(cfg: Config, splits: Sequence[Split]) -> Dict[str, SplitReport]:
    reports, train = {}, None
    head = ((cfg.get('model') or {}).get('head') or {}).get('num_classes')
    for split in splits:
        path = split.image_folder
        if 'ImageNet' in split.type.__name__ and split.dataset.get('split'):
            if os.path.isfile(Path(split.root, 'meta', f"{split.dataset['split']}.txt")):
                continue  # the list of the images says what they are
            if not split.dataset.get('data_prefix'):
                path = os.path.join(path, split.dataset['split'])
        folders = ClassFolders.read(path, _extensions(split))
        classes = [dict(name=name, images=count, objects=count)
                   for name, count in folders.images.items()]
        total = sum(folders.images.values())
        reports[split.name] = SplitReport(
            ann_file=path, image_folder=path, images=total, objects=total, crowds=0,
            images_without_objects=0, masks=0, classes=classes,
            areas=dict(small=0, medium=0, large=0), image_sizes={},
            findings=check_folders(folders, train, head))
        train = train or folders
    return reports


def _extensions(split: Split) -> Sequence[str]:
    default = inspect.signature(
        split.type.__mro__[[parent.__name__ for parent in split.type.__mro__].index(
            'CustomDataset')].__init__).parameters['extensions'].default
    return split.dataset.get('extensions') or default


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
