"""Cascade Mask R-CNN around any backbone that is compared, and inputs for it."""
from pathlib import Path
from typing import List, Tuple

import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from torch import nn

CONFIG = Path(__file__).parents[2] / 'configs' / 'cascade_asvit_large_coco.py'
OBJECTS = 7  # per image, as in COCO on average


def build_detector(backbone: dict) -> nn.Module:
    """The project's detector with another backbone, on COCO's 80 classes."""
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone = backbone
    cfg.neck.in_channels = _channels(backbone)
    cfg.data_preprocessor.pad_size_divisor = 32
    return MODELS.build(cfg)


def _channels(backbone: dict) -> List[int]:
    image = torch.empty(1, 3, 64, 64, device='meta')
    return [level.shape[1] for level in MODELS.build(backbone).to('meta')(image)]


def detector_inputs(batch_size: int, size: int) -> dict:
    """Images of noise with boxes and masks, as a dataloader would give them."""
    return demo_mm_inputs(batch_size, (3, size, size), [OBJECTS] * batch_size,
                          num_classes=80, with_mask=True)


def run_detector(model: nn.Module, data: dict, train: bool) -> Tuple[torch.Tensor, ...]:
    """Losses of a batch, or nothing after predicting it."""
    data = model.data_preprocessor(data, training=train)
    if train:
        return model.parse_losses(model(**data, mode='loss'))[0],
    model(**data, mode='predict')
    return ()
