"""Average precision of tiny detectors on real images: As-ViT's parts one by one, others.

    python benchmarks/detection.py                   # short, makes its own data
    python benchmarks/detection.py --data ../shared/data/{nuclei,blood}_coco --seeds 3
    python benchmarks/detection.py --data ../shared/data/nuclei_coco \
        --only asvit asvit+shift+conv swin --lr 4e-4 8e-4 --jobs 2

Every contestant gets the same recipe, that of ``configs/_base_/cascade_tiny.py`` as
``tools/new_config.py`` lays it out for the data (256 px crops, batch 4, AdamW), but on
images at their own size and for so many iterations, from random weights. A name is a
backbone and, after ``+``, what is added to or changed in it; any combination can be asked
for. A finished run is a row of ``detection.csv`` in the work directory and is not run
again. With ``--jobs`` that many run side by side, the CPUs shared out evenly: seconds of
one run can be compared with one another, not with those under another ``--jobs``.
"""
import argparse
import csv
import itertools
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional

import torch
from common.shapes import make_data
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmasvit.analysis import count_macs, use_explicit_paths
from mmasvit.errors import InputError, one_line_errors
from mmasvit.files import TableFile
from mmasvit.memory import keep_memory
from mmasvit.recipe.make import Machine, Wishes, make_config
from mmasvit.tables import print_table

ROOT = Path(__file__).resolve().parents[1]
CROP = 256  # of cascade_tiny.py
# Config, and what its backbone is changed by.
BACKBONES = {
    'asvit': ('cascade_asvit_tiny', {}),
    'asvit24': ('cascade_asvit_tiny', dict(  # as narrow and deep as the Swin
        arch='8,4,3,2|4,2,3,2|4,1,4,2|4,1,4,2|16,24')),
    'swin': ('cascade_swin_tiny', {}),
    'resnet18': ('cascade_resnet18_tiny', {}),
    # the same at the multiply-accumulates of 'asvit', within 5 %
    'swin_equal': ('cascade_swin_tiny', dict(depths=(2, 2, 4, 2))),
    'resnet18_equal': ('cascade_resnet18_tiny', dict(
        base_channels=23, stem_channels=23, norm_cfg=dict(type='GN', num_groups=23))),
}
PARTS = {
    'xavier': dict(init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),
    'scaled': dict(residual_init_scale=8**-.5),  # two branches in each of four blocks
    'zero': dict(residual_init_scale=0.),
    'shift': dict(shift_windows=True),
    'global': dict(global_blocks=(0, 0, 1, 9)),  # last of stage 3, all of stage 4
    'bias': dict(use_rel_pos_bias=True),
    'conv': dict(use_conv_pos_embed=True),
    'abs': dict(use_abs_pos_embed=True),
    'apart': dict(arch='4,4,3,1|2,2,3,1|2,1,4,1|2,1,4,1|16,32'),  # kernels do not overlap
}
DEFAULT = ['asvit', *(f'asvit+{part}' for part in PARTS), 'asvit+shift+global+conv',
           'swin', 'swin_equal', 'resnet18', 'resnet18_equal']
SCORES = [f'{kind}_{name}' for kind in ('bbox', 'segm')
          for name in ('mAP', 'mAP_50', 'mAP_s', 'mAP_m', 'mAP_l')]


class Case(NamedTuple):
    """One run: what a row of the table is found again by."""
    data: str
    network: str
    seed: int
    iters: int
    lr: float
    drop_path: float


