"""What of a model is exported, and under which names its outputs are found."""
from typing import List, Tuple

from mmdet.models import detectors
from mmdet.models.detectors import BaseDetector
from torch import Tensor, nn

from mmasvit.analysis import find_backbone
from mmasvit.errors import InputError
from mmasvit.export.one_stage import OneStage
from mmasvit.export.two_stage import TwoStage


class Backbone(nn.Module):
    """The backbone alone: one output per level."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.backbone = find_backbone(model)
        self.names = [f'map{i}' for i in range(len(self.backbone.out_channels))]

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Images ``(N, 3, H, W)`` to the maps."""
        return tuple(self.backbone(images))


class Classifier(nn.Module):
    """Images to logits."""
    names = ['logits']

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Images ``(N, 3, H, W)`` to ``(N, classes)``."""
        return (self.model(images, mode='tensor'), )


def exportable(model: nn.Module, backbone_only: bool = False) -> nn.Module:
    """The part of a model that is exported, in evaluation mode.

    It takes normalised images ``(N, 3, H, W)``, padded as the model's preprocessor pads
    them, and gives a tuple of tensors whose names are its ``names``.

    Args:
        model: A detector, a classifier, or anything with a backbone.
        backbone_only: Whether to leave neck and heads out. Defaults to False.

    Raises:
        InputError: If neck and heads are of a kind that is not known.
    """
    model = model.eval()
    if backbone_only:
        return Backbone(model).eval()
    if not isinstance(model, BaseDetector):
        if hasattr(model, 'head') and not hasattr(model, 'target_generator'):
            return Classifier(model).eval()
        raise InputError(f'{type(model).__name__} cannot be exported as a whole; its '
                         'backbone can: --backbone')
    faults: List[str] = []
    for kind, part in ((detectors.TwoStageDetector, TwoStage),
                       (detectors.SingleStageDetector, OneStage)):
        if isinstance(model, kind):
            faults = part.faults(model)
            if not faults:
                return part(model).eval()
    raise InputError(f'{type(model).__name__} cannot be exported as a whole'
                     f'{": " + faults[0] if faults else ""}; its backbone can: '
                     '--backbone')
