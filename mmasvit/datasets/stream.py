"""Epochs of any length over a set of any size."""
from typing import Iterator, Optional, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


@DATA_SAMPLERS.register_module(force=True)
class StreamSampler(Sampler):
    """Images in a stream of shuffled passes over the set, cut into epochs.

    For sets that are so small that starting an epoch would take longer than the epoch, or
    so large that the run should be validated, or end, within one. What an epoch has is a
    function of (seed, epoch) alone: a resumed run sees what the unbroken one would have.

    Args:
        dataset: The set.
        images_per_epoch: Images in an epoch of all processes together; rounded up to a
            multiple of their number.
        seed: Of the shuffling. Defaults to None: one drawn for all processes.
    """

    def __init__(self, dataset: Sized, images_per_epoch: int, seed: Optional[int] = None):
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.num_samples = -(-images_per_epoch // self.world_size)

    def __iter__(self) -> Iterator[int]:
        size, length = len(self.dataset), self.num_samples * self.world_size
        first_pass, begin = divmod(self.epoch * length, size)
        passes = range(first_pass, first_pass + (begin + length - 1) // size + 1)
        stream = torch.cat([self._shuffled(number) for number in passes])
        yield from stream[begin:begin + length][self.rank::self.world_size].tolist()

    def _shuffled(self, number: int) -> torch.Tensor:
        """The order of a pass."""
        generator = torch.Generator().manual_seed(self.seed + number)
        return torch.randperm(len(self.dataset), generator=generator)

    def __len__(self) -> int:
        """Images in an epoch of this process."""
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch."""
        self.epoch = epoch
