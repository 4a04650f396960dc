"""A resumed run draws what the uninterrupted run would have drawn."""
import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS, HOOKS
from mmengine.runner import Runner


@HOOKS.register_module(force=True)
class EpochSeedHook(Hook):
    """Seed all generators anew at each epoch's start, by (seed, epoch, rank).

    Checkpoints hold no generator state, and detectors draw from it all the time (mmdet's
    samplers call ``torch.randperm``, stochastic depth ``torch.rand``). With this hook an
    epoch depends on nothing drawn before it. Data workers follow if they are made anew
    for each epoch (``persistent_workers=False``) and seeded by :func:`seed_worker`.
    """
    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this process for the epoch that begins."""
        entropy = (runner.seed, runner.epoch, get_rank())
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


@FUNCTIONS.register_module(force=True)
def seed_worker(worker_id: int, **unused) -> None:
    """Seed a data worker's ``numpy`` and ``random`` from its torch seed.

    torch draws that seed from the main process at each epoch's start. mmengine's own
    ``worker_init_fn`` gives the same seed in every epoch, so that workers which are made
    anew would repeat the first epoch's augmentations for ever.
    """
    seed = torch.initial_seed() % 2**32
    np.random.seed(seed)
    random.seed(seed)
