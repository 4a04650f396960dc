"""Small spaces of both supernets, and the one of the benchmarks."""
from types import SimpleNamespace

import torch
from helpers import load
from mmengine.registry import MODELS, init_default_scope

small_space = SimpleNamespace(**load('benchmarks/common/small_space.py'))

# two values of each choice, so that every candidate is drawn in few steps
SPACE = dict(K1=[4, 8], S1=[2, 4], E1=[2, 4], K2=[2, 4], S2=[1, 2], E2=[2, 3], K3=[2, 3],
             S3=[1, 2], E3=[2, 3], K4=[2, 4], E4=[2, 4], heads=[16, 32])
# one layer a stage that is no identity
IDENTITIES = {f'layer{i}': [0, 3] if i in (1, 5, 9, 13, 17, 21) else [-1]
              for i in range(1, 22)}


def classifier(backbone, width, classes=3):
    """A supernet in a classifier, in training mode."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'),
        head=dict(type='Frozen', part=dict(type='LinearClsHead', num_classes=classes,
                                           in_channels=width))))
    model.init_weights()
    return model.train()


# backbones and their channels
AS_VIT = dict(type='AsViTSupernet', space=SPACE, pretrain_img_size=32), 256
MOBILE = dict(type='MobileNetSupernet', space=IDENTITIES), 1728
