"""What our Runner does that mmengine's does not: rates, resuming, a line a minute."""
import itertools
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, PARAM_SCHEDULERS
from torch import nn

from mmasvit.engine import hooks, schedules
from mmasvit.engine.runner import CarefulRunner
from mmasvit.errors import InputError

BATCH, LENGTH = 2, 8  # four iterations an epoch


@MODELS.register_module('Line', force=True)
class Line(BaseModel):
    """A linear layer."""

    def __init__(self, width=3, **unused):
        super().__init__()
        self.fc = nn.Linear(width, 1)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.fc(torch.stack(inputs)).square().mean())


@DATASETS.register_module('Points', force=True)
class Points(torch.utils.data.Dataset):
    def __len__(self):
        return LENGTH

    def __getitem__(self, index):
        return dict(inputs=torch.full((3, ), float(index)))


class NoteRates(hooks.SteadyLogHook):
    """Keeps the learning rates of all iterations."""

    def _after_iter(self, runner, *args, **kwargs):
        runner.rates.append([g['lr'] for g in runner.optim_wrapper.param_groups])


def runner(work_dir, epochs=2, cosine=True, **changes):
    """A Runner of a line through points."""
    schedule = [dict(type='LinearLR', start_factor=.1, by_epoch=False, begin=0, end=3)]
    if cosine:
        schedule.append(dict(type='CosineAnnealingLR', T_max=epochs, eta_min=1e-4,
                             convert_to_iter_based=True))
    cfg = Config(dict(
        model=dict(type='Line'), work_dir=str(work_dir), default_scope='mmengine',
        train_dataloader=dict(batch_size=BATCH, dataset=dict(type='Points'),
                              sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=.01, weight_decay=.1)),
        param_scheduler=schedule, randomness=dict(seed=0), log_level='WARNING'))
    cfg.merge_from_dict(changes)
    built = CarefulRunner.from_cfg(cfg)
    built.rates = []
    built.register_hook(NoteRates())
    return built


def resumed(work_dir, number=2, **changes):
    again = runner(work_dir, load_from=str(work_dir / f'epoch_{number}.pth'), resume=True,
                   **changes)
    again.train()
    return again


@pytest.fixture
def begun(tmp_path):
    """A work directory with a run of two epochs, and the run."""
    first = runner(tmp_path)
    first.train()
    return tmp_path, first


@pytest.mark.parametrize('changes', [
    dict(epochs=4), dict(epochs=4, cosine=False),
    {'epochs': 3, 'optim_wrapper.optimizer.lr': .05},
    {'epochs': 4, 'optim_wrapper.optimizer.weight_decay': .3}])
def test_a_longer_or_other_schedule_is_the_configs(begun, tmp_path, changes):
    work_dir, _ = begun
    whole = runner(tmp_path / 'whole', **changes)
    whole.train()
    again = resumed(work_dir, **changes)
    assert np.array(again.rates) == pytest.approx(np.array(whole.rates[8:]))
    decays = [[group['weight_decay'] for group in one.optim_wrapper.param_groups]
              for one in (whole, again)]
    assert decays[0] == decays[1]


def test_the_same_schedule_goes_on_bit_for_bit(tmp_path):
    whole = runner(tmp_path, epochs=4)
    whole.train()
    again = resumed(tmp_path, epochs=4)
    assert again.rates == whole.rates[8:]
    assert torch.equal(again.model.fc.weight, whole.model.fc.weight)


def test_an_optimizer_of_other_parameters_is_refused_in_one_line(begun):
    with pytest.raises(InputError, match='is of other parameters'):
        resumed(begun[0], epochs=3, **{'optim_wrapper.paramwise_cfg': dict(
            bias_decay_mult=0.)})


def test_a_schedule_that_follows_scores_is_refused_if_it_changes(tmp_path):
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=.1)
    plateau = PARAM_SCHEDULERS.build(dict(
        type='ReduceOnPlateauLR', optimizer=optimizer, monitor='loss', patience=3))
    start = schedules.take_start(optimizer, [plateau])
    assert schedules.follow_config(optimizer, [plateau], start, 1, 0, 0) == []
    plateau.patience = 9  # as a checkpoint with another one leaves it
    with pytest.raises(InputError, match='patience, and a schedule that follows'):
        schedules.follow_config(optimizer, [plateau], start, 1, 5, 20)


