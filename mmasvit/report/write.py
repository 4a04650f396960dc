"""From a work directory to its page."""
import json
import os
from pathlib import Path
from typing import List, Optional, Union

from mmengine.config import Config

from mmasvit.analysis import is_detector
from mmasvit.errors import InputError
from mmasvit.files import replacing
from mmasvit.report import training
from mmasvit.report.page import Page, Section, Tile, duration, render

FOLDER = 'report'  # of a work directory: the page, and what it took long to make


def write_report(work_dir: Union[str, Path], out: Optional[Union[str, Path]] = None,
                 options: Optional[dict] = None) -> Path:
    """Write the page of a work directory.

    Args:
        work_dir: Folder of a training.
        out: The page. Defaults to ``report/index.html`` in the folder.
        options: Changes to the run's config, for data that have moved.

    Returns:
        Where the page is.

    Raises:
        InputError: If the folder is none of ours, or the page cannot be written.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise InputError(f'work directory {work_dir} does not exist')
    page = _page(folder, options)
    path = Path(out) if out else folder / FOLDER / 'index.html'
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'{path} cannot be written: {error.strerror}') from None
    with replacing(path) as temporary:
        Path(temporary).write_text(render(page), encoding='utf-8')
    return path


def _page(folder: Path, options: Optional[dict]) -> Page:
    cfg = training.find_config(folder, options)
    if cfg is None:
        raise InputError(f'{folder} holds no training: it has no config')
    return _training_page(folder, cfg)


def _training_page(folder: Path, cfg: Config) -> Page:
    """A training's page; what cannot be had any more is left out, and said."""
    rows = training.read_log(folder)
    checkpoint = training.find_checkpoint(folder)
    facts = {'config': os.path.basename(cfg.filename)}
    notes: List[str] = []
    tiles: List[Tile] = []
    sections: List[Section] = []
    detects = is_detector(cfg)
    if checkpoint is None:
        if not rows:
            raise InputError(f'{folder} holds no checkpoint and no log of a training')
        notes.append('There is no checkpoint: the page shows the curves alone.')
    else:
        facts['checkpoint'] = checkpoint.name
        try:
            more = _detector(folder, cfg, checkpoint)
            tiles += more.tiles
            sections += more.sections
            facts.update(more.facts)
        except InputError as error:
            notes.append(f'No predictions: {error}.')
    curves = training.curve_section(rows)
    if curves:
        sections.append(curves)
        facts['trained'] = curves.lead.rstrip('.')
    data = folder / 'data.json'
    if data.is_file():
        sections.append(training.data_section(json.loads(data.read_text())))
    environment = training.environment_section(folder, cfg.filename, checkpoint)
    if environment:
        sections.append(environment)
    return Page(folder.resolve().name, 'detector' if detects else 'classifier', facts,
                tiles, sections, notes)


class _Part:
    """Tiles, sections and facts of a page."""

    def __init__(self, tiles, sections, facts):
        self.tiles, self.sections, self.facts = tiles, sections, facts


def _detector(folder: Path, cfg: Config, checkpoint: Path) -> _Part:
    from mmasvit.report import costs, detection, predictions
    found = predictions.detect(cfg, checkpoint, folder / FOLDER)
    evaluation = detection.evaluate(found)
    cost = costs.count(cfg, found.shape)
    total = sum(image.seconds for image in found.images)
    return _Part(
        detection.score_tiles(evaluation) + [
            Tile('held-out images', f'{len(found.images):,}', duration(total))]
        + costs.tiles(cost, found.seconds, found.device),
        detection.sections(found, evaluation) + [
            costs.section(cost, found.shape, found.seconds, found.device)],
        {'held-out images': f'{len(found.images):,}'})
