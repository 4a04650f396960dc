"""A small classifier as a ReViT, with and without an assigner."""
import torch
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample
from torch import nn

ARCH = '4,2,2|2,1,2|2,1,2|2,1,2|8,8'
STRIDES = (16, 8, 4)
NORMALISATION = dict(mean=[120.] * 3, std=[60.] * 3, to_rgb=True)


def classifier(**backbone):
    """Config of a plain classifier of four classes."""
    return dict(
        type='ImageClassifier', data_preprocessor=dict(num_classes=4, **NORMALISATION),
        backbone=dict(type='AsViT', arch=ARCH, out_indices=(3, ), **backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=4, in_channels=64))


def assigner(classes=3, normalisation=NORMALISATION, **options):
    """Config of an assigner with random weights."""
    return dict(options, img_size=8, model=dict(
        type='ImageClassifier', data_preprocessor=dict(normalisation),
        backbone=dict(type='MobileNetV3', arch='small'),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=576)))


def build(model=None, **options):
    """An initialised ReViT whose strides have different norms, in evaluation mode."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    revit = MODELS.build(dict(type='ReViT', model=model or classifier(),
                              token_strides=STRIDES, **options))
    revit.init_weights()
    with torch.no_grad():
        for name, parameter in revit.backbone.named_parameters():
            if parameter.ndim == 2 and len(parameter) == 3 and 'norm' in name:
                parameter += 0.3 * torch.randn(parameter.shape)
    return revit.eval()


def batch(images=7, size=32):
    """Images as the loader gives them; each has a level of brightness of its own."""
    torch.manual_seed(2)
    inputs = [torch.randint(0, 40 + 30 * i, (3, size, size), dtype=torch.uint8)
              for i in range(images)]
    samples = [DataSample(metainfo=dict(img_shape=(size, size), number=i)
                          ).set_gt_label(i % 4) for i in range(images)]
    return dict(inputs=inputs, data_samples=samples)


class Brightness(nn.Module):
    """In place of a trained assigner: chooses by the mean of the small image."""

    def forward(self, images, mode):
        level = images.mean((1, 2, 3)) + 0.9
        return torch.stack([-level * 4, torch.ones_like(level), level * 4], 1)
