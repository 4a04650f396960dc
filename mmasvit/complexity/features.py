"""The bare feature map of a backbone."""
import copy

from torch import Tensor, nn

from mmasvit.models.as_vit import AsViT
from mmasvit.models.attention import WindowAttention
from mmasvit.models.tokenizer import ReEmbedding


class PooledFeatures:
    """The backbone's last stage before its output norm, averaged over the tokens.

    It holds the backbone's own parameters, so that weights which are loaded or
    initialised later count, but modules of its own: evaluation mode, fused attention,
    unfolded re-embedding (each weight is then used by one operator, which
    :func:`~mmasvit.complexity.ntk_gram` needs), and no output norm.

    Attributes:
        images_lead: Every layer keeps the images in the leading dimension.
    """
    images_lead = True

    def __init__(self, backbone: AsViT, identity_norms: bool = False):
        shared = {id(parameter): parameter for parameter in backbone.parameters()}
        network = copy.deepcopy(backbone, memo=shared).eval()
        for module in network.modules():
            if isinstance(module, WindowAttention):
                module.attn_impl = 'fused'
            elif isinstance(module, ReEmbedding):
                module.fused = False
        if identity_norms:
            for module in list(network.modules()):
                for name, child in module.named_children():
                    if isinstance(child, nn.LayerNorm):
                        setattr(module, name, nn.Identity())
        tokenizer = network.patch_embed
        # without its norm and bias the tokenizer is a linear map
        self._norm, tokenizer.norm = tokenizer.norm, nn.Identity()
        self._bias, tokenizer.projection.bias = tokenizer.projection.bias, None
        self._network = network
        self._size = None

    def __call__(self, images: Tensor) -> Tensor:
        """Images ``(n, 3, H, W)`` to features ``(n, D)``."""
        return self.rest(self.first_map(images))

    def first_map(self, images: Tensor) -> Tensor:
        """The linear part of the tokenizer: ``(n, 3, H, W)`` to ``(n, h, w, C)``."""
        self._size = tuple(images.shape[-2:])
        return self._network.patch_embed(images)

    def rest(self, tokens: Tensor) -> Tensor:
        """What follows on :meth:`first_map`: ``(n, h, w, C)`` to ``(n, D)``."""
        network = self._network
        x = self._norm(tokens + self._bias)
        if network.pos_embed is not None:
            x = x + network._positions(x.shape[1:3])
        for stage in network.stages:
            x = stage(x, self._size)
        return x.mean(dim=(1, 2))


def pooled_features(backbone: AsViT, identity_norms: bool = False) -> PooledFeatures:
    """The map f that the measures of section 3.2 look at.

    Args:
        backbone: The backbone; it is not changed.
        identity_norms: Whether every norm is left out, as the released code does for
            the length measures. Defaults to False.

    Returns:
        A callable from images ``(n, 3, H, W)`` to features ``(n, D)``. It shares the
        backbone's parameters.
    """
    return PooledFeatures(backbone, identity_norms)
