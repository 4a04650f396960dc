"""As-ViT of which parts of the image are hidden: for pre-training without labels."""
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from mmasvit.errors import InputError
from mmasvit.geometry import TOKEN_STRIDE, ceil_div
from mmasvit.models.as_vit import AsViT
from mmasvit.models.pretrained import MASK_TOKEN


class MaskedAsViT(AsViT):
    """As-ViT for mmpretrain's ``SimMIM``.

    Hidden tokens are replaced by a learnt one before the first block. Their pixels are
    hidden too, since kernels of the tokenizer overlap: a token that is seen would tell
    what is beside it. Its checkpoint loads into a plain :class:`AsViT`, of a classifier
    or a detector, by ``init_cfg=dict(type='Pretrained', ..., prefix='backbone.')``.

    Args:
        **backbone: Arguments of :class:`AsViT`.
    """

    def __init__(self, **backbone):
        super().__init__(**backbone)
        self.register_parameter(MASK_TOKEN, nn.Parameter(
            torch.zeros(self.topology.widths[0])))

    def init_weights(self) -> None:
        """Initialise; the token too, unless it comes from a checkpoint."""
        if not self.is_init:
            trunc_normal_(self.mask_token, std=.02)
        super().init_weights()

    def forward(self, x: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, ...]:
        """Compute the feature maps, of an image that is hidden in parts.

        Args:
            x: Images ``(N, in_channels, H, W)``, of mean 0: hidden pixels are 0.
            mask: ``(N, ceil(H / 4), ceil(W / 4))``, 1 where tokens are hidden. Defaults
                to none.

        Raises:
            InputError: If the mask has another shape.
        """
        if mask is None:
            return super().forward(x)
        size = tuple(x.shape[-2:])
        grid = (len(x), *(ceil_div(side, TOKEN_STRIDE) for side in size))
        if tuple(mask.shape) != grid or self.token_stride != TOKEN_STRIDE:
            raise InputError(f'MaskedAsViT: the mask must be of shape {grid}, a token of 4 '
                             f'pixels each, got {tuple(mask.shape)} for tokens of '
                             f'{self.token_stride}')
        mask = mask.to(x.dtype)
        pixels = F.interpolate(mask[:, None], scale_factor=TOKEN_STRIDE, mode='nearest')
        tokens = self.patch_embed(x * (1 - pixels[..., :size[0], :size[1]]))
        mask = mask.unsqueeze(-1)
        tokens = tokens * (1 - mask) + self.mask_token * mask
        features = self.forward_tokens(tokens, size, TOKEN_STRIDE)
        return self.forward_outputs(features, size, TOKEN_STRIDE)
