"""From a trained DVT to the curves, and to a checkpoint whose exits stop."""
import csv

import cv2
import numpy as np
import pytest
import torch
from dvts import build, config
from helpers import fails, works
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmasvit import analysis
from mmasvit.adaptive.measure import exit_macs
from mmasvit.engine import checkpoints

SWEEP, CALIBRATE = 'tools/sweep_budgets.py', 'tools/calibrate_exits.py'


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder of a cascade's config, checkpoint and images."""
    folder = tmp_path_factory.mktemp('cascade')
    rng = np.random.default_rng(0)
    for part, number in (('train', 1), ('val', 5)):
        for name in 'abcd':
            (folder / part / name).mkdir(parents=True)
            for i in range(number):
                noise = rng.integers(0, 50 + 40 * i, (64, 64, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / part / name / f'{i}.png'), noise)

    def loader(part):
        return dict(batch_size=3, num_workers=0,
                    sampler=dict(type='DefaultSampler', shuffle=False),
                    dataset=dict(type='CustomDataset', data_root=str(folder),
                                 data_prefix=part, pipeline=[
                                     dict(type='LoadImageFromFile'),
                                     dict(type='PackInputs')]))

    evaluator = dict(type='Accuracy')
    Config(dict(
        custom_imports=dict(imports=['mmasvit']), model=config(),
        default_scope='mmpretrain', train_dataloader=loader('train'),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
        val_dataloader=loader('val'), val_cfg=dict(), val_evaluator=evaluator,
        custom_hooks=[dict(type='EMAHook')],
        test_dataloader=loader('val'), test_cfg=dict(), test_evaluator=evaluator,
    )).dump(folder / 'c.py')
    state = build().state_dict()  # the weights that are shipped; EMAHook keeps others too
    others = {f'module.{key}': torch.zeros_like(value) for key, value in state.items()}
    torch.save(dict(state_dict=state, ema_state_dict=others, meta={}), folder / 'c.pth')
    return folder


def table(folder):
    with open(folder / 'budgets.csv') as file:
        return [dict(row, **{key: float(row[key]) for key in row if key != 'kind'})
                for row in csv.DictReader(file)]


def macs(run):
    """GMACs of an image that leaves at each exit."""
    cfg = Config.fromfile(run / 'c.py')
    return np.array(exit_macs(analysis.build_to_count(cfg), (64, 64))) / 1e9


def test_costs_are_cumulative_and_hold_the_reuse(run):
    init_default_scope('mmpretrain')
    dvt, total, expected = build(), 0, []
    for place, (network, stride) in enumerate(zip(dvt.networks, dvt.token_strides)):
        total += network.backbone.count_macs((64, 64), stride) + 80 * 4  # and the head
        if place:
            up = dvt.token_strides[place - 1]
            cells = [max(1, 64 // up // 2**i) for i in range(4)]
            topology = network.backbone.topology
            for i, (depth, heads) in enumerate(zip(topology.depths, topology.heads)):
                windows = 4 if i == 0 else 1
                tokens = cells[i]**2 // windows
                total += depth * cells[3]**2 * (80 * 128 + 128 * 48)
                total += windows * tokens**2 * 6 * (depth * heads)**2
        expected.append(total / 1e9)
    np.testing.assert_allclose(macs(run), expected, rtol=1e-9)
    printed = works('tools/plan_tokens.py', run / 'c.py', '--shape', 64).splitlines()
    assert [line.split()[1:-1] for line in printed[2:]] == [
        [str(stride), side, 'x', side, f'{cost:.3f}']
        for stride, side, cost in zip((16, 8, 4), ('4', '8', '16'), expected)]


@pytest.mark.slow
def test_sweep_has_both_rules_their_control_and_the_exits(run):
    printed = works(SWEEP, run / 'c.py', run / 'c.pth', '--work-dir', run / 'sweep')
    assert '20 images of val_dataloader' in printed
    assert 'thresholds of the other' in printed
    rows = table(run / 'sweep')
    assert {row['kind'] for row in rows} == {'fixed', 'oracle', 'cascade', 'best',
                                             'control'}
    fixed = [row for row in rows if row['kind'] == 'fixed']
    np.testing.assert_allclose([row['gmacs'] for row in fixed], macs(run))
    out = works('tools/test.py', run / 'c.py', run / 'c.pth', '--work-dir', run / 't',
                '--cfg-options', 'model.test_cfg.token_stride=8')
    assert f'accuracy/top1: {100 * fixed[1]["score"]:.4f}' in out
    assert (run / 'sweep/budgets.png').stat().st_size > 10000


@pytest.mark.slow
@pytest.mark.parametrize('how', ['--budget', '--q'])
def test_calibrated_checkpoint_stops_as_it_says(run, how):
    value = macs(run)[1] if how == '--budget' else 1.
    printed = works(CALIBRATE, run / 'c.py', run / 'c.pth', how, value, '--out',
                    run / 'new.pth')
    assert '20 images calibrate' in printed
    assert 'none of them among the 4 of train_dataloader' in printed
    old, new = (checkpoints.read(str(run / name))['state_dict']
                for name in ('c.pth', 'new.pth'))
    changed = {key for key in old if not torch.equal(old[key], new[key])}
    assert changed == {'exit_thresholds'}
    together = printed.split('together: ')[1]
    right, cost = float(together.split('%')[0]), float(together.split()[3])
    if how == '--budget':
        assert cost <= value + 1e-4
    out = works('tools/test.py', run / 'c.py', run / 'new.pth', '--work-dir', run / 't')
    assert f'accuracy/top1: {right:.1f}' in out


@pytest.mark.slow
def test_bad_input_is_one_line(run):
    words = (CALIBRATE, run / 'c.py', run / 'c.pth', '--out', run / 'no.pth')
    assert 'that the first exit costs' in fails(*words, '--budget', 1e-6)
    assert 'one of the arguments --budget --q is required' in fails(*words)
    assert '--q must be a finite number above 0' in fails(*words, '--q', 0)
    assert 'are also in train_dataloader' in fails(
        *words, '--q', 1, '--cfg-options', 'val_dataloader.dataset.data_prefix=train')
    assert "must be of type 'DVT'" in fails(
        CALIBRATE, 'configs/revit_asvit_imagenette.py', *words[2:], '--q', 1)
    assert "must be of type 'ReViT' or 'DVT'" in fails(
        SWEEP, 'configs/asvit_tiny_shapes.py', run / 'c.pth', '--work-dir', run / 'no')
    assert "must be of type 'ReViT'" in fails(
        'tools/label_token_lengths.py', run / 'c.py', run / 'c.pth', '--out',
        run / 'no.json')
    assert 'does not fit the model' in fails(
        SWEEP, run / 'c.py', run / 'c.pth', '--work-dir', run / 'no', '--cfg-options',
        'model.reuse.relations=False')
    assert not (run / 'no.pth').exists() and not (run / 'no.json').exists()
