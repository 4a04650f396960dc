"""Held-out predictions of a training's checkpoint, made once and kept."""
import hashlib
import json
import os
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import METRICS, MODELS, init_default_scope
from mmengine.runner import Runner, load_checkpoint
from rich.progress import track
from torch import nn
from torch.utils.data import DataLoader

from mmasvit.engine.preflight import check_data
from mmasvit.errors import InputError
from mmasvit.files import replacing, write_json

DETECTIONS, RUN = 'detections.json', 'run.json'


@dataclass(frozen=True)
class Seen:
    """An image as the model saw it.

    Args:
        id: Its id in the annotation file.
        path: Where it lies.
        shape: Height and width of the network's input in pixels.
        seconds: Time of the model on it, alone in its batch.
    """
    id: int
    path: str
    shape: Tuple[int, int]
    seconds: float


@dataclass(frozen=True)
class Detections:
    """What a detector found in its held-out images.

    Args:
        found: Detections in COCO's results format.
        images: The images, in the order they were seen.
        classes: Names by label.
        ann_file: The annotation file to score against.
        kinds: What the config's evaluator scores, of ``'bbox'`` and ``'segm'``.
        limits: Numbers of detections per image that count, as the evaluator has them.
        device: What it ran on.
    """
    found: List[dict]
    images: List[Seen]
    classes: List[str]
    ann_file: str
    kinds: List[str]
    limits: List[int]
    device: str

    @property
    def seconds(self) -> float:
        """Median seconds per image."""
        return statistics.median(image.seconds for image in self.images)

    @property
    def shape(self) -> Tuple[int, int]:
        """The network's most frequent input."""
        return statistics.mode(image.shape for image in self.images)


def held_out(cfg: Config) -> Tuple[str, dict, dict]:
    """Name and settings of a detector's held-out loader, and its COCO evaluator.

    Raises:
        InputError: If the config has none that COCO's metric scores.
    """
    for name in ('val', 'test'):
        loader, evaluator = cfg.get(f'{name}_dataloader'), cfg.get(f'{name}_evaluator')
        if not loader or not evaluator:
            continue
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            if str(metric.get('type')).endswith('CocoMetric'):
                return f'{name}_dataloader', loader, metric
    raise InputError('the config has no held-out data that CocoMetric scores')


def annotation_file(loader: dict, metric: dict) -> str:
    """Path of the annotations that detections are scored against."""
    dataset = loader['dataset']
    if not metric.get('ann_file') and not dataset.get('ann_file'):
        raise InputError(f'held-out data of type {dataset.get("type")} have no '
                         'annotation file')
    return metric.get('ann_file') or os.path.join(dataset.get('data_root') or '',
                                                  dataset['ann_file'])


def detect(cfg: Config, checkpoint: Path, folder: Path,
           device: Optional[str] = None) -> Detections:
    """A checkpoint's detections in its config's held-out images.

    They are kept in ``folder`` and read from there as long as checkpoint, annotations,
    and what of the config matters are the same.

    Args:
        cfg: The training's config.
        checkpoint: Its checkpoint.
        folder: Where results are kept.
        device: Where to run. Defaults to a GPU if there is one.

    Raises:
        InputError: If the held-out data are missing, damaged, or not in COCO's format.
    """
    name, loader, metric = held_out(cfg)
    check_data(cfg, (name, ))
    ann_file = annotation_file(loader, metric)
    key = dict(checkpoint=_digest(checkpoint), annotations=_digest(Path(ann_file)),
               config=hashlib.sha256(repr((cfg.model, loader, metric)).encode()).hexdigest())
    kept = _read(folder, key)
    if kept is None:
        init_default_scope(cfg.get('default_scope', 'mmdet'))
        device = device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
        model = load_model(cfg, checkpoint, device)
        data = build_loader(loader)
        kept = _run(model, data, dict(metric, ann_file=ann_file), device)
        _keep(folder, key, kept)
    return kept


def load_model(cfg: Config, checkpoint: Path, device: str) -> nn.Module:
    """A config's model with a checkpoint's weights, in evaluation mode."""
    model = MODELS.build(cfg.model)
    load_checkpoint(model, str(checkpoint), map_location='cpu')
    return model.to(device).eval()


def build_loader(loader: dict) -> DataLoader:
    """A loader of one image at a time, in order, in this process."""
    one = dict(loader, batch_size=1, num_workers=0, persistent_workers=False,
               drop_last=False, sampler=dict(type='DefaultSampler', shuffle=False))
    one.pop('batch_sampler', None)
    return Runner.build_dataloader(one)


def timed(model: nn.Module, batch: dict) -> Tuple[list, float]:
    """What a model says of a batch, and the seconds it took."""
    gpu = next(model.parameters()).is_cuda
    if gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.no_grad():
        samples = model.test_step(batch)
    if gpu:
        torch.cuda.synchronize()
    return samples, time.perf_counter() - start


def _run(model: nn.Module, data: DataLoader, metric_cfg: dict, device: str) -> Detections:
    with tempfile.TemporaryDirectory() as temporary:
        prefix = os.path.join(temporary, 'found')
        metric = METRICS.build(dict(metric_cfg, format_only=True, outfile_prefix=prefix))
        metric.dataset_meta = data.dataset.metainfo
        images = []
        for batch in track(data, 'detecting in the held-out images'):
            samples, seconds = timed(model, batch)
            metric.process(batch, [sample.to_dict() for sample in samples])
            sample = samples[0]
            images.append(Seen(sample.img_id, sample.img_path,
                               tuple(sample.get('batch_input_shape', sample.img_shape)),
                               seconds))
        metric.evaluate(len(data.dataset))
        segmented = Path(f'{prefix}.segm.json')
        path = segmented if segmented.exists() else Path(f'{prefix}.bbox.json')
        found = json.loads(path.read_text())
    kinds = [kind for kind in metric.metrics if kind in ('bbox', 'segm')]
    name = torch.cuda.get_device_name(device) if 'cuda' in device else (
        f'CPU, {torch.get_num_threads()} threads')
    return Detections(found, images, list(data.dataset.metainfo['classes']),
                      metric_cfg['ann_file'], kinds or ['bbox'],
                      list(metric.proposal_nums), name)


def _keep(folder: Path, key: Dict[str, str], kept: Detections) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / DETECTIONS) as temporary:
        Path(temporary).write_text(json.dumps(kept.found))
    facts = asdict(kept)
    del facts['found']
    write_json(folder / RUN, dict(key=key, **facts))  # last: where it is, all is


def _read(folder: Path, key: Dict[str, str]) -> Optional[Detections]:
    """What was kept under the same key."""
    try:
        facts = json.loads((folder / RUN).read_text())
        if facts.pop('key') != key:
            return None
        found = json.loads((folder / DETECTIONS).read_text())
        facts['images'] = [Seen(image['id'], image['path'], tuple(image['shape']),
                                image['seconds']) for image in facts['images']]
        return Detections(found=found, **facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _digest(path: Path) -> str:
    try:
        with open(path, 'rb') as file:
            return hashlib.file_digest(file, 'sha256').hexdigest()
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}') from None
