"""A ReViT or DVT on held-out images at every stride: what it says, and its costs."""
import copy
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Collection, Dict, List, Optional, Tuple, Union

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import METRICS, init_default_scope
from pycocotools.coco import COCO
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from mmasvit import analysis
from mmasvit.adaptive import labels
from mmasvit.adaptive.budgets import Costs
from mmasvit.adaptive.dvt import DVT
from mmasvit.adaptive.revit import ReViT
from mmasvit.adaptive.thresholds import ALWAYS, NEVER
from mmasvit.engine.preflight import check_data
from mmasvit.errors import InputError
from mmasvit.report import inference
from mmasvit.report.detector_run import annotation_file, held_out
from mmasvit.report.quiet import quiet


@dataclass(frozen=True)
class Measured:
    """What a model says of images at every stride, an entry per image.

    Args:
        token_strides: The strides, the coarsest first.
        ids: Image ids: of the annotation file, or paths in a classifier's data.
        paths: Where the images lie.
        shapes: Height and width of the network's input in pixels.
        quality: Of each image at each stride, from 0 to 1 ``(images, strides)``.
        confidences: A classifier's largest probabilities, ``(images, strides)``.
        seconds: Time of the model on each image alone, ``(images, strides)``.
        log_probabilities: Of the assigner, ``(images, strides)``; None without one.
        assigner_seconds: Its time for an image.
        score: Accuracy or average precision of a choice, a place per image.
        what: The score's name.
        detector: Whether it is one.
        cascade: Whether each stride computes those before, as a DVT's exits do.
        threshold: Of a detector: the score from which detections count in its quality.
        source: The held-out loader, for people.
        device: What it ran on.
    """
    token_strides: Tuple[int, ...]
    ids: List[str]
    paths: List[str]
    shapes: List[Tuple[int, int]]
    quality: np.ndarray
    confidences: Optional[np.ndarray]
    seconds: np.ndarray
    log_probabilities: Optional[np.ndarray]
    assigner_seconds: float
    score: Callable[[np.ndarray], float]
    what: str
    detector: bool
    cascade: bool
    threshold: Optional[float]
    source: str
    device: str

    def best(self, margin: float = labels.MARGIN, fallback: str = 'coarsest'
             ) -> np.ndarray:
        """Token-length labels as places among the strides."""
        if self.detector:
            return labels.detection_labels(self.quality, margin)
        return labels.classification_labels(self.quality, fallback)


@dataclass
class _Seen:
    """Images in order, and their samples of every stride."""
    samples: List[list]
    seconds: List[List[float]]
    shapes: List[Tuple[int, int]]
    log_probabilities: List[np.ndarray]
    assigner_seconds: List[float]


def check_kind(cfg: Config, *kinds: type) -> None:
    """Raise :class:`InputError` unless a config's model is of one of some types."""
    kind = cfg.model.get('type') if isinstance(cfg.get('model'), dict) else None
    names = [one.__name__ for one in kinds]
    if kind not in kinds and str(kind).split('.')[-1] not in names:
        raise InputError(f'config {cfg.filename}: the model must be of type '
                         f'{" or ".join(map(repr, names))}, is {kind!r}')


