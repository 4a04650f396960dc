"""From a folder and a few wishes to a config file that is known to work."""
import io
import os
import shlex
import tempfile
from contextlib import ExitStack, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmasvit.analysis import is_detector
from mmasvit.coco.annotations import CocoFile
from mmasvit.coco.layouts import Split, find_splits
from mmasvit.coco.splitting import HELD_OUT, write_split
from mmasvit.config_text import literal
from mmasvit.emit import shipped_configs
from mmasvit.engine.blame import blaming
from mmasvit.engine.preflight import check_data
from mmasvit.errors import InputError
from mmasvit.files import replacing
from mmasvit.recipe import decide
from mmasvit.recipe.backbone import Backbone, choose_backbone
from mmasvit.recipe.facts import BaseFacts, DataFacts, Part, count_unmasked
from mmasvit.recipe.pace import Pace, measure_pace
from mmasvit.recipe.text import Recipe, write_config

SMALL_MACHINE, LARGE_MACHINE = 'cascade_asvit_tiny.py', 'cascade_asvit_small_coco.py'


class Wishes(NamedTuple):
    """What the user asks for; None where the data shall decide.

    Attributes:
        arch: See :func:`~mmasvit.recipe.backbone.choose_backbone`.
        base: Config to build on.
        init: Checkpoint whose backbone to start from.
        epochs: Number of epochs.
        batch_size: Images in a step of each process.
        image_size: Longer side of the images in pixels.
        minutes: Time that the training should take.
        flips: A key of :data:`~mmasvit.recipe.text.FLIPS`.
        seed: Seed of everything.
    """
    arch: Optional[str] = None
    base: Optional[str] = None
    init: Optional[str] = None
    epochs: Optional[int] = None
    batch_size: Optional[int] = None
    image_size: Optional[int] = None
    minutes: Optional[float] = None
    flips: str = 'horizontal'
    seed: int = 0


class Machine(NamedTuple):
    """What the config is to be trained on.

    Attributes:
        gpus: Number of GPUs.
        cores: Number of processor cores.
    """
    gpus: int
    cores: int

    @classmethod
    def this(cls) -> 'Machine':
        """The one that this runs on."""
        return cls(torch.cuda.device_count(), len(os.sched_getaffinity(0)))

    @property
    def processes(self) -> int:
        """Processes that training uses: one per GPU, or two on a processor."""
        return self.gpus or min(self.cores, 2)

    @property
    def threads(self) -> int:
        """Threads of each process."""
        return max(1, self.cores // self.processes)

    def train_command(self, config: str) -> str:
        """The command that trains a config."""
        if self.processes == 1:
            return f'python {_tool("train.py")} {config}'
        threads = '' if self.gpus else f'OMP_NUM_THREADS={self.threads} '
        return f'{threads}bash {_tool("dist_train.sh")} {config} {self.processes}'


def make_config(data: Path, out: Path, wishes: Wishes, machine: Machine) -> Recipe:
    """Write a config for a set, and the files of a split where the set has none.

    Args:
        data: Folder or annotation file.
        out: The config to write.
        wishes: What the user asks for.
        machine: What it is to be trained on.

    Returns:
        What was decided.

    Raises:
        InputError: If something is wrong with any of them; nothing is written then.
    """
    if out.suffix != '.py':
        raise InputError(f'--out {out}: a config is a file of Python, {out.name}.py')
    if out.exists():
        raise InputError(f'--out {out} exists already; remove it or give another name')
    if not out.parent.is_dir():
        raise InputError(f'--out {out}: folder {out.parent} does not exist')
    base, base_name = read_base(wishes, machine, out)
    backbone = choose_backbone(base, wishes.arch, wishes.init)
    with ExitStack() as made, replacing(out) as temporary:
        parts, found = _parts(data, out, wishes.seed, made)

        def write(pace: Optional[Pace] = None) -> Recipe:
            recipe = _recipe(data, out, base, base_name, backbone, parts, found, wishes,
                             machine, pace)
            Path(temporary).write_text(write_config(recipe), encoding='utf-8')
            return recipe

        recipe = write()
        check_config(temporary, wishes.init)
        if wishes.minutes:
            recipe = write(measure_pace(temporary, machine.processes, machine.threads))
        made.pop_all()  # keep the files
    return recipe


def read_base(wishes: Wishes, machine: Machine, out: Path) -> Tuple[BaseFacts, str]:
    """The config to build on, and how a config at ``out`` refers to it.

    Raises:
        InputError: If it does not exist or is not of a detector.
    """
    shipped = shipped_configs()
    suited = LARGE_MACHINE if machine.gpus else SMALL_MACHINE
    name = wishes.base or str(shipped / suited)
    if '::' not in name:
        path = next((path for path in (Path(name), shipped / Path(name).name)
                     if path.is_file()), None)
        if path is None:
            raise InputError(f'--base {name} does not exist')
        path, folder = path.resolve(), out.resolve().parent
        # within one checkout the config goes wherever that goes
        together = shipped.parent in folder.parents or shipped.parent == folder
        name = os.path.relpath(path, folder) if together else str(path)
        full = str(path)
    else:
        full = name
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, 'base.py')
        probe.write_text(f'_base_ = {literal(full)}\n', encoding='utf-8')
        try:
            loaded = Config.fromfile(probe)
        except Exception as error:  # a config is a program: anything can go wrong in it
            line = ' '.join(str(error).split()) or type(error).__name__
            raise InputError(f'--base {name} cannot be read: {line}') from error
    if not isinstance(loaded.get('model'), dict) or not is_detector(loaded) or (
            'train_dataloader' not in loaded):
        raise InputError(f'--base {name} is not the config of a detector')
    cfg = loaded._cfg_dict.to_dict()
    model = cfg['model']
    more = [part for part in ('semantic_head', 'panoptic_head', 'panoptic_fusion_head')
            if part in model or part in (model.get('roi_head') or {})]
    if more:
        raise InputError(f'--base {name} has a {more[0]}, which learns from more than '
                         'the boxes and masks of objects')
    return BaseFacts(Path(full), cfg), name


