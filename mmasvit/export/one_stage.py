"""Detectors of one stage: RetinaNet, FCOS, ATSS and whatever predicts as they do."""
from typing import List, Tuple

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from torch import Tensor, nn

from mmasvit.export import boxes as bx


class OneStage(nn.Module):
    """Images to boxes ``(N, n, 4)``, scores and labels ``(N, n)``.

    ``n`` is the head's ``max_per_img``; rows that no object fills have the label -1.
    """
    names = ['boxes', 'scores', 'labels']

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    @staticmethod
    def faults(model: nn.Module) -> List[str]:
        """Why a model is none of these."""
        kind = type(model.bbox_head)
        for name in ('predict', 'predict_by_feat', '_predict_by_feat_single',
                     '_bbox_post_process'):
            if getattr(kind, name, None) is not getattr(BaseDenseHead, name):
                return [f'{kind.__name__} predicts in its own way ({name})']
        if not getattr(model.bbox_head, 'use_sigmoid_cls', False):
            return [f'{kind.__name__} without sigmoid']
        return bx.nms_fault(model.bbox_head.test_cfg)

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Images ``(N, 3, H, W)`` to detections."""
        head, size = self.model.bbox_head, images.shape[2:]
        cfg, outs = head.test_cfg, head(self.model.extract_feat(images))
        classes, found = head.cls_out_channels, []
        for i, priors in enumerate(bx.priors_of(head, outs[0])):
            scores, deltas = bx.rows(outs[0][i], classes), bx.rows(outs[1][i], 4)
            scores = scores.sigmoid()
            scores = torch.where(scores > cfg.get('score_thr', 0), scores, 0).flatten(1)
            number = bx.at_most(cfg.get('nms_pre', 100_000), scores.shape[1])
            scores, places = scores.topk(number)
            labels, places = places % classes, places // classes
            if len(outs) > 2:
                factors = bx.rows(outs[2][i], 1).sigmoid().squeeze(-1)
                scores = scores * factors.gather(1, places)
            boxes = bx.decode(head.bbox_coder, priors[places], bx.take(deltas, places),
                              size)
            scores = scores * bx.large_enough(boxes, cfg.get('min_bbox_size', -1))
            found.append((boxes, scores, labels))
        boxes, scores, labels = (torch.cat(levels, dim=1) for levels in zip(*found))
        return bx.best(boxes, scores, labels, labels, cfg.nms, cfg.max_per_img)
