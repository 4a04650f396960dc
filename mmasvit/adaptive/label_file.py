"""The file of token-length labels, and the config of an assigner that learns them."""
from pathlib import Path
from typing import Dict, List, Sequence, Union

import numpy as np
import torch

from mmasvit.arguments import Either, real
from mmasvit.config_text import literal, quotable
from mmasvit.errors import InputError
from mmasvit.files import read_json
from mmasvit.random import Purpose, generator

_SHAPE = dict(checkpoint=str, token_strides=[int], images={
    str: dict(path=str, part=str, quality=[real], label=Either(int, None))})
HELD_OUT = 4  # one image in so many is kept aside from the assigner's training


def parts(number: int, seed: int) -> List[str]:
    """``'train'`` or ``'val'`` for each of so many images, drawn from a seed."""
    order = torch.randperm(number, generator=generator(Purpose.ASSIGNMENT, seed))
    held_out = set(order[:number // HELD_OUT].tolist())
    return ['val' if i in held_out else 'train' for i in range(number)]


def label_entries(ids: Sequence[str], paths: Sequence[str], quality: np.ndarray,
                  labels: np.ndarray, seed: int) -> Dict[str, dict]:
    """The file's ``images``, by id and in its order, so that a loader's does not matter.

    Args:
        ids: Image ids.
        paths: Where they lie.
        quality: At each stride ``(images, strides)``.
        labels: Places among the strides; negative ones stand for no label.
        seed: Of the parts.
    """
    order = sorted(range(len(ids)), key=lambda i: ids[i])
    return {ids[i]: dict(path=paths[i], part=part,
                         quality=[round(float(one), 6) for one in quality[i]],
                         label=int(labels[i]) if labels[i] >= 0 else None)
            for i, part in zip(order, parts(len(ids), seed))}


def histogram(entries: Dict[str, dict], strides: int, part: str) -> List[int]:
    """How many images of a part have each label."""
    labels = [one['label'] for one in entries.values()
              if one['part'] == part and one['label'] is not None]
    return np.bincount(labels, minlength=strides).tolist()


def read_labels(path: Union[str, Path], checkpoint: str = '') -> dict:
    """Read a label file.

    Args:
        path: The file.
        checkpoint: Digest of the checkpoint that the labels must be of. Defaults to any.

    Raises:
        InputError: If it cannot be read, or is of another model.
    """
    labels = read_json(path, _SHAPE)
    found = labels['checkpoint']
    if checkpoint and found != checkpoint:
        raise InputError(f'labels {path} are of another model: of the checkpoint '
                         f'{found[:12]}, not {checkpoint[:12]}')
    return labels


_CONFIG = '''"""{facts}

    python tools/train.py {name}
"""
_base_ = ['mmpretrain::_base_/default_runtime.py']
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

img_size = {img_size}
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes={classes}, mean={mean}, std={std},
                           to_rgb={to_rgb}),
    backbone=dict(type='MobileNetV3', arch='small'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes={classes}, in_channels=576, topk=(1, ),
        # labels are uneven: each class has the same weight as a whole
        loss=dict(type='CrossEntropyLoss', class_weight={weights})))

labels = {labels}
small = [dict(type='LoadImageFromFile'),
         dict(type='Resize', scale=(img_size, img_size), interpolation='area')]
train_dataloader = dict(
    batch_size=64, num_workers=1, persistent_workers=False,
    worker_init_fn=dict(type='mmengine.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='mmengine.TokenLengths', ann_file=labels, part='train',
        pipeline=[*small, dict(type='RandomFlip', prob=0.5, direction='horizontal'),
                  dict(type='PackInputs')]))
val_dataloader = dict(
    batch_size=64, num_workers=1, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='mmengine.TokenLengths', ann_file=labels, part='val',
                 pipeline=[*small, dict(type='PackInputs')]))
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_dataloader, test_evaluator = val_dataloader, val_evaluator

max_epochs = 60
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
                     clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=True, begin=0, end=3,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=3, T_max=max_epochs - 3,
         convert_to_iter_based=True),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
randomness = dict(seed={seed})
'''


def assigner_config(name: str, facts: str, labels: str, counts: Sequence[int],
                    normalisation: dict, img_size: int, seed: int) -> str:
    """Text of the config that trains an assigner on a label file.

    Args:
        name: The config's path, for its docstring.
        facts: What the labels are of, lines of its docstring.
        labels: Path of the label file.
        counts: Images of training with each label, for the weights of the classes.
        normalisation: ``mean``, ``std`` and ``to_rgb`` of the model that is served.
        img_size: Side that images are shrunk to, in pixels.
        seed: Of the training.
    """
    total, present = sum(counts), sum(count > 0 for count in counts)
    weights = [round(total / present / count, 4) if count else 0. for count in counts]
    return _CONFIG.format(name=quotable(name), facts=quotable(facts),
                          labels=literal(labels), classes=len(counts), weights=weights,
                          img_size=img_size, seed=seed, **normalisation)
