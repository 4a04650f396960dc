"""Detectors of two stages: Faster, Mask and Cascade R-CNN of mmdet."""
from typing import List, Optional, Sequence, Tuple

import torch
import torchvision
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from mmasvit.export import boxes as bx


class TwoStage(nn.Module):
    """Images to boxes ``(N, n, 4)``, scores and labels ``(N, n)``, and masks if the
    detector has them: probabilities ``(N, n, h, w)`` within each box.

    ``n`` is the RoI head's ``max_per_img``; rows that no object fills have the label -1.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.names = ['boxes', 'scores', 'labels']
        if model.roi_head.with_mask:
            self.names.append('masks')

    @staticmethod
    def faults(model: nn.Module) -> List[str]:
        """Why a model is none of these."""
        rpn, roi = model.rpn_head, getattr(model, 'roi_head', None)
        if not isinstance(rpn, RPNHead) or type(rpn)._predict_by_feat_single is not (
                RPNHead._predict_by_feat_single) or not rpn.use_sigmoid_cls:
            return [f'its first stage is a {type(rpn).__name__}']
        if type(roi) not in (StandardRoIHead, CascadeRoIHead) or roi.with_shared_head:
            return [f'its second stage is a {type(roi).__name__}']
        for head in _stages(roi.bbox_head):
            own = type(head)._predict_by_feat_single
            if own is not BBoxHead._predict_by_feat_single or head.custom_activation:
                return [f'its box head is a {type(head).__name__}']
        parts = _stages(roi.bbox_roi_extractor)
        if roi.with_mask:
            parts += _stages(roi.mask_roi_extractor)
            for head in _stages(roi.mask_head):
                if not isinstance(head, FCNMaskHead):
                    return [f'its mask head is a {type(head).__name__}']
        for part in parts:
            if not isinstance(part, SingleRoIExtractor) or (
                    part.roi_layers[0].pool_mode != 'avg'):
                return [f'its RoI extractor is a {type(part).__name__}']
        return bx.nms_fault(rpn.test_cfg) or bx.nms_fault(roi.test_cfg)

    def forward(self, images: Tensor) -> Tuple[Tensor, ...]:
        """Images ``(N, 3, H, W)`` to detections."""
        maps, size = self.model.extract_feat(images), images.shape[2:]
        proposals, scores = self._propose(maps, size)
        boxes, scores, labels = self._classify(maps, proposals, scores > 0, size)
        found = (boxes, scores, labels)
        if self.model.roi_head.with_mask:
            found += (self._masks(maps, boxes, labels), )
        return found

    def _propose(self, maps: Sequence[Tensor], size: Sequence[int]
                 ) -> Tuple[Tensor, Tensor]:
        """Boxes ``(N, n, 4)`` that may hold something, and their scores."""
        head = self.model.rpn_head
        cfg, (logits, deltas) = head.test_cfg, head(maps)
        found = []
        for i, priors in enumerate(bx.priors_of(head, logits)):
            scores = bx.rows(logits[i], 1).squeeze(-1).sigmoid()
            scores, places = scores.topk(bx.at_most(cfg.nms_pre, scores.shape[1]))
            boxes = bx.decode(head.bbox_coder, priors[places],
                              bx.take(bx.rows(deltas[i], 4), places), size)
            scores = scores * bx.large_enough(boxes, cfg.get('min_bbox_size', -1))
            found.append((boxes, scores, torch.full_like(places, i)))
        boxes, scores, levels = (torch.cat(parts, dim=1) for parts in zip(*found))
        boxes, scores, _ = bx.best(boxes, scores, levels, levels, cfg.nms,
                                   cfg.max_per_img)
        return boxes, scores

    def _classify(self, maps: Sequence[Tensor], boxes: Tensor, valid: Tensor,
                  size: Sequence[int]) -> Tuple[Tensor, Tensor, Tensor]:
        """The second stage or stages: detections out of proposals ``(N, n, 4)``."""
        roi, logits = self.model.roi_head, []
        heads, extractors = _stages(roi.bbox_head), _stages(roi.bbox_roi_extractor)
        for i, (head, extractor) in enumerate(zip(heads, extractors)):
            score, delta = head(extract(extractor, maps, boxes))
            logits.append(score.unflatten(0, boxes.shape[:2]))
            delta = delta.unflatten(0, boxes.shape[:2])
            if i + 1 < len(heads):
                if not head.reg_class_agnostic:
                    label = logits[-1][..., :-1].argmax(-1)
                    delta = _of_class(delta, label)
                boxes = bx.decode(head.bbox_coder, boxes, delta, size)
        scores = sum(logits) / len(logits)
        scores = scores.softmax(-1)[..., :-1] * valid.unsqueeze(-1)
        classes = scores.shape[-1]
        boxes = bx.decode(head.bbox_coder, boxes, delta, size)
        boxes = boxes.unflatten(-1, (-1, 4)).expand(-1, -1, classes, -1).flatten(1, 2)
        cfg = roi.test_cfg
        scores = torch.where(scores > cfg.score_thr, scores, 0).flatten(1)
        labels = torch.arange(scores.shape[1], device=scores.device) % classes
        labels = labels.expand(scores.shape)
        return bx.best(boxes, scores, labels, labels, cfg.nms, cfg.max_per_img)

    def _masks(self, maps: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
        """Probabilities ``(N, n, h, w)`` within boxes ``(N, n, 4)``."""
        roi, found = self.model.roi_head, []
        extractors = _stages(roi.mask_roi_extractor)
        for head, extractor in zip(_stages(roi.mask_head), extractors):
            mask = head(extract(extractor, maps, boxes)).sigmoid()
            mask = mask.unflatten(0, boxes.shape[:2])
            if head.class_agnostic:
                found.append(mask[:, :, 0])
            else:
                places = labels.clamp(0)[:, :, None, None, None]
                found.append(mask.gather(2, places.expand(
                    -1, -1, 1, *mask.shape[3:])).squeeze(2))
        return sum(found) / len(found)


def _stages(part: nn.Module) -> List[nn.Module]:
    return list(part) if isinstance(part, nn.ModuleList) else [part]


def _of_class(deltas: Tensor, labels: Tensor) -> Tensor:
    """Of ``(N, n, 4 * classes)`` those of each row's class, ``(N, n, 4)``."""
    deltas = deltas.unflatten(-1, (-1, 4))
    return deltas.gather(2, labels[..., None, None].expand(-1, -1, 1, 4)).squeeze(2)


def extract(extractor: SingleRoIExtractor, maps: Sequence[Tensor], boxes: Tensor
            ) -> Tensor:
    """Features ``(N * n, C, h, w)`` of boxes ``(N, n, 4)``, each from its level.

    At every other level a box is shrunk to a point, which costs next to nothing.
    """
    images = torch.arange(boxes.shape[0], device=boxes.device, dtype=boxes.dtype)
    images = images[:, None, None].expand(-1, boxes.shape[1], 1)
    rois = torch.cat((images, boxes), dim=-1).flatten(0, 1)
    levels = extractor.map_roi_levels(rois, len(extractor.featmap_strides))
    total: Optional[Tensor] = None
    for i, (layer, level) in enumerate(zip(extractor.roi_layers, maps)):
        here = (levels == i).unsqueeze(1)
        own = torch.cat((rois[:, :1], torch.where(here, rois[:, 1:], 0)), dim=1)
        features = torchvision.ops.roi_align(
            level, own, layer.output_size, layer.spatial_scale,
            layer.sampling_ratio or -1, layer.aligned)
        features = torch.where(here[..., None, None], features, 0)
        total = features if total is None else total + features
    return total
