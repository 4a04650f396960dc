"""Boxes with one shape for any image: what the heads of detectors have in common.

Heads of mmdet drop boxes image by image, so that tensors have as many rows as are left.
Here nothing is dropped but marked by its score, and the best of each image are taken:
the batch stays one tensor, which an exported graph can hold.
"""
from typing import List, Optional, Sequence, Tuple

import torch
import torchvision
from torch import Tensor, nn

from mmasvit.models.modes import is_symbolic


def at_most(limit: int, n: int) -> int:
    """The smaller of a number and a size, which may be a symbol."""
    if not is_symbolic(n):
        return min(limit, n)
    found = torch.scalar_tensor(torch.sym_min(limit, n), dtype=torch.int64).item()
    torch._check(found >= 1)
    torch._check(found <= n)
    torch._check(found <= limit)
    return found


def rows(x: Tensor, width: int) -> Tensor:
    """A head's map ``(N, A * width, H, W)`` in rows, one per prior.

    Returns:
        ``(N, H * W * A, width)``.
    """
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, width)


def take(x: Tensor, places: Tensor) -> Tensor:
    """Rows ``(N, k, C)`` of ``(N, n, C)`` at places ``(N, k)`` of each image."""
    return x.gather(1, places.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def priors_of(head: nn.Module, maps: Sequence[Tensor]) -> List[Tensor]:
    """Anchors ``(n, 4)`` or points ``(n, 2)`` of each level."""
    return [head.prior_generator.single_level_grid_priors(
        level.shape[2:], i, dtype=level.dtype, device=level.device)
        for i, level in enumerate(maps)]


def decode(coder: nn.Module, priors: Tensor, deltas: Tensor, size: Sequence[int]
           ) -> Tensor:
    """Boxes in an image of a size, of any number of leading dimensions.

    Args:
        coder: The head's bbox coder.
        priors: ``(..., 2 or 4)``.
        deltas: ``(..., 4)``, or ``(..., 4 * classes)`` for boxes of each class.
        size: Height and width of the image.

    Returns:
        Like ``deltas``.
    """
    boxes = coder.decode(priors.flatten(0, -2), deltas.flatten(0, -2))
    boxes = boxes.reshape(*deltas.shape[:-1], -1, 4)
    x, y = boxes[..., 0::2].clamp(0, size[1]), boxes[..., 1::2].clamp(0, size[0])
    boxes = torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), -1)
    return boxes.reshape(deltas.shape)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Which boxes non-maximum suppression leaves, of each group by itself.

    Args:
        boxes: ``(n, 4)``.
        scores: ``(n, )``; those of 0 and less take no part.
        groups: ``(n, )``, whole numbers.
        threshold: Overlap from which on the lower score goes.

    Returns:
        Booleans ``(n, )``.
    """
    candidates = (scores > 0).nonzero().squeeze(1)
    own = boxes[candidates]
    # groups are moved apart, as mmcv's batched_nms does
    own = own + (groups[candidates] * (boxes.max() + 1)).unsqueeze(1)
    kept = candidates[torchvision.ops.nms(own, scores[candidates], threshold)]
    return torch.zeros_like(scores, dtype=torch.bool).index_fill(0, kept, True)


def best(boxes: Tensor, scores: Tensor, labels: Tensor, groups: Tensor, nms: dict,
         number: int) -> Tuple[Tensor, Tensor, Tensor]:
    """The best boxes of each image after suppression within groups.

    Args:
        boxes: ``(N, n, 4)``.
        scores: ``(N, n)``; those of 0 and less are none.
        labels: ``(N, n)``.
        groups: ``(N, n)``, whole numbers from 0 to less than 10,000.
        nms: The head's ``test_cfg.nms``.
        number: How many to take of each image.

    Returns:
        Boxes ``(N, number, 4)``, scores and labels ``(N, number)``; an image with fewer
        has rows of zeros with the label -1 at its end.
    """
    def longer(x: Tensor, value: float) -> Tensor:
        return torch.cat((x, x.new_full((x.shape[0], number, *x.shape[2:]), value)), 1)

    boxes, scores, labels, groups = (longer(boxes, 0), longer(scores, 0),
                                     longer(labels, -1), longer(groups, 0))
    images = torch.arange(boxes.shape[0], device=boxes.device).unsqueeze(1)
    apart = groups + images * (groups.max() + 1)
    kept = suppress(boxes.flatten(0, 1), scores.flatten(), apart.flatten(),
                    nms['iou_threshold'])
    scores, places = torch.where(kept.reshape(scores.shape), scores, 0).topk(number)
    found = scores > 0
    return (take(boxes, places) * found.unsqueeze(-1), scores,
            torch.where(found, labels.gather(1, places), -1))


def large_enough(boxes: Tensor, least: float) -> Tensor:
    """Which boxes are wider and higher than ``least``; all, if it is negative."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return (sides > least).all(-1) if least >= 0 else torch.ones_like(
        boxes[..., 0], dtype=torch.bool)


def nms_fault(cfg: Optional[dict]) -> List[str]:
    """Why suppression as in a ``test_cfg`` is not known."""
    nms = (cfg or {}).get('nms') or {}
    if nms.get('type', 'nms') != 'nms' or 'iou_threshold' not in nms:
        return [f'its suppression is {nms!r}, not of type nms']
    return []
