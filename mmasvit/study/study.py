"""Which measure predicts accuracy? Topologies measured, trained, and correlated.

Every topology leaves two small files, ``measures/<i>.json`` and ``trained/<i>.json``;
what is there is not done again, so a study goes on wherever it was stopped.
"""
import copy
import json
import os
import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Dict, List, Tuple

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS
from torch import Tensor
from torch.utils.data import Dataset

from mmasvit.complexity import MEASURES, Setting, measure_topology
from mmasvit.study.correlation import kendall_tau
from mmasvit.complexity.evaluate import check_measures
from mmasvit.engine import launch, preflight
from mmasvit.errors import InputError
from mmasvit.files import replacing, write_json
from mmasvit.search.space import Space
from mmasvit.topology import Topology, space_size

PLAN_FILE = 'plan.json'


@dataclass(frozen=True)
class Study:
    """What a study compares.

    Args:
        num_topologies: Different random topologies out of Table 1.
        settings: How the measures are taken, one entry per protocol.
        measures: Names; all there are by default.
        images: What the tangent kernel sees: ``'noise'``, or ``'dataset'`` for the first
            images of the validation data.
        metric: Name of the evaluator's number that counts as accuracy.
        embed_dims: Width C of the topologies. Defaults to 32.
        seed: Seed of the choice of topologies. Defaults to 0.

    Raises:
        InputError: If an argument is none of the above.
    """
    num_topologies: int
    settings: Tuple[Setting, ...]
    measures: Tuple[str, ...] = tuple(MEASURES)
    images: str = 'noise'
    metric: str = 'accuracy/top1'
    embed_dims: int = 32
    seed: int = 0

    def __post_init__(self):
        check_measures(self.measures)
        if not isinstance(self.num_topologies, int) or not (
                3 <= self.num_topologies <= space_size()):
            raise InputError('study: num_topologies must be a whole number from 3 to '
                             f'{space_size()}, got {self.num_topologies!r}')
        protocols = [setting.protocol for setting in self.settings]
        if not protocols or len(set(protocols)) != len(protocols):
            raise InputError('study: settings must be at least one, of different '
                             f'protocols, got {protocols}')
        if self.images not in ('noise', 'dataset'):
            raise InputError("study: images must be 'noise' or 'dataset', got "
                             f'{self.images!r}')

    @classmethod
    def of(cls, cfg: Config) -> 'Study':
        """The study of a config, its field ``study``."""
        fields = dict(cfg.get('study') or {})
        if not fields:
            raise InputError(f'config {cfg.filename} has no study=dict(...)')
        try:
            settings = tuple(Setting(**dict(each)) for each in fields.pop('settings'))
            if 'measures' in fields:
                fields['measures'] = tuple(fields['measures'])
            return cls(settings=settings, **fields)
        except (TypeError, KeyError) as error:
            raise InputError(f'config {cfg.filename}: study: {error}') from None

    @property
    def topologies(self) -> List[Topology]:
        """The topologies, without repetition, in the order they were drawn."""
        draw, space = random.Random(self.seed), Space()
        found: Dict[Topology, None] = {}
        while len(found) < self.num_topologies:
            choice = tuple(draw.randrange(len(values)) for values in space.choices.values())
            found[replace(space.topology(choice), embed_dims=self.embed_dims)] = None
        return list(found)


@dataclass(frozen=True)
class Item:
    """A piece of work: ``kind`` ``'measures'`` or ``'trained'`` of one topology."""
    kind: str
    index: int
    folder: str
    cfg: Config

    @property
    def path(self) -> Path:
        """The file it leaves behind."""
        return Path(self.folder, self.kind, f'{self.index:03d}.json')


def check_study(cfg: Config) -> None:
    """Look for what would stop a study only after a while.

    Raises:
        InputError: If the study is not one, its data is missing, its images are not of
            the measures' size, or the evaluator does not give the metric.
    """
    study = Study.of(cfg)
    preflight.check_data(cfg, ('train_dataloader', 'val_dataloader'))
    _build_dataset(cfg, 'train_dataloader')
    for setting in study.settings:
        images = dataset_images(cfg, setting.num_images)
        size = setting.image_size
        if images.shape[-2:] != (size, size):
            raise InputError(f'study: the data has images of {images.shape[-2]} x '
                             f'{images.shape[-1]} px, image_size is {size}')


def plan_items(cfg: Config, folder: str) -> List[Item]:
    """All items of a study, the measurements first.

    Raises:
        InputError: If the folder holds another study.
    """
    study = Study.of(cfg)
    # what was trained with other data or settings must not be mixed in
    plan = json.loads(json.dumps(dict(study=asdict(study), training=_training(cfg))))
    path = Path(folder, PLAN_FILE)
    if path.exists() and json.loads(path.read_text()) != plan:
        raise InputError(f'{folder} holds another study ({path} differs from the '
                         'config): use another --work-dir')
    for kind in ('measures', 'trained'):
        Path(folder, kind).mkdir(parents=True, exist_ok=True)
    write_json(path, plan)
    return [Item(kind, index, folder, cfg) for kind in ('measures', 'trained')
            for index in range(study.num_topologies)]