COLUMNS = [*Case._fields, 'gmacs', 'params', 'seconds', *SCORES]


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', nargs='+', metavar='FOLDER', help='sets in COCO format '
                        'with a part to train on and one to validate on; default: a small '
                        'one is made')
    parser.add_argument('--only', nargs='+', metavar='NAME',
                        help=f"of {', '.join(BACKBONES)}, an As-ViT with parts "
                        f"{', '.join('+' + part for part in PARTS)}; default: with --data "
                        f"{', '.join(DEFAULT)}, else {', '.join(BACKBONES)}")
    parser.add_argument('--seeds', type=int, default=1, metavar='N')
    parser.add_argument('--iters', type=int, metavar='N',
                        help='default: 480 with --data, else 20')
    parser.add_argument('--lr', type=float, nargs='+', default=[8e-4],
                        help='learning rates, a run each (default: %(default)s)')
    parser.add_argument('--drop-path', type=float, default=0., metavar='RATE',
                        help='of every backbone that has it (default: %(default)s)')
    parser.add_argument('--val-images', type=int, metavar='N',
                        help='validate on the first N; default: all')
    parser.add_argument('--jobs', type=int, default=1, metavar='N',
                        help='runs at a time (default: %(default)s)')
    parser.add_argument('--work-dir', default='work_dirs/detection', metavar='DIR')
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Fill in what was left out, and refuse what cannot be run, before anything is."""
    from mmasvit.engine.preflight import check_writable
    args.only = args.only or (DEFAULT if args.data else list(BACKBONES))
    if args.iters is None:
        args.iters = 480 if args.data else 20
    for name in args.only:
        backbone_of(name)
    if min(args.seeds, args.iters, args.jobs, args.val_images or 1) < 1 or min(args.lr) <= 0:
        raise InputError('--seeds, --iters, --jobs and --val-images must be at least '
                         '1, --lr above 0')
    if not 0 <= args.drop_path < 1:
        raise InputError('--drop-path must be at least 0 and below 1')
    names = [Path(folder).resolve().name for folder in args.data or ()]
    if len(set(names)) < len(names):
        raise InputError(f'--data: two folders of one name, {", ".join(names)}')
    check_writable(args.work_dir)


def backbone_of(name: str) -> tuple:
    """Name of the config, and what its backbone is changed by.

    Raises:
        InputError: If the name is not known.
    """
    backbone, *parts = name.split('+')
    unknown = [part for part in parts if part not in PARTS]
    if backbone not in BACKBONES or unknown or parts and not backbone.startswith('asvit'):
        raise InputError(f'unknown network {name}; known are {", ".join(BACKBONES)}, '
                         f'As-ViT with {", ".join("+" + part for part in PARTS)}')
    config, options = BACKBONES[backbone]
    for part in parts:
        options = {**options, **PARTS[part]}
    return config, options


def change(model: dict, options: dict) -> None:
    """Change the backbone of a model, and what reads its outputs."""
    model['backbone'].update(options)
    if 'base_channels' in options:  # a ResNet does not say what it gives
        model['neck']['in_channels'] = [options['base_channels'] * 2**i for i in range(4)]


def config_path(case: Case, folder: Path) -> Path:
    """The config of a case's backbone for its data, made where it is not there."""
    base, _ = backbone_of(case.network)
    path = folder / f'{Path(case.data).name}_{base}.py'
    if not path.exists():
        make_config(Path(case.data), path, Wishes(
            base=str(ROOT / f'configs/{base}.py'), batch_size=4), Machine.this())
    return path


def make_cfg(case: Case, folder: Path, val_images: Optional[int]) -> Config:
    """The config of a run."""
    _, options = backbone_of(case.network)
    path = config_path(case, folder)
    cfg = Config.fromfile(path)
    change(cfg.model, options)
    if case.drop_path and cfg.model.backbone.type != 'ResNet':
        cfg.model.backbone.drop_path_rate = case.drop_path
    cfg.optim_wrapper.optimizer.lr = case.lr
    # new_config.py magnifies small objects: better, but validation takes long
    train, test = (loader.dataset.pipeline for loader in (cfg.train_dataloader,
                                                          cfg.val_dataloader))
    train[:] = [step for step in train
                if step.type not in ('RandomChoice', 'RandomResize')]
    test[:] = [dict(type='Resize', scale_factor=1., keep_ratio=True)
               if step.type == 'Resize' else step for step in test]
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    if val_images:
        cfg.val_dataloader.dataset.indices = val_images
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=case.iters,
                         val_interval=case.iters)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
        dict(type='CosineAnnealingLR', by_epoch=False, begin=0, T_max=case.iters,
             eta_min=1e-5)]
    cfg.custom_hooks = []  # that of epochs
    cfg.default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=-1,
                                             save_last=False),
                             logger=dict(type='LoggerHook', interval=50))
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = cfg.auto_scale_lr = None
    cfg.randomness = dict(seed=case.seed)
    cfg.work_dir, cfg.log_level = str(folder / 'runs'), 'WARNING'
    cfg.experiment_name = '_'.join(map(str, case._replace(data=path.stem)))
    return cfg


class Stopwatch(Hook):
    """Seconds of the iterations, data included, validation left out."""

    def before_train(self, runner):
        self.begin = time.perf_counter()

    def before_val(self, runner):
        self.seconds = time.perf_counter() - self.begin


