"""Cut the objects of a COCO-format set out, to pre-train a backbone as a classifier."""
import json
import os
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

import cv2
import numpy as np

from mmasvit.errors import InputError
from mmasvit.shapes.coco import annotation_path, write_jpeg
from mmasvit.shapes.scenes import SPLITS
from mmasvit.shapes.writing import Progress, map_in_processes, staged_directory

VERSION = 2  # raised with every change of the bytes that are written
SIZES = (16, 512)
CONTEXT = (1.2, 1.6)  # side of a crop, relative to the longer side of the box
MOST_HIDDEN = 0.1  # of the outline, by other objects and by the border
MOST_SHARED = 0.15  # of the box with its context, by the boxes of other objects


def make_classification_crops(coco_dir: Union[str, os.PathLike],
                              crop_size: int = 64,
                              workers: Optional[int] = None,
                              progress: Progress = None) -> bool:
    """Write one square crop for each object in plain view, by split and category.

    The crops go to ``coco_dir/crops/{train,val}/<category>/<annotation id>.jpg``, which
    mmpretrain's ``CustomDataset`` reads. Objects that are occluded, cut by the border or
    crowded by others are left out: a crop has one label, and a classifier that starts
    from nothing finds shape many times sooner where that label is the only shape. All
    crops are written or none.

    Args:
        coco_dir (str or PathLike): Directory in COCO 2017's layout.
        crop_size (int): Side of the crops, in pixels. Default: 64.
        workers (int, optional): Processes; the CPUs of this process by default.
        progress (Callable[[int, int], None], optional): Called with the images done and
            the images in all.

    Returns:
        bool: Whether the crops were written; False if they were there.

    Raises:
        InputError: If the size is out of range, or crops of another kind are there.
        OSError: If the set cannot be read or the crops cannot be written.
    """
    check_crop_size(crop_size)
    coco_dir = Path(coco_dir).resolve()
    target, settings = coco_dir / 'crops', dict(version=VERSION, size=crop_size)
    if _is_there(target, settings):
        return False
    with staged_directory(target) as root:
        jobs = []
        for split in SPLITS:
            document = json.loads(annotation_path(coco_dir, split).read_bytes())
            names = {entry['id']: entry['name'] for entry in document['categories']}
            for name in names.values():
                (root / split / name).mkdir(parents=True)
            jobs += _jobs(document, names, coco_dir / f'{split}2017', split)
        map_in_processes(
            partial(_write_crops, root, crop_size), jobs, workers, progress)
        (root / 'settings.json').write_text(json.dumps(settings) + '\n')
    return True


def check_crop_size(crop_size: int) -> None:
    """Raise an InputError if crops of this size, in pixels, cannot be made."""
    if not SIZES[0] <= crop_size <= SIZES[1]:
        raise InputError(
            f'crops must be from {SIZES[0]} to {SIZES[1]} pixels, got {crop_size}')


def square_around(bbox: List[float], factor: float, width: int,
                  height: int) -> Tuple[int, int, int]:
    """Place a square around a box, moved and shrunk as little as the image asks for.

    Args:
        bbox (list[float]): Box (x, y, w, h), in pixels.
        factor (float): Side of the square, relative to the longer side of the box.
        width (int): Width of the image.
        height (int): Height of the image.

    Returns:
        tuple[int]: Left, top and side of the square, in pixels.
    """
    x, y, w, h = bbox
    side = min(max(1, round(factor * max(w, h))), width, height)
    left = min(max(0, round(x + w / 2 - side / 2)), width - side)
    top = min(max(0, round(y + h / 2 - side / 2)), height - side)
    return left, top, side


def _is_there(target: Path, settings: Dict) -> bool:
    """Say whether the crops are there; raise an InputError if others are."""
    if not target.exists():
        return False
    try:
        there = json.loads((target / 'settings.json').read_bytes())
    except (OSError, ValueError):
        there = None
    if there != settings:
        raise InputError(
            f'{target} is there, but not with crops of {settings["size"]} px by this '
            'version; remove it to make them anew')
    return True


def _jobs(document: Dict, names: Dict[int, str], image_dir: Path,
          split: str) -> List[Tuple[Path, List[Tuple[str, int, List[float]]]]]:
    """List each image that has objects with the path and the box of every crop."""
    found: Dict[int, List] = {}
    by_image: Dict[int, List[Dict]] = {}
    for annotation in document['annotations']:
        by_image.setdefault(annotation['image_id'], []).append(annotation)
    for annotation in document['annotations']:
        if in_plain_view(annotation, by_image[annotation['image_id']]):
            name = f'{split}/{names[annotation["category_id"]]}'
            found.setdefault(annotation['image_id'], []).append(
                (name, annotation['id'], annotation['bbox']))
    return [(image_dir / entry['file_name'], found[entry['id']])
            for entry in document['images'] if entry['id'] in found]


def in_plain_view(annotation: Dict, neighbours: List[Dict]) -> bool:
    """Say whether an object is whole and has its surroundings to itself.

    Args:
        annotation (dict): COCO annotation, with ``occlusion`` and ``truncation`` where
            they are known.
        neighbours (list[dict]): All annotations of the image, this one among them.
    """
    hidden = annotation.get('occlusion', 0) + annotation.get('truncation', 0)
    if annotation['iscrowd'] or hidden > MOST_HIDDEN:
        return False
    x, y, w, h = annotation['bbox']
    half = max(w, h) * CONTEXT[1] / 2
    left, top, right, bottom = (x + w / 2 - half, y + h / 2 - half, x + w / 2 + half,
                                y + h / 2 + half)
    shared = 0.0
    for other in neighbours:
        if other['id'] != annotation['id']:
            ox, oy, ow, oh = other['bbox']
            width = min(right, ox + ow) - max(left, ox)
            height = min(bottom, oy + oh) - max(top, oy)
            shared += max(width, 0) * max(height, 0)
    return shared <= MOST_SHARED * (2 * half)**2


def _write_crops(root: Path, crop_size: int,
                 job: Tuple[Path, List[Tuple[str, int, List[float]]]]) -> None:
    path, objects = job
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f'{path} is no image, or a damaged one')
    height, width = image.shape[:2]
    for folder, number, bbox in objects:
        # The object's own seed: its crop does not depend on the others.
        factor = np.random.default_rng(number).uniform(*CONTEXT)
        left, top, side = square_around(bbox, factor, width, height)
        crop = image[top:top + side, left:left + side]
        shrink = side > crop_size
        crop = cv2.resize(
            crop, (crop_size, crop_size),
            interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
        write_jpeg(root / folder / f'{number:012d}.jpg', crop)
