"""The two places where an mmdet detector must leave bfloat16 autocast.

Everything that multiplies matrices may run in bfloat16; coordinates may not. It has 8
significant bits: beyond 512 pixels a coordinate would move in steps of 4.
"""
from typing import List, Optional, Tuple

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor


@MODELS.register_module(force=True)
class Float32RoIExtractor(SingleRoIExtractor):
    """``SingleRoIExtractor`` that works in float32 whatever the maps' dtype.

    The original casts the boxes to the dtype of the maps, and mmcv's RoIAlign has no
    bfloat16 kernel.
    """

    def forward(self, feats: Tuple[Tensor], rois: Tensor,
                roi_scale_factor: Optional[float] = None) -> Tensor:
        """Maps ``(N, C, H_i, W_i)`` and boxes ``(n, 5)`` to ``(n, C, size, size)``."""
        with torch.autocast(rois.device.type, enabled=False):
            return super().forward(tuple(feat.float() for feat in feats), rois.float(),
                                   roi_scale_factor)


@MODELS.register_module(force=True)
class Float32RPNHead(RPNHead):
    """``RPNHead`` whose scores and offsets come out in float32.

    Proposals are ranked by score (bfloat16 has ties) and suppressed by a kernel that
    wants scores and boxes of one dtype.
    """

    def forward(self, feats: Tuple[Tensor]) -> Tuple[List[Tensor], List[Tensor]]:
        """Maps to scores and offsets per level, as in ``RPNHead``."""
        return tuple([level.float() for level in levels]
                     for levels in super(Float32RPNHead, self).forward(feats))
