"""What an epoch draws depends on (seed, epoch, rank) and on nothing before it."""
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.registry import FUNCTIONS, HOOKS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmasvit.engine.hooks import EpochSeedHook, epoch_seed, seed_worker


def draw():
    """One number of each generator that training uses."""
    return (random.random(), np.random.rand(), torch.rand(1).item(),
            torch.randperm(10**6)[0].item())


def begin(seed=0, epoch=0):
    """Begin an epoch; the hook reads two numbers of the runner."""
    EpochSeedHook().before_train_epoch(SimpleNamespace(seed=seed, epoch=epoch))


class Augmented(Dataset):
    """Eight samples of three random numbers each, as an augmentation would draw."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(rows=torch.tensor([index, *draw()[:3]], dtype=torch.float64))


def loader(num_workers, **options):
    return DataLoader(Augmented(), batch_size=2, num_workers=num_workers,
                      worker_init_fn=seed_worker, **options)


def epoch_of(batches, epoch, seed=0):
    begin(seed, epoch)
    return torch.cat([batch['rows'] for batch in batches])


# ---------------------------------------------------------------------- the process


def test_an_epoch_draws_the_same_again():
    begin(seed=3, epoch=5)
    first = draw()
    draw()
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    begin(seed=3, epoch=5)
    assert draw() == first


def test_seeds_and_epochs_differ():
    """Also along the diagonals: (seed, epoch) is not just a sum."""
    drawn = []
    for seed in range(8):
        for epoch in range(8):
            begin(seed, epoch)
            drawn.append(draw())
    for numbers in zip(*drawn):
        assert len(set(numbers)) == 64


def test_ranks_differ(monkeypatch):
    drawn = set()
    for rank in range(16):
        monkeypatch.setattr(epoch_seed, 'get_rank', lambda rank=rank: rank)
        for epoch in range(4):
            begin(epoch=epoch)
            drawn.add(draw()[2])
    assert len(drawn) == 64


def test_large_seeds_are_taken():
    begin(seed=2**31 - 1, epoch=299)
    begin(seed=2**32 - 1, epoch=10**6)


# ---------------------------------------------------------------------- the workers


@pytest.mark.parametrize('num_workers', [0, 2])
def test_epochs_are_augmented_differently_and_repeatably(num_workers):
    batches = loader(num_workers)
    first, second = epoch_of(batches, 0), epoch_of(batches, 1)
    again, other_seed = epoch_of(batches, 0), epoch_of(batches, 0, seed=1)
    assert torch.equal(first, again)
    for other in (second, other_seed):
        assert not (first[:, 1:] == other[:, 1:]).any()


def test_workers_of_an_epoch_differ():
    drawn = epoch_of(loader(2), 0)[:, 1:]
    for column in drawn.T:
        assert len(column.unique()) == len(drawn)


def test_a_new_loader_continues_as_the_old_one_would():
    """After a resume nothing of the earlier epochs has been drawn."""
    old = loader(2)
    epoch_of(old, 0), epoch_of(old, 1)
    assert torch.equal(epoch_of(old, 2), epoch_of(loader(2), 2))


# ----------------------------------------------------------------------- a real run


class Recorder(BaseModel):
    """Learns nothing much; remembers what it saw and drew."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, rows, mode='loss'):
        noise = torch.rand(len(rows))
        self.seen += [(*row, extra)
                      for row, extra in zip(rows.tolist(), noise.tolist())]
        return dict(loss=(self.weight - rows.mean() - noise.mean()).square())


def train(work_dir, num_workers, max_epochs, **options):
    """Train for some epochs with the hook; give back the model."""
    model = Recorder()
    runner = Runner(
        model, str(work_dir), train_dataloader=dict(
            batch_size=2, num_workers=num_workers, dataset=Augmented(),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='default_collate'), persistent_workers=False,
            worker_init_fn=dict(type='seed_worker')),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
        custom_hooks=[dict(type='EpochSeedHook')],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        randomness=dict(seed=7), log_level='ERROR', experiment_name=str(work_dir.name),
        **options)
    runner.train()
    return model


@pytest.mark.parametrize('num_workers', [0, 2])
def test_resumed_run_equals_the_uninterrupted_one(tmp_path, num_workers):
    whole = train(tmp_path / 'whole', num_workers, 3)
    part = train(tmp_path / 'part', num_workers, 2)
    rest = train(tmp_path / 'rest', num_workers, 3, resume=True,
                 load_from=str(tmp_path / 'part' / 'epoch_2.pth'))
    assert len(whole.seen) == 24
    assert part.seen + rest.seen == whole.seen
    assert torch.equal(rest.weight, whole.weight)
    for column in list(zip(*whole.seen))[1:]:
        assert len(set(column)) == 24  # no epoch repeats another


def test_both_are_registered():
    assert HOOKS.get('EpochSeedHook') is EpochSeedHook
    assert FUNCTIONS.get('seed_worker') is seed_worker
