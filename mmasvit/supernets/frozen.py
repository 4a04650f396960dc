"""Parts of a model that stay as they start."""
from mmengine.registry import MODELS
from torch import nn


def frozen(part: dict) -> nn.Module:
    """Build a part of a model so that it never trains, as BN-NAS's classifier does not.

    It is registered as ``Frozen``: ``head=dict(type='Frozen', part=dict(type=...))``.

    Args:
        part: Config of the part.
    """
    return MODELS.build(part).requires_grad_(False)