def _parts(data: Path, out: Path, seed: int,
           made: ExitStack) -> Tuple[Dict[str, Part], List[str]]:
    """Training, validation and test parts, and lines about them."""
    why = []
    splits = {split.name: split for split in find_splits(data)}
    if 'train' not in splits and 'all' in splits:
        splits['train'] = splits.pop('all')
    if 'train' not in splits and len(splits) == 1:
        splits['train'] = splits.pop(next(iter(splits)))
    if 'train' not in splits:
        raise InputError(f'{data} has parts {" and ".join(splits)}, none to train on')
    if 'all' in splits:
        why.append(f'not used: {splits.pop("all").ann_file}, which no name assigns to '
                   'training or validation')
    coco = CocoFile.read(splits['train'].ann_file)
    if 'val' not in splits and 'test' in splits:
        splits['val'] = splits['test']
        why.append('no validation part: the test part serves')
    if 'val' not in splits:
        if len(coco.images) < 2:
            splits['val'] = splits['train']
            why.append('one image only: it is also what is validated on, which says '
                       'nothing about others')
        else:
            paths = [made.enter_context(_removed_on_error(
                out.with_name(f'{out.stem}_{name}.json'))) for name in ('train', 'val')]
            held_out = write_split(splits['train'].ann_file, *paths, seed=seed)
            folder = splits['train'].image_folder
            splits['train'], splits['val'] = (
                Split(name, path, folder) for name, path in zip(('train', 'val'), paths))
            coco = CocoFile.read(paths[0])
            why.append(f'no validation part: {held_out} images ({HELD_OUT:.0%}), drawn '
                       f'with seed {seed}, are held out in {paths[1].name}')
    parts = {'train': Part(splits['train'], coco)}
    for name in ('val', 'test'):
        split = splits.get(name, splits['val'])
        known = next((part for part in parts.values() if part.split == split), None)
        parts[name] = known or Part(split, CocoFile.read(split.ann_file))
    if not len(parts['test'].coco.annotations):
        parts['test'] = parts['val']  # nothing to score on
    told = {part.split: _found(name, part) for name, part in reversed(parts.items())}
    return parts, [*reversed(told.values()), *why]


