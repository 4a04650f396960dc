"""Images with what was found in them, small enough for a page."""
import base64
from typing import List, Optional, Sequence, Tuple

import cv2
import mmcv
import numpy as np
from pycocotools.coco import COCO

from mmasvit.report.matches import ImageOutcome
from mmasvit.report.page import Panel, Picture, Shape

LONGEST = 720  # side of an embedded image in pixels
QUALITY = 80  # of its JPEG
MAX_LABELS = 16  # of a panel: more would hide the image


def data_uri(image: np.ndarray, longest: int = LONGEST) -> str:
    """An image as a JPEG in a data URI.

    Args:
        image: ``(H, W, 3)`` uint8, BGR.
        longest: Longest side in pixels; larger images are scaled down.
    """
    scale = longest / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return 'data:image/jpeg;base64,' + base64.b64encode(encoded.tobytes()).decode()


def draw(path: str, image: ImageOutcome, truth: COCO,
         masks: Optional[Sequence[dict]] = None) -> Optional[Picture]:
    """An image twice: with its ground truth, and with what was found.

    Args:
        path: The image file.
        image: What became of its detections and objects.
        truth: Ground truth.
        masks: The detections as they came, in the order of their ids from 1, for their
            masks. Defaults to boxes alone.

    Returns:
        The picture; None if the file cannot be read any more.
    """
    pixels = mmcv.imread(path) if cv2.haveImageReader(path) else None
    if pixels is None:
        return None
    info = truth.imgs[image.image_id]
    height, width = info.get('height') or pixels.shape[0], (
        info.get('width') or pixels.shape[1])
    names = {number: str(one['name']) for number, one in truth.cats.items()}
    missed = {one['id'] for one in image.missed}
    objects = [one for one in truth.imgToAnns[image.image_id]
               if one['category_id'] in names]
    left, right = [], []
    for one in objects:
        name = names[one['category_id']]
        outcome = ('crowd' if one['iscrowd'] else
                   'missed' if one['id'] in missed else 'found')
        left.append(_shape(one, outcome, f'{name}: {outcome}', name,
                           _outline(one, truth) if masks else ()))
    for outcome in reversed(image.outcomes):  # the surest on top
        one, kind = outcome.found, outcome.kind
        name = f'{names[one["category_id"]]} {one["score"]:.2f}'
        colour = kind if kind in ('right', 'crowd') else 'wrong'
        # pycocotools gives a box a mask of its own, the box
        outline = _outline(masks[one['id'] - 1], truth) if masks else ()
        right.append(_shape(one, colour, f'{name}: {kind}', name, outline))
    return Picture(
        str(info['file_name']),
        f'{image.right} right, {image.wrong} wrong, {len(image.missed)} missed',
        data_uri(pixels), int(width), int(height),
        [Panel(f'ground truth: {_count(image.objects, "object")}', _sparse(left)),
         Panel(f'found: {_count(len(image.outcomes), "detection")}', _sparse(right))])


def _count(number: int, what: str) -> str:
    return f'{number} {what}{"" if number == 1 else "s"}'


def _sparse(shapes: List[Shape]) -> List[Shape]:
    """Shapes without their labels where there are too many to read."""
    if len(shapes) <= MAX_LABELS:
        return shapes
    return [Shape(shape.box, shape.outcome, shape.title, '', shape.outline)
            for shape in shapes]


def _shape(one: dict, outcome: str, title: str, label: str,
           outline: Tuple[str, ...]) -> Shape:
    x, y, width, height = map(float, one['bbox'])
    return Shape((x, y, max(0., width), max(0., height)), outcome, title, label, outline)


def _outline(one: dict, truth: COCO) -> Tuple[str, ...]:
    """A mask's polygons, to a pixel."""
    if not one.get('segmentation'):
        return ()
    mask = truth.annToMask(one)
    contours = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    fine = max(0.5, max(mask.shape) / 1000)
    polygons = [cv2.approxPolyDP(contour, fine, True)[:, 0] for contour in contours]
    return tuple(' '.join(f'{x},{y}' for x, y in polygon) for polygon in polygons)
