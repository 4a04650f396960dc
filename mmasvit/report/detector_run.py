"""What a detector finds in its held-out images: found once, and kept."""
import json
import os
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import List, Tuple

from mmengine.config import Config
from mmengine.registry import METRICS
from rich.progress import track
from torch import nn
from torch.utils.data import DataLoader

from mmasvit.engine.preflight import check_data
from mmasvit.errors import InputError
from mmasvit.report import inference
from mmasvit.report.quiet import quiet

DETECTIONS = 'detections.json'


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


def held_out(cfg: Config) -> Tuple[str, dict]:
    """Name of a detector's held-out loader, and its COCO evaluator.

    Raises:
        InputError: If the config has none that COCO's metric scores.
    """
    for name in ('val', 'test'):
        loader, evaluator = cfg.get(f'{name}_dataloader'), cfg.get(f'{name}_evaluator')
        if not loader or not evaluator:
            continue
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            if str(metric.get('type')).endswith('CocoMetric'):
                return f'{name}_dataloader', metric
    raise InputError('the config has no held-out data that CocoMetric scores')


def annotation_file(loader: dict, metric: dict) -> str:
    """Path of the annotations that detections are scored against."""
    dataset = loader['dataset']
    if not metric.get('ann_file') and not dataset.get('ann_file'):
        raise InputError(f'held-out data of type {dataset.get("type")} have no '
                         'annotation file')
    return metric.get('ann_file') or os.path.join(dataset.get('data_root') or '',
                                                  dataset['ann_file'])


def detect(cfg: Config, checkpoint: Path, folder: Path) -> Detections:
    """A checkpoint's detections in its config's held-out images.

    They are kept in ``folder`` and read from there as long as checkpoint, annotations,
    and what of the config matters are the same.

    Args:
        cfg: The training's config.
        checkpoint: Its checkpoint.
        folder: Where results are kept.

    Raises:
        InputError: If the held-out data are missing, damaged, or not in COCO's format,
            or the checkpoint does not fit.
    """
    name, _ = held_out(cfg)
    with quiet():  # what is wrong with the data was said when they were trained on
        check_data(cfg, (name, ), images=False)
    loader, metric = cfg[name], held_out(cfg)[1]
    metric = dict(metric, ann_file=annotation_file(loader, metric))
    key = inference.digest(checkpoint, Path(metric['ann_file']), cfg.model, loader, metric)
    kept = inference.read_kept(folder, key, DETECTIONS)
    if kept:
        found, facts = kept
        facts['images'] = [Seen(**{**image, 'shape': tuple(image['shape'])})
                           for image in facts['images']]
        return Detections(found, **facts)
    check_data(cfg, (name, ))
    model = inference.load_model(cfg, checkpoint, name)
    result = _run(model, inference.build_loader(cfg[name]), metric)
    facts = asdict(result)
    inference.keep(folder, key, DETECTIONS, facts.pop('found'), facts)
    return result


def _run(model: nn.Module, data: DataLoader, metric_cfg: dict) -> Detections:
    """One image at a time; mmdet's own metric writes the results file."""
    meta, images = data.dataset.metainfo, []
    with tempfile.TemporaryDirectory() as temporary:
        prefix = os.path.join(temporary, 'found')
        with quiet():
            metric = METRICS.build(dict(metric_cfg, format_only=True,
                                        outfile_prefix=prefix))
        metric.dataset_meta = meta
        for batch in track(data, 'detecting in the held-out images'):
            samples, seconds = inference.timed(model, batch)
            metric.process(batch, [sample.to_dict() for sample in samples])
            sample = samples[0]
            shape = sample.get('batch_input_shape', sample.img_shape)
            images.append(Seen(sample.img_id, sample.img_path, tuple(shape[:2]), seconds))
        with quiet():
            metric.evaluate(len(data.dataset))
        segmented = Path(f'{prefix}.segm.json')  # boxes and masks
        path = segmented if segmented.exists() else Path(f'{prefix}.bbox.json')
        found = json.loads(path.read_text(encoding='utf-8'))
    kinds = [kind for kind in metric.metrics if kind in ('bbox', 'segm')] or ['bbox']
    return Detections(found, images, list(meta['classes']), metric_cfg['ann_file'], kinds,
                      list(metric.proposal_nums), inference.device_name(model))
