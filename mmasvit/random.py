"""Everything that this project draws by a seed, and what it is drawn for."""
from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What is drawn: two purposes never share a stream, so never correlate.

    A number stands for its stream for good: another one gives other results.
    """
    CONVOLUTIONS = 0  # weights of untrained convolutions
    LINEARS = 1  # weights of untrained linear layers
    CIRCLE = 2  # the circle of the length measures
    NOISE = 3  # standard normal images
    CLASSIFIER = 4  # random classifier and labels of grad_norm
    IMAGES = 5  # which images of a source are used
    PROPOSAL = 6  # topologies of a search
    WALK = 8  # random scaling
    TOKEN_STRIDES = 17  # at which a step of ReViT's training is
    ASSIGNMENT = 18  # random strides, and which labelled images are held out
    SUPERNET_PATH = 24  # of a step of a supernet's training
    CALIBRATION = 32  # networks that a table of latencies is calibrated with
    UNSEEN = 33  # networks that it is compared with


def generator(purpose: Purpose, *key: int) -> torch.Generator:
    """A CPU generator for a purpose and a key such as (seed, repeat)."""
    state = np.random.SeedSequence((*key, int(purpose))).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))
