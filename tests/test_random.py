"""Purposes are streams: never the same one twice, never another number."""
import numpy as np
import torch

from mmasvit.random import Purpose, generator


def test_numbers_stay():
    """Each is part of the key that results were drawn with."""
    assert {purpose.name: purpose.value for purpose in Purpose} == dict(
        CONVOLUTIONS=0, LINEARS=1, CIRCLE=2, NOISE=3, CLASSIFIER=4, IMAGES=5, PROPOSAL=6,
        WALK=8, TOKEN_STRIDES=17, ASSIGNMENT=18, SUPERNET_PATH=24, CALIBRATION=32,
        UNSEEN=33)
    state = np.random.SeedSequence((7, 3, 6)).generate_state(2, np.uint32)
    assert generator(Purpose.PROPOSAL, 7, 3).initial_seed() == (
        int(state[0]) << 32 | int(state[1]))


def test_no_two_streams_are_alike():
    drawn = {tuple(torch.rand(4, generator=generator(purpose, seed, step)).tolist())
             for purpose in Purpose for seed in range(3) for step in range(3)}
    assert len(drawn) == 9 * len(Purpose)