KINDS = st.lists(st.sampled_from([
    dict(type='LinearLR', start_factor=.1, by_epoch=False, end=7),
    dict(type='LinearLR', start_factor=.5, by_epoch=True, end=3),
    dict(type='CosineAnnealingLR', by_epoch=False, T_max=30, eta_min=1e-3),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=1, T_max=6),
    dict(type='MultiStepLR', by_epoch=True, milestones=[2, 4], gamma=.5),
    dict(type='MultiStepLR', by_epoch=False, milestones=[9], gamma=.3),
    dict(type='ExponentialLR', by_epoch=True, gamma=.7),
    dict(type='PolyLR', by_epoch=False, power=.9, end=40, eta_min=1e-4)]),
    min_size=1, max_size=3)


def built(kinds, lr=.1):
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([dict(params=parameters[:1]),
                                 dict(params=parameters[1:], lr=lr / 3)], lr=lr)
    return optimizer, [PARAM_SCHEDULERS.build(dict(kind, optimizer=optimizer))
                       for kind in kinds]


def run(schedulers, epochs, length):
    """Step as mmengine's hook does in a run."""
    for _ in range(epochs):
        for _, scheduler in itertools.product(range(length), schedulers):
            if not scheduler.by_epoch:
                scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()


@pytest.mark.filterwarnings('ignore')
@settings(max_examples=60, deadline=None)
@given(KINDS, KINDS, st.integers(0, 6), st.integers(1, 5), st.sampled_from([.1, .2]))
def test_after_resuming_rates_are_those_of_a_run_by_the_config(old, new, epochs, length,
                                                               lr):
    before, loaded = built(old)
    run(loaded, epochs, length)
    optimizer, schedulers = built(new, lr)
    start = schedules.take_start(optimizer, schedulers)
    optimizer.load_state_dict(before.state_dict())
    for scheduler, state in zip(schedulers, loaded):
        scheduler.load_state_dict(state.state_dict())
    changed = schedules.follow_config(optimizer, schedulers, start, len(loaded), epochs,
                                      epochs * length)
    assert bool(changed) == (old != new or lr != .1)
    expected, reference = built(new, lr)
    run(reference, epochs, length)
    for rest in range(3):
        assert [g['lr'] for g in optimizer.param_groups] == pytest.approx(
            [g['lr'] for g in expected.param_groups]), rest
        run(schedulers, 1, length), run(reference, 1, length)


def test_a_cosine_that_ends_before_the_run_is_told(tmp_path):
    (_, cosine), lines = built([
        dict(type='LinearLR', by_epoch=False, end=7),
        dict(type='CosineAnnealingLR', T_max=2, end=4)])[1], []
    for epochs in (2, 4):
        lines.append(schedules.rising_again([cosine], epochs, 99))
    assert lines[0] == [] and 'ends after 2 of 4 epochs' in lines[1][0]


@pytest.mark.parametrize('counts, rate', [(1, .005), (2, .01), (4, .02)])
def test_the_batch_of_a_step_is_what_the_rate_scales_with(tmp_path, counts, rate):
    scaled = runner(tmp_path, param_scheduler=None, auto_scale_lr=dict(
        enable=True, base_batch_size=4), **{'optim_wrapper.accumulative_counts': counts})
    scaled.train()
    assert {lr for rates in scaled.rates for lr in rates} == {rate}


@pytest.mark.parametrize('seconds, lines', [(1, 1), (25, 3), (70, 7)])
def test_there_is_a_line_at_once_and_one_a_minute(tmp_path, monkeypatch, caplog, seconds,
                                                  lines):
    """Eight iterations that take so long each, and a logger that waits for fifty."""
    clock = itertools.count(0, seconds)
    monkeypatch.setattr(hooks.steady_log.time, 'monotonic', lambda: next(clock))
    quiet = runner(tmp_path, epochs=1, **{'train_dataloader.batch_size': 1,
                                          'log_level': 'INFO'})
    quiet.logger.addHandler(caplog.handler)
    quiet.train()
    found = [int(number) for record in caplog.records
             for number in re.findall(r'Epoch\(train\).*\[(\d)/8\]', record.message)]
    # the last is LoggerHook's
    assert found[0] == 1 and found[-1] == 8 and len(found) == len(set(found)) == lines + 1


def test_without_a_logger_there_is_no_line(tmp_path, caplog):
    silent = runner(tmp_path, epochs=1, default_hooks=dict(logger=None), log_level='INFO')
    silent.logger.addHandler(caplog.handler)
    silent.train()
    assert not any('Epoch(train)' in record.message for record in caplog.records)


def test_a_test_does_not_ask_the_schedule(begun):
    """There it is a config still."""
    tested = runner(begun[0], load_from=str(begun[0] / 'epoch_2.pth'))
    tested.load_or_resume()
    assert torch.equal(tested.model.fc.weight, begun[1].model.fc.weight)
