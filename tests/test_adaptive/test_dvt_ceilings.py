"""A made-up set on which each exit has a ceiling, by what its tokens read at all.

With K1 = 8 and sizes divisible by 16, stride 16 reads only rows and columns 2 mod 4, and
stride 8 only odd ones. The class of an easy image stands in all of its pixels, that of a
medium one in odd rows and columns, that of a hard one where both are divisible by 4.
"""
import numpy as np
import pytest
import torch
from dvts import config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from mmasvit.adaptive import choose_exits, solve_thresholds
from mmasvit.adaptive.budgets import permuted

CLASSES, SIZE = 8, 32
SIGNS = torch.tensor([[1. - 2 * (label >> bit & 1) for bit in range(3)]
                      for label in range(CLASSES)])


def images(number, generator):
    """Images, their classes, and whether they are easy (0), medium or hard (2)."""
    labels = torch.randint(0, CLASSES, (number, ), generator=generator)
    levels = torch.arange(number) % 3
    place = torch.arange(SIZE)
    where = [place >= 0, place % 2 == 1, place % 4 == 0]
    mask = torch.stack([one[:, None] & one for one in where])[levels][:, None]
    noise = 0.2 * torch.rand(number, 3, SIZE, SIZE, generator=generator)
    return noise + mask * SIGNS[labels][:, :, None, None], labels, levels


def trained(steps=100):
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    dvt = MODELS.build(config(
        arch='8,1,2|2,1,2|2,1,2|2,1,2|8,16', data_preprocessor=None,
        backbone=dict(out_indices=(1, ), pretrain_img_size=SIZE, init_cfg=dict(
            type='Xavier', layer='Linear', distribution='uniform')),
        head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=32)))
    dvt.init_weights()
    wrapper = build_optim_wrapper(dvt, dict(optimizer=dict(type='AdamW', lr=3e-3)))
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        inputs, labels, _ = images(48, generator)
        dvt.train_step(dict(inputs=inputs, data_samples=[
            DataSample().set_gt_label(label) for label in labels]), wrapper)
    return dvt.eval()


@pytest.mark.slow
def test_exits_keep_their_ceilings_and_the_cascade_beats_its_control():
    dvt = trained()
    inputs, labels, levels = images(600, torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = [dvt(inputs, token_stride=stride) for stride in dvt.token_strides]
    probability = torch.stack(logits, 1).softmax(2)
    sure, answers = probability.max(2)
    right = (answers == labels[:, None]).numpy()
    of_level = np.array([right[levels == level].mean(0) for level in range(3)])
    chance, noise = 1 / CLASSES, 4 * (CLASSES * 200)**-.5
    # at a level (row), exits (columns): what can be read is, what cannot be is not
    for level, exits in ((0, (0, 1, 2)), (1, (1, 2)), (2, (2, ))):
        assert of_level[level, exits].min() > .95
    assert of_level[1, 0] < chance + noise and of_level[2, :2].max() < chance + noise
    thresholds = solve_thresholds(sure.numpy(), 1.)
    exits, rows = choose_exits(sure.numpy(), thresholds), np.arange(len(right))
    cascade = right[rows, exits].mean()
    control = np.mean([right[rows, permuted(exits, 0, k)].mean() for k in range(5)])
    assert (exits == 0).mean() >= .3 and cascade > control + .08
