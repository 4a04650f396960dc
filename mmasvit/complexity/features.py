"""The bare feature map of a backbone."""
import copy
from functools import partial
from typing import Callable, Tuple

import torch
from torch import Tensor, nn

from mmasvit.models.as_vit import AsViT
from mmasvit.models.norms import normalise

Features = Callable[[Tensor], Tensor]


class PooledFeatures:
    """The backbone's last stage before its output norm, averaged over the tokens.

    As a pyramid, all stages so, one after the other in one vector.

    It holds the backbone's own parameters, so that weights which are loaded or
    initialised later count, but modules of its own: evaluation mode, fused attention,
    unfolded re-embedding (each weight is then used by one operator, which
    :func:`~mmasvit.complexity.ntk_gram` needs), and no output norm.

    Attributes:
        images_lead: Every layer keeps the images in the leading dimension.
    """
    images_lead = True

    def __init__(self, backbone: AsViT, identity_norms: bool = False,
                 pyramid: bool = False):
        shared = {id(parameter): parameter for parameter in backbone.parameters()}
        network = copy.deepcopy(backbone, memo=shared).eval()
        network.set_attn_impl('fused', fuse_downsample=False)
        if identity_norms:
            for module in list(network.modules()):
                for name, child in module.named_children():
                    if isinstance(child, nn.LayerNorm):
                        setattr(module, name, nn.Identity())
        # without its bias the tokenizer's convolution is a linear map
        projection = network.patch_embed.projection
        self._bias, projection.bias = projection.bias, None
        self._network, self._stride = network, network.token_stride
        self._first = 0 if pyramid else -1  # of the stages that are looked at

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``(n, 3, H, W)`` to features ``(n, D)``."""
        first_map, rest = self.split_linear(images.shape[-2:])
        return rest(first_map(images))

    def split_linear(self, size: Tuple[int, int]) -> Tuple[Features, Features]:
        """The map as two, of which the first is linear and the second takes its result.

        Args:
            size: Height and width of the images.
        """
        return (partial(self._network.patch_embed.project, stride=self._stride),
                partial(self._rest, size=tuple(size)))

    def _rest(self, tokens: Tensor, size: Tuple[int, int]) -> Tensor:
        network = self._network
        tokens = normalise(network.patch_embed.norm, tokens + self._bias, self._stride)
        stages = network.forward_tokens(tokens, size, self._stride)[self._first:]
        return torch.cat([stage.mean(dim=(1, 2)) for stage in stages], dim=1)


def pooled_features(backbone: AsViT, identity_norms: bool = False,
                    pyramid: bool = False) -> PooledFeatures:
    """The map f that the measures of section 3.2 look at.

    Args:
        backbone: The backbone; it is not changed.
        identity_norms: Whether every norm is left out, as the released code does for
            the length measures. Defaults to False.
        pyramid: Whether it is the maps of all stages, and not of the last one alone.
            Defaults to False.

    Returns:
        A callable from images ``(n, 3, H, W)`` to features ``(n, D)``. It shares the
        backbone's parameters.
    """
    return PooledFeatures(backbone, identity_norms, pyramid)