class _removed_on_error:
    """A file that is to be written; it goes again if something goes wrong."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Path:
        if self.path.exists():
            raise InputError(f'{self.path} exists already; remove it or give another '
                             'name')
        return self.path

    def __exit__(self, kind, *unused) -> None:
        if kind is not None:
            self.path.unlink(missing_ok=True)


def _recipe(data: Path, out: Path, base: BaseFacts, base_name: str, backbone: Backbone,
            parts: Dict[str, Part], found: List[str], wishes: Wishes, machine: Machine,
            pace: Optional[Pace] = None) -> Recipe:
    """Decide everything."""
    facts = DataFacts.of(parts['train'].coco)
    masks, about_masks = _masks(base, parts)
    batch_size = wishes.batch_size or base.cfg['train_dataloader'].get('batch_size', 2)
    batch = batch_size * machine.processes
    sizing = decide.size_images(
        facts, base.input_size, base.smallest_anchor,
        crops='RandomCrop' in str(base.cfg['train_dataloader']), wanted=wishes.image_size)
    schedule, paced = _plan(facts.images, batch, backbone.from_scratch, wishes, pace)
    new_optimizer, rate = _rate(base, backbone, batch)
    detections = decide.limit_detections(facts)
    chosen = '' if wishes.base else (
        f': {machine.gpus} GPUs' if machine.gpus else
        ': no GPU here, so one that processor cores can train')
    why = [
        *found,
        *_about_classes(facts),
        f'base {base_name}{chosen}',
        *backbone.why,
        about_masks,
        sizing.why,
        f'trained on crops of {base.input_size} px at {decide.JITTER[0]} to '
        f'{decide.JITTER[-1]} times that size, flips: {wishes.flips}'
        + (' (--flips all where up and down look alike, as under a microscope)'
           if wishes.flips == 'horizontal' else ''),
        f'up to {facts.most_objects} objects in an image: {detections} detections kept',
        *paced,
        schedule.why,
        rate.why,
        f'seed {wishes.seed}',
    ]
    command = shlex.quote(_from_here(out))
    work_dir = f'work_dirs/{out.stem}'
    trained = shlex.quote(f'{work_dir}/epoch_{schedule.epochs}.pth')
    return Recipe(
        base=base, base_name=base_name, data_root=_root(data), **parts, data=facts,
        masks=masks, backbone=backbone.changes or None,
        in_channels=backbone.in_channels, sizing=sizing, crop=base.input_size,
        flips=wishes.flips, batch_size=batch_size, processes=machine.processes,
        detections=detections, schedule=schedule, rate=rate,
        new_optimizer=new_optimizer, seed=wishes.seed, why=tuple(why),
        commands=(machine.train_command(command),
                  f'python {_tool("test.py")} {command} {trained}',
                  f'python {_tool("report.py")} {shlex.quote(work_dir)}'))


def _plan(images: int, batch: int, from_scratch: bool, wishes: Wishes,
          pace: Optional[Pace]) -> Tuple[decide.Schedule, List[str]]:
    """The schedule, and a line about the machine if that decides."""
    if pace is None:
        seen = decide.images_to_see(images, from_scratch)
        return decide.plan(images, batch, seen, from_scratch, wishes.epochs), []
    seen, validations = decide.fit_minutes(wishes.minutes, pace, batch)
    line = (f'{wishes.minutes:g} minutes on this machine: {pace.start:.0f} s to start, '
            f'{pace.step:.2f} s a step, {pace.validation:.0f} s a validation')
    return decide.plan(images, batch, seen, from_scratch,
                       validations=validations), [line]


def _rate(base: BaseFacts, backbone: Backbone, batch: int) -> Tuple[bool, decide.Rate]:
    """Whether AdamW comes in, and the learning rate."""
    optimizer = base.cfg['optim_wrapper'].get('optimizer', {})
    adaptive = 'Adam' in optimizer.get('type', '')
    if backbone.is_as_vit and not adaptive:  # no transformer learns by plain descent
        return True, decide.scale_rate(1e-4, 16, batch, True)
    base_batch = (base.cfg.get('auto_scale_lr') or {}).get('base_batch_size', batch)
    return False, decide.scale_rate(optimizer.get('lr', 1e-4), base_batch, batch,
                                    adaptive)


def _root(data: Path) -> Path:
    return Path(os.path.abspath(data if data.is_dir() else data.parent))


def _found(name: str, part: Part) -> str:
    objects = part.coco.annotations
    crowds = int(objects.crowds.sum())
    return (f'{name}: {len(part.coco.images)} images in {part.split.image_folder}, '
            f'{len(objects)} objects in {part.split.ann_file}'
            + (f', {crowds} of them crowds' if crowds else ''))


def _about_classes(facts: DataFacts) -> List[str]:
    few = ', '.join(map(repr, facts.classes[:8]))
    count = len(facts.classes)
    lines = [f'{count} class{"es" if count > 1 else ""}: {few}'
             + (' ...' if count > 8 else '')]
    if facts.left_out:
        lines.append(f'left out: category {facts.left_out[0]!r}, above all others and '
                     'without objects')
    return lines


def _masks(base: BaseFacts, parts: Dict[str, Part]) -> Tuple[bool, str]:
    """Whether masks are predicted, and a line about it."""
    if not base.predicts_masks:
        return False, 'boxes only, as the base'
    files = {part.split: part.coco for part in parts.values()}
    unmasked, count = count_unmasked(files.values())
    if not unmasked:
        return True, 'boxes and masks'
    return False, ('boxes only: the set has no masks' if unmasked == count else
                   f'boxes only: {unmasked} of {count} objects have no mask')


def check_config(path: str, init: Optional[str]) -> None:
    """Load a config, look at what its annotation files hold, and build its model.

    Raises:
        InputError: If a run would be refused, or weights that the user gave do not fit.
    """
    with redirect_stdout(io.StringIO()):  # it tells what else it would like to import
        import_module('mmdet.datasets')
    cfg = Config.fromfile(path)
    cfg.work_dir = None  # nothing is mended before the run
    check_data(cfg, images=False)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    with blaming('model'):
        model = MODELS.build(cfg.model)
    if init and '://' not in init:
        model.backbone.init_weights()


def _from_here(path: Path) -> str:
    """A path as one would type it in the current directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative


def _tool(name: str) -> str:
    return shlex.quote(_from_here(shipped_configs().parent / 'tools' / name))
