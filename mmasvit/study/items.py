"""The pieces of a study's work: each measures or trains one topology.

What comes out goes to the work directory's ledger, and what is there is not done again:
a study goes on wherever it was stopped, by the same command.
"""
import copy
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS, MODELS
from torch import Tensor
from torch.utils.data import Dataset

from mmasvit.analysis import is_detector
from mmasvit.complexity import Measured, Setting
from mmasvit.engine import launch, preflight
from mmasvit.engine.blame import blaming
from mmasvit.errors import InputError
from mmasvit.measuring import Ledger
from mmasvit.measuring.ledger import (MEASUREMENTS, Item as Entry, Repeat, check_run,
                                      write_run)
from mmasvit.study.pool import run_items
from mmasvit.report.quiet import quiet
from mmasvit.study.study import Study
from mmasvit.topology import NUM_STAGES, Topology


@dataclass(frozen=True)
class Item:
    """A piece of work.

    Attributes:
        index: Which of the study's topologies.
        setting: How it is measured; None for training it.
    """
    index: int
    setting: Optional[Setting]

    def names(self, study: Study) -> List[str]:
        """Names of the numbers that come out."""
        if self.setting is None:
            return [study.score]
        return [study.qualified(name, self.setting) for name in study.measures]

    def entries(self, study: Study) -> List[Entry]:
        """Its lines of the ledger."""
        topology = study.topologies[self.index]
        repeats = self.setting.repeats if self.setting else 1
        return [(topology, repeat) for repeat in range(repeats)]


def check_study(cfg: Config) -> None:
    """Look for what would stop a study only after a while.

    Raises:
        InputError: If the study is not one, its data is missing, its images are not of
            the measures' size, or the evaluator does not give the metric.
    """
    study = Study.of(cfg)
    study.measures_at  # made here, so that a wrong supernet or profile is refused here
    preflight.check_data(cfg, ('train_dataloader', 'val_dataloader'))
    _build_dataset(cfg, 'train_dataloader')
    if is_detector(cfg) and study.images != 'noise':
        raise InputError("study.images must be 'noise' for a detector, got "
                         f'{study.images!r}')
    for setting in study.settings if not is_detector(cfg) else ():
        images = dataset_images(cfg, setting.num_images, study.images == 'spread')
        size = setting.image_size
        if images.shape[-2:] != (size, size):
            raise InputError(f'study: the data has images of {images.shape[-2]} x '
                             f'{images.shape[-1]} px, image_size is {size}')
    _check_metric(cfg, study)


def _check_metric(cfg: Config, study: Study) -> None:
    """Score an untrained topology on a few images, as a trained one will be on all.

    Nothing is left of it: the Runner has a folder of its own.

    Raises:
        InputError: If the evaluator does not give the study's metric, or a part of the
            training is refused.
    """
    with tempfile.TemporaryDirectory() as folder, quiet():
        cfg = _training(cfg, study.topologies[0], folder, 'check')
        loader = cfg.val_dataloader
        loader.update(num_workers=0, persistent_workers=False)
        if not {'dataset', 'datasets'} & set(loader.dataset):
            loader.dataset.indices = loader.batch_size
        # a score is all that is wanted
        cfg.default_hooks = dict(cfg.get('default_hooks') or {}, checkpoint=None)
        runner = launch.build_runner(cfg)
        runner.build_parts()
        _find_metric(runner.val(), study)


class Progress:
    """What of a study is done, and the rest.

    Args:
        cfg: The config.
        folder: The work directory.

    Attributes:
        known: The numbers, by topology and repeat.
        items: All items, the measurements first.

    Raises:
        InputError: If the folder holds another study.
    """

    def __init__(self, cfg: Config, folder: str):
        self.study, self._cfg, self._folder = Study.of(cfg), cfg, folder
        run = _describe(cfg, self.study)
        check_run(folder, run)
        self._ledger = Ledger(Path(folder, MEASUREMENTS), run)
        self.known: Dict[Entry, Repeat] = self._ledger.read()
        write_run(folder, run)
        self.items = [Item(index, setting) for setting in (*self.study.settings, None)
                      for index in range(self.study.num_topologies)]

    @property
    def left(self) -> List[Item]:
        """Items that are not done."""
        return [item for item in self.items if any(
            not set(item.names(self.study)) <= set(self.known.get(entry, ()))
            for entry in item.entries(self.study))]

    def work(self, processes: int) -> Iterable[Item]:
        """Do what is left; each item is in the ledger before it is yielded."""
        jobs = [Job(self._cfg, self._folder, item) for item in self.left]
        for job, repeats in run_items(run_job, jobs, processes, self._folder):
            entries = job.item.entries(self.study)
            self._ledger.append(entries, repeats)
            for entry, repeat in zip(entries, repeats):
                self.known.setdefault(entry, {}).update(repeat)
            yield job.item


