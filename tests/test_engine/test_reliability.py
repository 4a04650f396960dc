"""What a user may get wrong in a training is a line before it; what fails in it loses
nothing."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import fails, works
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmasvit.engine import launch
from mmasvit.engine.hooks import KeepingCheckpointHook
from mmasvit.errors import InputError
from mmasvit.weights import read_checkpoint

TRAIN, TEST = 'tools/train.py', 'tools/test.py'


@pytest.fixture
def config(tmp_path):
    """A classifier of 16 images, seconds to train."""
    draw = np.random.default_rng(0)
    np.savez(tmp_path / 'data.npz', **{
        f'{split}_{name}': value for split in ('train', 'test') for name, value in (
            ('images', draw.integers(0, 256, (16, 32, 32, 3), np.uint8)),
            ('labels', np.arange(16) % 4))})
    loader = f'''dict(
    batch_size=8, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='mmengine.NpzDataset', ann_file='{tmp_path}/data.npz',
                 split='train', pipeline=[dict(type='PackInputs')]))'''
    path = tmp_path / 'tiny.py'
    path.write_text(f'''
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmasvit', 'mmpretrain.datasets', 'mmpretrain.models',
                               'mmpretrain.evaluation'])
model = dict(
    type='ImageClassifier', data_preprocessor=dict(
        type='ClsDataPreprocessor', num_classes=4, mean=[128.] * 3, std=[64.] * 3),
    backbone=dict(type='AsViT', arch='4,2,2|2,1,2|2,1,2|2,1,2|8,8', out_indices=(3, ),
                  pretrain_img_size=32),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=4, in_channels=64))
train_dataloader = {loader}
val_dataloader = test_dataloader = {loader}
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1, ))
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='LinearLR', by_epoch=False, begin=0, end=4)]
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1,
                                     max_keep_ckpts=1))
custom_hooks = [dict(type='EpochSeedHook')]
randomness = dict(seed=0)
log_level = 'ERROR'
''')
    return path


WRONG = [
    ('optim_wrapper.optimizer.lr=fast', 'optim_wrapper: .*'),
    ('optim_wrapper.optimizer.lr=nan', 'optim_wrapper.optimizer.lr must be a finite'),
    ('optim_wrapper.optimizer.lr=inf', 'optim_wrapper.optimizer.lr must be a finite'),
    ('optim_wrapper.optimizer.momentum=-1', 'optim_wrapper: Invalid momentum'),
    ('optim_wrapper.optimizer.lrr=1', "optim_wrapper: .*'lrr'"),
    ('optim_wrapper.optimizer.type=SGDD', "optimizer.type: there is no 'SGDD'"),
    ('optim_wrapper=5', 'optim_wrapper must be a dict'),
    ('param_scheduler.0.begin=soon', 'param_scheduler.0.begin: must be a number'),
    ('param_scheduler.0.type=Line', 'param_scheduler: .*Line'),
    ('train_cfg.max_epoch=3', "train_cfg: .*'max_epoch'"),
    ('train_dataloader.batch_size=0', 'batch_size: it must be a whole number'),
    ('train_dataloader.num_workers=100000', 'num_workers: it must be a whole number'),
    ('train_dataloader.shuffel=True', "train_dataloader.*'shuffel'"),
    ('train_dataloader.dataset.split=none', 'none'),
    ('train_dataloader.dataset.pipeline.0.type=Pack', 'train_dataloader.*Pack'),
    ('train_dataloader.sampler.type=Sample', 'train_dataloader.*Sample'),
    ('train_dataloader=[]', 'train_dataloader must be a dict'),
    ('val_evaluator.type=Accurate', 'val_evaluator.*Accurate'),
    ('model.backbone.arch=4,2,2|2,1,2|2,1,2|2,1,2,999999999|8,8', 'depths must be .*1000'),
    ('model.backbone.atch=small', "model: .*'atch'"),
    ('model=None', 'has no model'),
    ('model.type=Classifier', 'model: .*Classifier'),
    ('default_hooks.checkpoint.interwal=1', "hook CheckpointHook: .*'interwal'"),
    ('custom_hooks.0.type=SeedHook', 'hook SeedHook: .*SeedHook'),
    ('custom_hooks=5', 'custom_hooks must be a list'),
    ('optim_wraper.optimizer.lr=1', 'optim_wraper is no entry .*optim_wrapper is meant'),
    ('env_cfg=5', 'env_cfg must be a dict'),
    ('log_level=LOUD', 'LOUD'),
]


@pytest.mark.parametrize('option, line', WRONG)
def test_wrong_values_are_a_line_and_leave_nothing(config, tmp_path, option, line):
    import re
    work = tmp_path / 'work'
    said = fails(TRAIN, config, '--work-dir', work, '--cfg-options', option)
    assert re.search(line, said), said
    assert not work.exists() or not list(work.iterdir())


def test_a_metric_that_cannot_score_is_a_line_and_the_checkpoint_is_there(
        config, tmp_path):
    said = fails(TRAIN, config, '--work-dir', tmp_path / 'work', '--cfg-options',
                 'val_evaluator.topk=all')
    assert 'val_evaluator' in said
    assert (tmp_path / 'work' / 'epoch_1.pth').exists()


def test_an_empty_config_is_a_line(tmp_path):
    (tmp_path / 'empty.py').write_text('')
    for tool, more in ((TRAIN, ()), (TEST, ('none.pth', ))):
        assert 'has no model and no ' in fails(tool, tmp_path / 'empty.py', *more)


def test_a_hook_of_ones_own_is_a_line_and_its_traceback_is_in_the_log(config, tmp_path):
    (tmp_path / 'own_hook.py').write_text('''
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module(force=True)
class OwnHook(Hook):
    def after_train_epoch(self, runner):
        return 1 / 0
''')
    config.write_text(config.read_text() + f'''
import sys
sys.path.append('{tmp_path}')
custom_imports['imports'].append('own_hook')
custom_hooks.append(dict(type='OwnHook'))
del sys
''')
    work = tmp_path / 'work'
    said = fails(TRAIN, config, '--work-dir', work)
    assert 'hook OwnHook in after_train_epoch: division by zero (in ' in said
    assert 'own_hook.py, line 8' in said
    log, = work.glob('*/*.log')
    assert 'Traceback' in log.read_text() and 'return 1 / 0' in log.read_text()


@pytest.mark.parametrize('epoch', [1, 2, 3])
def test_a_disk_that_fills_at_a_checkpoint_leaves_the_one_before(
        config, tmp_path, epoch, monkeypatch):
    whole, work = tmp_path / 'whole', tmp_path / 'work'
    works(TRAIN, config, '--work-dir', whole)
    save, saved = torch.save, []

    def fill(content, file):
        saved.append(1)
        if len(saved) == epoch:
            save(content, file)
            raise OSError(28, 'No space left on device')
        save(content, file)

    with monkeypatch.context() as patch:
        patch.setattr('mmengine.runner.checkpoint.torch.save', fill)
        said = fails(TRAIN, config, '--work-dir', work)
    assert f'epoch_{epoch}.pth cannot be written: No space left on device' in said
    left = [path.name for path in work.iterdir() if path.suffix == '.pth'
            or path.name.startswith('.')]
    assert left == ([f'epoch_{epoch - 1}.pth'] if epoch > 1 else [])
    works(TRAIN, config, '--work-dir', work, '--resume')
    ends = [read_checkpoint(str(folder / 'epoch_3.pth'))['state_dict']
            for folder in (whole, work)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not (work / 'epoch_2.pth').exists()


def test_the_older_checkpoint_goes_last(config, tmp_path, monkeypatch):
    there = []
    real = Runner.save_checkpoint

    def look(self, out_dir, filename, *args, **kwargs):
        real(self, out_dir, filename, *args, **kwargs)
        there.append(sorted(path.name for path in Path(out_dir).glob('epoch_*')))

    monkeypatch.setattr(Runner, 'save_checkpoint', look)
    works(TRAIN, config, '--work-dir', tmp_path / 'work')
    # the new one has a temporary name while it is written, and the old one is there
    assert there == [[], ['epoch_1.pth'], ['epoch_2.pth']]
    assert [path.name for path in (tmp_path / 'work').glob('*.pth')] == ['epoch_3.pth']


def test_what_a_killed_run_had_still_to_remove_is_removed(config, tmp_path, monkeypatch):
    work = tmp_path / 'work'

    class Killed(BaseException):
        pass

    def die(self):
        if (work / 'epoch_2.pth').exists():
            raise Killed
        real(self)

    backend = KeepingCheckpointHook._save_checkpoint_with_step.__globals__['_LateRemoval']
    real = backend.remove_now
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(backend, 'remove_now', die)
        works(TRAIN, config, '--work-dir', work)
    assert {'epoch_1.pth', 'epoch_2.pth'} <= set(os.listdir(work))
    works(TRAIN, config, '--work-dir', work, '--resume')
    assert [path.name for path in work.glob('*.pth')] == ['epoch_3.pth']


def test_a_resumed_run_validates_what_its_checkpoint_is_too_early_for(config, tmp_path):
    @HOOKS.register_module(force=True)
    class Scores(Hook):
        seen = []

        def after_val_epoch(self, runner, metrics=None):
            self.seen.append((runner.epoch, metrics['accuracy/top1']))

    def train(folder, **changes):
        Scores.seen = []
        cfg = launch.load_config(str(config))
        cfg.merge_from_dict(dict(work_dir=str(folder), experiment_name=folder.name,
                                 launcher='none', **changes))
        cfg.custom_hooks.append(dict(type='Scores'))
        folder.mkdir(exist_ok=True)
        if (folder / 'epoch_2.pth').exists():
            cfg.load_from, cfg.resume = str(folder / 'epoch_2.pth'), True
        launch.build_runner(cfg).train()
        return Scores.seen

    whole = train(tmp_path / 'whole')
    train(tmp_path / 'cut', train_cfg=dict(max_epochs=2))
    assert train(tmp_path / 'cut') == whole[1:] and len(whole) == 3


@pytest.mark.parametrize('how', ['resume', 'auto', 'load_from', 'init_cfg', 'test'])
def test_no_stranger_runs(config, tmp_path, how):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'ran'), )

    work, path = tmp_path / 'work', tmp_path / 'work' / 'epoch_1.pth'
    work.mkdir()
    torch.save(dict(state_dict=dict(a=torch.zeros(1)), meta=Trap()), path)
    words = dict(
        resume=(TRAIN, config, '--resume', path), auto=(TRAIN, config, '--resume'),
        load_from=(TRAIN, config, '--cfg-options', f'load_from={path}'),
        init_cfg=(TRAIN, config, '--cfg-options',
                  'model.backbone.init_cfg.type=Pretrained',
                  f'model.backbone.init_cfg.checkpoint={path}'),
        test=(TEST, config, path))[how]
    assert 'holds more than weights' in fails(*words, '--work-dir', work)
    assert not (tmp_path / 'ran').exists() and os.listdir(work) == ['epoch_1.pth']


@pytest.mark.slow
def test_an_ascii_locale_and_a_folder_that_is_no_text(config, tmp_path):
    folder = os.fsencode(tmp_path) + b'/caf\xe9'
    done = subprocess.run(
        [sys.executable, TRAIN, str(config), '--work-dir', folder], text=True,
        capture_output=True, encoding='utf-8', errors='replace',
        cwd=Path(__file__).parents[2],
        env=dict(os.environ, LC_ALL='C', PYTHONCOERCECLOCALE='0', PYTHONUTF8='0'))
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: work directory ')
    assert 'its name is no UTF-8 text' in done.stderr


def test_two_trainings_in_one_folder(config, tmp_path):
    from mmasvit.lock import locked
    work = tmp_path / 'work'
    work.mkdir()
    with locked(work):
        assert 'another run works in' in fails(TRAIN, config, '--work-dir', work)
    assert os.listdir(work) == []


def test_two_processes_are_refused_alike(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), launcher='none'))
    with launch.alone(cfg):
        with pytest.raises(InputError, match='another run'), launch.alone(cfg):
            pass