def held_out_loader(cfg: Config) -> str:
    """Name of the loader of held-out images; :class:`InputError` if there is none."""
    if analysis.is_detector(cfg):
        return held_out(cfg)[0]
    for name in ('val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            return name
    raise InputError('the config has no held-out data')


def out_of_sample(cfg: Config) -> str:
    """Say which images are held out.

    Raises:
        InputError: If one is among those of the config's training, or there are none.
    """
    name = held_out_loader(cfg)
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    with quiet():
        check_data(cfg, (name, ), images=False)
    paths = list(ids_of(inference.build_loader(cfg[name]).dataset).values())
    what = f'{len(paths)} images of {name}'
    if not cfg.get('train_dataloader'):
        return f'{what}; the config does not say what the model was trained on'
    try:
        trained = ids_of(inference.build_loader(cfg.train_dataloader).dataset).values()
    except FileNotFoundError:
        return f'{what}; the images of training are not here to compare with'
    real = {os.path.realpath(path) for path in trained if path}
    both = [path for path in paths if os.path.realpath(path) in real]
    if both:
        raise InputError(f'{len(both)} of the {what} are also in train_dataloader, such '
                         f'as {both[0]}: their labels would say what was learnt by heart')
    return f'{what}, none of them among the {len(real)} of train_dataloader'


def measure(cfg: Config, checkpoint: Path, without: Collection[str] = ()) -> Measured:
    """Run a checkpoint on its config's held-out images, one by one, at every stride.

    Args:
        cfg: Config of a :class:`ReViT` or :class:`DVT`.
        checkpoint: Its checkpoint.
        without: Ids of images to leave out; they must be there.

    Raises:
        InputError: If the model is none, or the data or the checkpoint do not fit.
    """
    check_kind(cfg, ReViT, DVT)
    detector, name = analysis.is_detector(cfg), held_out_loader(cfg)
    with quiet():
        check_data(cfg, (name, ))
    model = inference.load_model(cfg, checkpoint, name)
    data = inference.build_loader(cfg[name])
    metric = held_out(cfg)[1] if detector else None
    _check_ids(data, without, name)
    seen = _run(model, data, without)
    judge = _detections if detector else _predictions
    facts = judge(seen, model.token_strides, data, cfg[name], metric)
    return Measured(
        token_strides=model.token_strides, shapes=seen.shapes, detector=detector,
        cascade=isinstance(model, DVT),
        seconds=np.array(seen.seconds), source=name,
        log_probabilities=(np.array(seen.log_probabilities) if model.assigner else None),
        assigner_seconds=float(np.median(seen.assigner_seconds or 0.)),
        device=inference.device_name(model), **facts)


def image_id(sample, root: str = '') -> str:
    """An image's id: COCO's, or its path below a data set's folder."""
    number = sample.get('img_id')
    if number is not None:
        return str(number)
    return os.path.relpath(sample.get('img_path'), root or os.path.curdir)


def ids_of(data: Dataset) -> Dict[str, str]:
    """Path of each image by its id."""
    root = getattr(data, 'img_prefix', '')
    entries = [data.get_data_info(place) for place in range(len(data))]
    return {image_id(entry, root): entry.get('img_path') or '' for entry in entries}


def _check_ids(data: DataLoader, given: Collection[str], name: str) -> None:
    there = ids_of(data.dataset) if given else {}
    strangers = [one for one in given if one not in there]
    if strangers:
        raise InputError(f'the labels are of other images: {strangers[0]} is not among '
                         f'the {len(there)} of {name}')


def _run(model: Union[ReViT, DVT], data: DataLoader, without: Collection[str]) -> _Seen:
    """Every image alone, its strides one after the other."""
    seen = _Seen([], [], [], [], [])
    root = getattr(data.dataset, 'img_prefix', '')
    for batch in track(data, 'held-out images at every stride'):
        if image_id(batch['data_samples'][0], root) in without:
            continue
        if not seen.samples:  # the first call of all is slow
            _timed_at(model, batch, model.token_strides[-1])
        found, seconds = zip(*(_timed_at(model, batch, stride)
                               for stride in model.token_strides))
        seen.samples.append(list(found))
        seen.seconds.append(list(seconds))
        size = found[0].get('batch_input_shape') or batch['inputs'][0].shape[-2:]
        seen.shapes.append(tuple(map(int, size)))
        if model.assigner is not None:
            ready = model.data_preprocessor(copy.deepcopy(batch), False)
            scores, elapsed = inference.timed_call(
                lambda: model.assigner.log_probabilities(**ready), model)
            seen.log_probabilities.append(scores[0].cpu().numpy())
            seen.assigner_seconds.append(elapsed)
    if not seen.samples:
        raise InputError('no held-out image is left to measure')
    return seen


def _timed_at(model: Union[ReViT, DVT], batch: dict, stride: int) -> tuple:
    before, model.test_cfg = model.test_cfg, _only(model, stride)
    try:
        samples, seconds = inference.timed(model, copy.deepcopy(batch))
    finally:
        model.test_cfg = before
    return samples[0], seconds


def _only(model: Union[ReViT, DVT], stride: int) -> dict:
    """``test_cfg`` for every image at one stride; of a cascade as if it chose that."""
    if isinstance(model, ReViT):
        return dict(token_stride=stride)
    return dict(thresholds=[NEVER if one > stride else ALWAYS
                            for one in model.token_strides])


def _predictions(seen: _Seen, token_strides: Tuple[int, ...], data: DataLoader,
                 loader: dict, metric: None) -> dict:
    root = getattr(data.dataset, 'img_prefix', '')
    firsts = [samples[0] for samples in seen.samples]
    if any('gt_label' not in sample or sample.gt_label.numel() != 1 for sample in firsts):
        raise InputError('the held-out images have not one label each')
    right = np.array([[bool((one.pred_label == one.gt_label).all()) for one in samples]
                      for samples in seen.samples], float)
    confidences = np.array([[float(one.pred_score.max()) for one in samples]
                            for samples in seen.samples])
    return dict(
        ids=_unique([image_id(one, root) for one in firsts]), confidences=confidences,
        paths=[one.get('img_path') or '' for one in firsts], quality=right,
        score=lambda choice: float(right[np.arange(len(choice)), choice].mean()),
        what='top-1 accuracy', threshold=None)


def _detections(seen: _Seen, token_strides: Tuple[int, ...], data: DataLoader,
                loader: dict, metric: dict) -> dict:
    kind = 'segm' if 'segm' in metric.get('metric', 'bbox') else 'bbox'
    metric = dict(metric, ann_file=annotation_file(loader, metric))
    found = [_results([samples[place] for samples in seen.samples], metric,
                      data.dataset.metainfo, kind)
             for place in range(len(token_strides))]
    numbers = [samples[0].img_id for samples in seen.samples]
    with quiet():
        annotations = COCO(metric['ann_file'])
    matches = [labels.match(annotations, one, kind) for one in found]
    threshold = labels.best_threshold([matches[-1][number] for number in numbers])
    quality = np.array([[one[number].quality(threshold) for one in matches]
                        for number in numbers])
    by_image: List[Dict[int, list]] = []
    for one in found:
        by_image.append({number: [] for number in numbers})
        for detection in one:
            by_image[-1][detection['image_id']].append(detection)

    def score(choice: np.ndarray) -> float:
        mixed = [detection for number, place in zip(numbers, choice)
                 for detection in by_image[place][number]]
        return labels.average_precision(annotations, mixed, kind, numbers)

    return dict(ids=_unique(list(map(str, numbers))),
                paths=[samples[0].img_path for samples in seen.samples], quality=quality,
                confidences=None,
                score=score, what='mask AP' if kind == 'segm' else 'box AP',
                threshold=threshold)


def _results(samples: list, metric: dict, meta: dict, kind: str) -> List[dict]:
    """Detections in COCO's results format, written by mmdet's own metric."""
    with tempfile.TemporaryDirectory() as temporary:
        prefix = os.path.join(temporary, 'found')
        with quiet():
            writer = METRICS.build(dict(metric, format_only=True, outfile_prefix=prefix))
            writer.dataset_meta = meta
            writer.process({}, [sample.to_dict() for sample in samples])
            writer.evaluate(len(samples))
        return json.loads(Path(f'{prefix}.{kind}.json').read_text(encoding='utf-8'))


def _unique(ids: List[str]) -> List[str]:
    if len(set(ids)) < len(ids):
        raise InputError(f'image id {max(ids, key=ids.count)} stands for several images')
    return ids


def costs_of(cfg: Config, measured: Measured) -> Costs:
    """What each image costs: counted, and as it was timed.

    A cascade is counted as it predicts, for each size of image. Of a ReViT the backbone
    is counted for each size of image and stride; neck and heads once, for the most
    frequent size, since they cost the same at every stride.
    """
    with quiet():
        model = analysis.build_to_count(cfg)
    shapes = measured.shapes
    if isinstance(model, DVT):
        of_size = {shape: exit_macs(model, shape) for shape in set(shapes)}
        return Costs(np.array([of_size[shape] for shape in shapes], float),
                     measured.seconds)
    backbone, finest = model.backbone, measured.token_strides[-1]
    of_size = {shape: [backbone.count_macs(shape, stride)
                       for stride in measured.token_strides] for shape in set(shapes)}
    usual = max(set(shapes), key=shapes.count)
    rest = analysis.count_model_macs(model.model, usual, measured.detector)
    rest -= backbone.count_macs(usual, finest)
    assigner_macs = 0
    if model.assigner is not None:
        small = torch.rand(1, 3, *(model.assigner.img_size, ) * 2)
        assigner_macs = analysis.count_macs(
            lambda: model.assigner.model(small, mode='tensor'))
    return Costs(np.array([of_size[shape] for shape in shapes], float) + rest,
                 measured.seconds, assigner_macs, measured.assigner_seconds)


def exit_macs(model: DVT, shape: Tuple[int, int]) -> List[int]:
    """Multiply-accumulates of an image that leaves at each exit, those before counted.

    Args:
        model: From :func:`mmasvit.analysis.build_to_count`.
        shape: Height and width of the image in pixels.
    """
    image, costs = torch.rand(1, 3, *shape), []
    for stride in model.token_strides:
        model.test_cfg = _only(model, stride)
        costs.append(analysis.count_macs(lambda: model.predict(image)))
    return costs


def check_budget(cfg: Config, budget: float) -> None:
    """Raise :class:`InputError` if a cascade's first exit costs more than a budget.

    Known before anything is measured, from the size of the first held-out image.

    Args:
        cfg: Config of a :class:`DVT`.
        budget: Mean multiply-accumulates of an image.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    data = inference.build_loader(cfg[held_out_loader(cfg)]).dataset
    with quiet():
        model = analysis.build_to_count(cfg)
    cost = exit_macs(model, tuple(data[0]['inputs'].shape[-2:]))[0]
    if budget < cost:
        raise InputError(f'the budget of {budget / 1e9:g} GMACs is below the '
                         f'{cost / 1e9:.4g} that the first exit costs')
