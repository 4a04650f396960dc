"""The page of a training."""
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import List, Optional, Sequence

from mmengine.config import Config

from mmasvit.analysis import is_detector
from mmasvit.engine.launch import DATA_FILE
from mmasvit.errors import InputError
from mmasvit.report import costs, data, logs
from mmasvit.report.page import Page, Section, Tile

FOLDER = 'report'  # of a work directory: the page, and what it took long to make


@dataclass(frozen=True)
class Part:
    """What a checkpoint's predictions add to a page."""
    tiles: List[Tile]
    sections: List[Section]


def training_page(folder: Path, options: Optional[Sequence[str]] = None) -> Page:
    """A training's page; what cannot be had any more is left out, and said.

    Args:
        folder: The work directory.
        options: Changes to the run's config, each ``'key=value'``.

    Raises:
        InputError: If the folder holds no training.
    """
    cfg = logs.find_config(folder, options)
    if cfg is None:
        raise InputError(f'{folder} is no work directory of a training, a search, a '
                         'scaling or a study: it has no config, topology.json, '
                         'family.json or study.csv')
    if not isinstance(cfg.get('model'), dict):
        raise InputError(f'{folder}: the config {cfg.filename} has no model')
    cfg.work_dir = str(folder / FOLDER)  # where annotations are mended, if need be
    curves = logs.curve_section(logs.read_log(folder))
    detects = is_detector(cfg)
    facts = {'config': os.path.basename(cfg.filename)}
    notes, part, checkpoint = [], Part([], []), None
    try:
        checkpoint = logs.find_checkpoint(folder)
        facts['checkpoint'] = checkpoint.name
        part = (_detector if detects else _classifier)(cfg, checkpoint, folder / FOLDER)
    except InputError as error:
        if curves is None:
            raise
        notes.append(f'The page shows no predictions: {error}')
    sections = part.sections
    if curves:
        facts['trained'] = curves.lead.rstrip('.')
        sections = [*sections, curves]
    if (folder / DATA_FILE).is_file():
        sections = [*sections, _data_section(folder / DATA_FILE)]
    environment = logs.environment_section(folder, cfg.filename, checkpoint)
    if environment:
        sections = [*sections, environment]
    return Page(folder.resolve().name, 'detector' if detects else 'classifier', facts,
                part.tiles, sections, notes)


def _data_section(path: Path) -> Section:
    try:
        return data.data_section(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError) as error:
        raise InputError(f'{path} cannot be read: {error}') from None


def _detector(cfg: Config, checkpoint: Path, folder: Path) -> Part:
    # mmdet may not be installed where classifiers are trained, nor mmpretrain here
    from mmasvit.report import detection, detector_run
    found = detector_run.detect(cfg, checkpoint, folder)
    evaluation = detection.evaluate(found)
    cost = costs.count(cfg, found.shape)
    return Part(
        [*detection.score_tiles(evaluation),
         *costs.tiles(cost, found.seconds, found.device),
         Tile('held-out images', f'{len(found.images):,}')],
        [*detection.sections(found, evaluation),
         costs.section(cost, found.shape, found.seconds, found.device)])


def _classifier(cfg: Config, checkpoint: Path, folder: Path) -> Part:
    from mmasvit.report import classification, classifier_run
    said = classifier_run.classify(cfg, checkpoint, folder)
    cost = costs.count(cfg, said.shape)
    return Part(
        [*classification.score_tiles(said), *costs.tiles(cost, said.seconds, said.device)],
        [*classification.sections(said, partial(classifier_run.read_images, cfg)),
         costs.section(cost, said.shape, said.seconds, said.device)])
