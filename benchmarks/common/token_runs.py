"""One training run with or without fewer tokens first, in a process of its own."""
import json
import os
import time
from pathlib import Path
from typing import Dict

from mmasvit.paper import TABLE_6, TABLE_6_EPOCHS
from mmasvit.token_schedule import TokenSchedule

ROOT = Path(__file__).resolve().parents[2]
# Table 6 of the paper by its savings in %.
SCHEDULES = {f'{saved:.0f}': TokenSchedule(milestones)
             for milestones, saved in TABLE_6.values()}
WAYS = ('full', 'elastic')
METRICS = dict(classifier=('accuracy/top1', 'top-1 accuracy (%)'),
               detector=('coco/bbox_mAP', 'box AP'))


def make_config(spec: dict):
    """The demo's classifier or detector on other data, with or without the schedule."""
    from mmengine.config import Config
    detector, data = spec['mode'] == 'detector', Path(spec['data'])
    name = 'cascade_asvit_tiny_shapes' if detector else 'asvit_tiny_shapes'
    cfg = Config.fromfile(ROOT / f'configs/{name}.py')
    loaders = (cfg.train_dataloader, cfg.val_dataloader)
    for loader in loaders:
        loader.num_workers = 0
    if detector:
        cfg.model.backbone.init_cfg = spec['init'] and dict(
            type='Pretrained', prefix='backbone.', checkpoint=spec['init'])
        for loader in loaders:
            loader.dataset.data_root = f'{data}/'
        cfg.val_evaluator = dict(type='CocoMetric', metric=['bbox'],
                                 ann_file=f'{data}/annotations/instances_val2017.json')
    elif data.suffix == '.npz':
        use_npz(cfg, str(data))
    else:
        for loader, part in zip(loaders, ('train', 'val')):
            loader.dataset.data_root = str(data / 'crops' / part)
    for loader, count in zip(loaders, (spec['images'], spec['val_images'])):
        if count:
            loader.dataset.indices = count
    cfg.train_cfg.update(max_epochs=spec['epochs'], val_interval=spec['val_interval'])
    cfg.param_scheduler[-1].T_max = spec['epochs']
    if spec['way'] == 'elastic':
        cfg.model.backbone.resample_outputs = detector
        milestones = [(begin * spec['epochs'] / TABLE_6_EPOCHS, stride) for begin, stride
                      in SCHEDULES[spec['schedule']].milestones]
        cfg.custom_hooks.append(dict(type='ElasticTokenHook', milestones=milestones,
                                     img_size=256 if detector else 64))
    cfg.randomness = dict(seed=spec['seed'])
    cfg.default_hooks.update(checkpoint=dict(type='CheckpointHook', interval=10**6,
                                             save_last=False),
                             logger=dict(type='LoggerHook', interval=50))
    cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    cfg.work_dir, cfg.log_level = spec['work_dir'], 'WARNING'
    return cfg


def use_npz(cfg, path: str) -> None:
    """Let the demo's classifier learn images of an npz file, resized to 64 px, in larger
    batches: what a step costs whatever its tokens, such as the optimizer, weighs less."""
    from mmasvit.datasets.npz import read_npz
    classes = int(read_npz(path)[1].max()) + 1
    resize = dict(type='Resize', scale=(64, 64), interpolation='bicubic')
    pack = dict(type='PackInputs')
    for loader, part, pipeline in (
            (cfg.train_dataloader, 'train',
             [resize, dict(type='RandomFlip', prob=0.5), pack]),
            (cfg.val_dataloader, 'test', [resize, pack])):
        loader.dataset = dict(type='NpzDataset', ann_file=path, split=part,
                              pipeline=pipeline)
    cfg.model.data_preprocessor.update(num_classes=classes, to_rgb=False)
    cfg.model.head.num_classes = classes
    cfg.train_dataloader.batch_size = 64
    cfg.optim_wrapper.optimizer.lr = 1e-3


def run_once(spec: dict, core: int) -> None:
    """Train one way with one seed on one core, and leave ``result.json``."""
    os.sched_setaffinity(0, {core})
    import torch
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    from mmasvit.files import replacing
    torch.set_num_threads(1)
    metric = METRICS[spec['mode']][0]

    class Stopwatch(Hook):
        """Seconds of training without validation, and what was trained at which stride.

        One thread and no data workers: the seconds of the process are those of its core,
        whatever else the machine does.
        """
        priority = 'LOWEST'

        def __init__(self):
            self.steps, self.scores, self.total = [], [], 0.

        def before_train_epoch(self, runner):
            self.start = time.process_time()

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            self.begin = time.process_time()

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            self.steps.append((runner.model.backbone.token_stride,
                               len(data_batch['inputs']),
                               time.process_time() - self.begin))

        def after_train_epoch(self, runner):
            self.total += time.process_time() - self.start

        def after_val_epoch(self, runner, metrics=None):
            self.scores.append((runner.epoch, len(self.steps), self.total,
                                metrics[metric]))

    watch = Stopwatch()
    runner = Runner.from_cfg(make_config(spec))
    runner.register_hook(watch)
    runner.train()
    result = dict(spec=spec, seconds=watch.total, steps=watch.steps, scores=watch.scores,
                  macs=training_macs(runner))
    with replacing(Path(spec['work_dir']) / 'result.json') as temporary:
        Path(temporary).write_text(json.dumps(result))


def training_macs(runner) -> Dict[int, float]:
    """Multiply-accumulates per image of the loss's forward pass, by stride."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mmasvit.analysis import use_explicit_paths
    model = runner.model.train()
    use_explicit_paths(model)
    torch.manual_seed(0)
    batch = next(iter(runner.train_dataloader))
    macs = {}
    for stride in (16, 8, 4):
        model.backbone.set_token_stride(stride)
        data = model.data_preprocessor(batch, True)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(**data, mode='loss')
        macs[stride] = counter.get_total_flops() / 2 / len(data['data_samples'])
    return macs


def read_result(spec: dict) -> dict:
    """What a finished run of just this kind has left, or nothing."""
    path = Path(spec['work_dir']) / 'result.json'
    if path.exists():
        result = json.loads(path.read_text())
        if result['spec'] == spec:
            return result
    return {}