def backbone_macs(cfg: Config) -> int:
    """Multiply-accumulates of the backbone for one crop."""
    init_default_scope('mmdet')
    backbone = MODELS.build(cfg.model.backbone)
    backbone.eval()  # mmdet's Swin does not return itself
    use_explicit_paths(backbone)
    return count_macs(lambda: backbone(torch.rand(1, 3, CROP, CROP)))


def run(case: Case, folder: Path, val_images: Optional[int]) -> Dict[str, object]:
    """Train and validate; the row of the table."""
    keep_memory()
    cfg = make_cfg(case, folder, val_images)
    macs = backbone_macs(cfg)
    runner, watch = Runner.from_cfg(cfg), Stopwatch()
    runner.register_hook(watch)
    params = sum(p.numel() for p in runner.model.backbone.parameters())
    runner.train()
    scores = {name: runner.message_hub.get_scalar(f'val/coco/{name}').current()
              if f'val/coco/{name}' in runner.message_hub.log_scalars else ''
              for name in SCORES}
    return dict(case._asdict(), gmacs=round(macs / 1e9, 4), params=params,
                seconds=round(watch.seconds, 1), **scores)


def run_all(cases: List[Case], folder: Path,
            args: argparse.Namespace) -> Iterator[Dict[str, object]]:
    """The rows of the cases as they come, each from a process of its own."""
    os.environ['OMP_NUM_THREADS'] = str(max(1, len(os.sched_getaffinity(0)) // args.jobs))
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context('spawn'),
                             max_tasks_per_child=1) as pool:
        runs = [pool.submit(run, case, folder, args.val_images) for case in cases]
        try:
            for future in as_completed(runs):
                yield future.result()
        finally:  # of a failure or ctrl-C: nothing more is started
            pool.shutdown(cancel_futures=True)


def finished(path: Path) -> List[Dict[str, str]]:
    """Rows of earlier runs.

    Raises:
        InputError: If the file is of another kind.
    """
    if not path.exists():
        return []
    with open(path, newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise InputError(f'{path} has other columns; give another --work-dir')
        return list(reader)


def cases_of(args: argparse.Namespace) -> Iterator[Case]:
    """All runs; every contestant once before the next seed."""
    for seed, data, lr, name in itertools.product(range(args.seeds), args.data, args.lr,
                                                  args.only):
        yield Case(str(Path(data).resolve()), name, seed, args.iters, lr, args.drop_path)


def show(rows: List[Dict[str, object]]) -> None:
    """Print a table per set: means over seeds, and the least and the most of them."""
    def line(runs: List[Dict[str, object]]) -> List[str]:
        first = runs[0]
        cells = [first['network'], f'{first["lr"]}', f'{len(runs)}', f'{first["gmacs"]}',
                 f'{sum(float(run["seconds"]) for run in runs) / len(runs):.0f}']
        for name in SCORES:
            values = [float(run[name]) for run in runs if run[name] != '']
            values = [value for value in values if value >= 0]  # -1: no such objects
            cells.append(f'{sum(values) / len(values):.3f}' if values else '')
            if name.endswith('mAP') and len(values) > 1:
                cells[-1] += f' ({min(values):.3f} to {max(values):.3f})'
        return cells

    for data in dict.fromkeys(row['data'] for row in rows):
        groups: Dict[tuple, List[Dict[str, object]]] = {}
        for row in rows:
            if row['data'] == data:
                key = tuple(str(row[name]) for name in Case._fields if name != 'seed')
                groups.setdefault(key, []).append(row)
        print_table(Path(data).name, ['network', 'lr', 'seeds', 'GMACs', 'seconds',
                                      *SCORES], [line(runs) for runs in groups.values()])


def main() -> None:
    """Run what is missing, print what there is."""
    args = parse_args()
    check(args)
    folder = Path(args.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    args.data = args.data or [make_data(folder / 'shapes')]
    path = folder / 'detection.csv'
    rows = finished(path)
    table = TableFile(path, COLUMNS, rows)
    done = {tuple(row[name] for name in Case._fields) for row in rows}
    cases = [case for case in cases_of(args) if tuple(map(str, case)) not in done]
    for case in cases:
        config_path(case, folder)  # before the runs, which may need the same one
    for row in run_all(cases, folder, args):
        table.append([row])
        rows.append(row)
        print(f'{Path(row["data"]).name}, {row["network"]}, seed {row["seed"]}: box AP '
              f'{row["bbox_mAP"]:.3f} after {row["seconds"]:.0f} s', flush=True)
    show(rows)


if __name__ == '__main__':
    with one_line_errors():
        main()
