"""What a classifier says of its held-out images: asked once, and kept."""
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import List, Tuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from rich.progress import track
from torch.utils.data import DataLoader

from mmasvit.engine.blame import blaming
from mmasvit.engine.preflight import check_data
from mmasvit.errors import InputError
from mmasvit.report import inference
from mmasvit.report.quiet import quiet

PREDICTIONS = 'predictions.json'
TIMED = 30  # images that are run alone, to time them
TOP = 5


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions, an entry per image in the order of the data.

    Args:
        truth: Labels.
        predicted: Labels given the highest probability.
        probability: That of the predicted label.
        probability_of_truth: That of the true one.
        among_top: Whether the true label is among the five most probable.
        classes: Names by label.
        seconds: Median time of one image alone.
        shape: Height and width of the network's input in pixels.
        device: What it ran on.
    """
    truth: List[int]
    predicted: List[int]
    probability: List[float]
    probability_of_truth: List[float]
    among_top: List[bool]
    classes: List[str]
    seconds: float
    shape: Tuple[int, int]
    device: str


def held_out(cfg: Config) -> str:
    """Name of a classifier's held-out loader.

    Raises:
        InputError: If there is none, or the data are missing.
    """
    for name in ('val_dataloader', 'test_dataloader'):
        if cfg.get(name):
            with quiet():
                check_data(cfg, (name, ))
            return name
    raise InputError('the config has no held-out data')


def classify(cfg: Config, checkpoint: Path, folder: Path) -> Predictions:
    """A checkpoint's predictions for its config's held-out images.

    They are kept in ``folder`` as long as checkpoint, config and labels are the same.

    Args:
        cfg: The training's config.
        checkpoint: Its checkpoint.
        folder: Where results are kept.

    Raises:
        InputError: If the data are missing, have more than one label an image, or the
            checkpoint does not fit.
    """
    name = held_out(cfg)
    loader = cfg[name]
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    try:
        data = inference.build_loader(loader, loader.get('batch_size', 1))
    except FileNotFoundError as error:
        raise InputError(f'held-out data: {error}') from None
    truth = _labels(data)
    key = inference.digest(checkpoint, cfg.model, loader, truth)
    kept = inference.read_kept(folder, key, PREDICTIONS)
    if kept:
        columns, facts = kept
        facts['shape'] = tuple(facts['shape'])
        return Predictions(**columns, **facts)
    model = inference.load_model(cfg, checkpoint, name)
    scores = []
    for batch in track(data, 'classifying the held-out images'):
        samples, _ = inference.timed(model, batch)
        scores += [sample.pred_score.float().cpu() for sample in samples]
    table = torch.stack(scores).numpy()
    seconds, shape = _time(model, loader)
    result = _predictions(table, truth, _names(data, table.shape[1]), seconds, shape,
                          inference.device_name(model))
    facts = asdict(result)
    columns = {name: facts.pop(name) for name in (
        'truth', 'predicted', 'probability', 'probability_of_truth', 'among_top')}
    inference.keep(folder, key, PREDICTIONS, columns, facts)
    return result


def _labels(data: DataLoader) -> List[int]:
    labels = [data.dataset.get_data_info(i).get('gt_label')
              for i in range(len(data.dataset))]
    if not labels or not all(isinstance(label, (int, np.integer)) for label in labels):
        raise InputError('the held-out images have not one label each')
    return list(map(int, labels))


def _names(data: DataLoader, number: int) -> List[str]:
    names = data.dataset.metainfo.get('classes')
    if not names or len(names) != number:
        names = range(number)
    return list(map(str, names))


def _time(model: torch.nn.Module, loader: dict) -> Tuple[float, Tuple[int, int]]:
    """Median seconds of one image alone, and its size."""
    seconds, shape = [], (0, 0)
    for batch, _ in zip(inference.build_loader(loader), range(TIMED)):
        seconds.append(inference.timed(model, batch)[1])
        shape = tuple(batch['inputs'][0].shape[-2:])
    return statistics.median(seconds), shape


def _predictions(table: np.ndarray, truth: List[int], *facts) -> Predictions:
    """Out of probabilities ``(images, classes)``."""
    rows, labels = np.arange(len(table)), np.array(truth)
    predicted = table.argmax(1)
    of_truth = table[rows, labels]
    among = (table > of_truth[:, None]).sum(1) < TOP
    return Predictions(truth, predicted.tolist(), table[rows, predicted].tolist(),
                       of_truth.tolist(), among.tolist(), *facts)


def read_images(cfg: Config, places: List[int]) -> List[Tuple[str, np.ndarray]]:
    """Held-out images as the network gets them, with their names.

    Args:
        cfg: The training's config.
        places: Which, by their place in the data.

    Returns:
        Name, and pixels ``(H, W, 3)`` uint8 BGR.
    """
    loader = cfg[held_out(cfg)]
    with quiet(), blaming('dataset'), DATASETS.switch_scope_and_registry(
            cfg.get('default_scope')) as registry:
        dataset = registry.build(dict(loader['dataset']))
    preprocessor = (cfg.model.get('data_preprocessor')
                    or cfg.get('data_preprocessor') or {})
    images = []
    for place in places:
        sample = dataset[place]
        pixels = sample['inputs'].permute(1, 2, 0).numpy().astype(np.uint8)
        if not preprocessor.get('to_rgb'):
            pixels = pixels[..., ::-1]  # what the network sees is RGB
        path = getattr(sample['data_samples'], 'img_path', None)
        name = '/'.join(Path(path).parts[-2:]) if path else f'image {place}'
        images.append((name, np.ascontiguousarray(pixels)))
    return images