def _training(cfg: Config) -> dict:
    """What of a config determines the accuracies."""
    plain = cfg.to_dict()
    return {key: plain.get(key) for key in (
        'model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg',
        'optim_wrapper', 'param_scheduler', 'randomness')}


def run_item(item: Item) -> None:
    """Measure or train one topology, and write the item's file."""
    cfg, study = item.cfg, Study.of(item.cfg)
    topology = study.topologies[item.index]
    if item.kind == 'measures':
        result = _measure(cfg, study, topology)
    else:
        result = dict(accuracy=_train(cfg, study, topology, item))
    with replacing(item.path) as temporary:
        Path(temporary).write_text(json.dumps(dict(topology=str(topology), **result)))


def _measure(cfg: Config, study: Study, topology: Topology) -> dict:
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    results = {}
    for setting in study.settings:
        images = None
        if study.images == 'dataset':
            images = dataset_images(cfg, setting.num_images)
        for name, summary in measure_topology(topology, setting, study.measures, images,
                                              device).items():
            results[f'{name}/{setting.protocol}'] = summary._asdict()
    return results


def dataset_images(cfg: Config, count: int) -> Tensor:
    """The first images of a config's validation data as its model sees them.

    Returns:
        ``(count, 3, H, W)`` float32.
    """
    dataset = _build_dataset(cfg, 'val_dataloader')
    preprocessor = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    with MODELS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        preprocess = registry.build(dict(
            {'type': 'ClsDataPreprocessor'}, **preprocessor))
    if len(dataset) < count:
        raise InputError(f'the validation data has {len(dataset)} images, the measures '
                         f'need {count}')
    batch = pseudo_collate([dataset[i] for i in range(count)])
    return preprocess(batch)['inputs']


def _build_dataset(cfg: Config, loader: str) -> Dataset:
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        return registry.build(copy.deepcopy(cfg[loader].dataset))


def _train(cfg: Config, study: Study, topology: Topology, item: Item) -> float:
    """Accuracy after training; goes on from the latest checkpoint if there is one."""
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.arch = str(topology)
    cfg.model.head.in_channels = topology.widths[-1]
    cfg.work_dir = os.path.join(item.folder, 'runs', f'{item.index:03d}')
    cfg.experiment_name = f'{os.path.basename(item.folder)}_{item.index:03d}'
    cfg.launcher, cfg.resume = 'none', True
    runner = launch.build_runner(cfg)
    runner.train()
    metrics = runner.val()
    if study.metric not in metrics:
        raise InputError(f'study: metric {study.metric!r} is none of the evaluator\'s: '
                         f'{", ".join(metrics)}')
    return float(metrics[study.metric])


def collect(items: List[Item]) -> List[dict]:
    """One flat row per topology whose items are done.

    Returns:
        Rows with ``topology``, ``accuracy``, and per measure and protocol ``name/protocol``
        (mean over the repeats) and ``name/protocol/seconds``.
    """
    rows: Dict[int, dict] = {}
    for item in items:
        result = json.loads(item.path.read_text())
        row = rows.setdefault(item.index, dict(topology=result.pop('topology')))
        for key, value in result.items():
            if isinstance(value, dict):
                row[key], row[f'{key}/seconds'] = value['mean'], value['seconds']
                if not MEASURES[key.partition('/')[0]].drawn:
                    row[key.partition('/')[0]] = row[key]
                    row[key.partition('/')[0] + '/seconds'] = row[f'{key}/seconds']
            else:
                row[key] = value
    return [rows[index] for index in sorted(rows)]


def correlate(rows: List[dict]) -> Dict[str, dict]:
    """Kendall's tau of every measure with the accuracies.

    Args:
        rows: See :func:`collect`.

    Returns:
        Per ``name/protocol`` (``name`` alone for what no initialisation changes): raw
        ``tau``, ``interval``, ``p_value``, ``higher_is_better`` as the measure is meant,
        mean ``seconds`` per topology, and ``says``: ``'nothing clear'`` where the
        interval holds 0 or chance explains it, else ``'as meant'`` or ``'the
        opposite'``.
    """
    accuracies = [row['accuracy'] for row in rows]
    results = {}
    for key in sorted(rows[0]):
        name = key.partition('/')[0]
        if name not in MEASURES or key.endswith('/seconds'):
            continue
        measure = MEASURES[name]
        correlation = kendall_tau([row[key] for row in rows], accuracies)
        says = 'nothing clear'
        if correlation.is_clear:
            as_meant = (correlation.tau > 0) == measure.higher_is_better
            says = 'as meant' if as_meant else 'the opposite'
        results.setdefault(key if measure.drawn else name, dict(
            **correlation._asdict(), says=says,
            higher_is_better=measure.higher_is_better,
            seconds=fmean(row[f'{key}/seconds'] for row in rows)))
    return results