@dataclass(frozen=True)
class Job:
    """An item, with what a process needs to do it."""
    cfg: Config
    folder: str
    item: Item


def run_job(job: Job) -> List[Repeat]:
    """Measure or train one topology; the numbers of each of the item's entries."""
    study = Study.of(job.cfg)
    if job.item.setting is None:
        return [{study.score: _train(job, study)}]
    return _measure(job, study)


def _describe(cfg: Config, study: Study) -> dict:
    """What the numbers depend on; more topologies go on with the same study."""
    fields = dict(asdict(study), settings=[one.to_dict() for one in study.settings])
    # made of what is measured, so they may change
    del fields['num_topologies'], fields['composites']
    for name in ('costs', 'macs_between'):  # unsaid by earlier versions
        if fields[name] is None:
            del fields[name]
    for name in ('supernet', 'costs'):
        if fields.get(name) is not None:
            fields[name] = dict(fields[name], **study.origin)
    plain = cfg.to_dict()
    # what was trained with other data or settings must not be mixed in
    training = {key: plain.get(key) for key in (
        'model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg',
        'optim_wrapper', 'param_scheduler', 'randomness')}
    return dict(kind='study', study=fields, training=training,
                torch=str(torch.__version__), device=get_device())


def _measure(job: Job, study: Study) -> List[Repeat]:
    setting, topology = job.item.setting, study.topologies[job.item.index]
    images = (dataset_images(job.cfg, setting.num_images, study.images == 'spread')
              if study.images != 'noise' else None)
    measure = study.measures_at[setting]
    repeats = (measure(topology, setting, repeat, study.measures, images,
                             get_device()) for repeat in range(setting.repeats))
    return [{study.qualified(name, setting): measured for name, measured in repeat.items()}
            for repeat in repeats]


def dataset_images(cfg: Config, count: int, spread: bool = False) -> Tensor:
    """Images of a config's validation data as its model sees them.

    Args:
        cfg: The config.
        count: How many.
        spread: Whether they are evenly spread over the data. Defaults to the first ones.

    Returns:
        ``(count, 3, H, W)`` float32.
    """
    dataset = _build_dataset(cfg, 'val_dataloader')
    preprocessor = cfg.model.get('data_preprocessor') or cfg.data_preprocessor
    with blaming('data_preprocessor'), MODELS.switch_scope_and_registry(
            cfg.get('default_scope')) as registry:
        preprocess = registry.build(dict(
            {'type': 'ClsDataPreprocessor'}, **preprocessor))
    if len(dataset) < count:
        raise InputError(f'the validation data has {len(dataset)} images, the measures '
                         f'need {count}')
    step = len(dataset) / count if spread else 1
    with blaming('val_dataloader.dataset.pipeline'):
        batch = pseudo_collate([dataset[int(i * step)] for i in range(count)])
        return preprocess(batch)['inputs']


def _build_dataset(cfg: Config, loader: str) -> Dataset:
    with blaming(loader), DATASETS.switch_scope_and_registry(
            cfg.get('default_scope')) as registry:
        return registry.build(copy.deepcopy(cfg[loader].dataset))


def _train(job: Job, study: Study) -> Measured:
    """The score after training; goes on from the latest checkpoint if there is one."""
    start = time.perf_counter()
    topology, name = study.topologies[job.item.index], f'{job.item.index:03d}'
    cfg = _training(job.cfg, topology, os.path.join(job.folder, 'runs', name),
                    f'{os.path.basename(job.folder)}_{name}')
    os.makedirs(cfg.work_dir, exist_ok=True)
    cfg.load_from, _ = launch.latest_checkpoint(cfg.work_dir)
    cfg.resume = cfg.load_from is not None
    runner = launch.build_runner(cfg)
    runner.train()
    score = _find_metric(runner.val(), study)
    return Measured(score, time.perf_counter() - start)


def _training(cfg: Config, topology: Topology, folder: str, name: str) -> Config:
    """The config of one topology's training."""
    cfg = copy.deepcopy(cfg)
    cfg.model.backbone.arch = str(topology)
    if is_detector(cfg):
        stages = cfg.model.backbone.get('out_indices', range(NUM_STAGES))
        cfg.model.neck.in_channels = [topology.widths[i] for i in stages]
    else:
        cfg.model.head.in_channels = topology.widths[-1]
    cfg.work_dir, cfg.experiment_name, cfg.launcher = folder, name, 'none'
    return cfg


def _find_metric(metrics: Dict[str, float], study: Study) -> float:
    """The score among an evaluator's numbers, in per cent."""
    if not metrics and study.metric.startswith('coco/'):
        return 0.  # a detector that found nothing at all
    if study.metric not in metrics:
        raise InputError(f'study: metric {study.metric!r} is none of the evaluator\'s: '
                         f'{", ".join(metrics)}')
    return study.scale * float(metrics[study.metric])
