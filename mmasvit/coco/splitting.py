"""A validation part for a set that has none."""
import json
from pathlib import Path

import numpy as np

from mmasvit.coco.annotations import parse
from mmasvit.files import replacing

HELD_OUT = 0.2  # share of the images


def write_split(ann_file: Path, train: Path, val: Path, seed: int) -> int:
    """Divide the images of a file at random between two new ones.

    Everything else in the file, and every object of an image, goes along as it is.

    Args:
        ann_file: Annotation file of at least two images.
        train: File to write for training.
        val: File to write for validation.
        seed: Of the draw.

    Returns:
        Number of images held out for validation.

    Raises:
        InputError: If a file cannot be read or written.
    """
    coco = parse(str(ann_file))
    count = len(coco['images'])
    held_out = min(max(1, round(HELD_OUT * count)), count - 1)
    drawn = set(np.random.default_rng(seed).permutation(count)[:held_out].tolist())
    for path, wanted in ((train, False), (val, True)):
        images = [image for number, image in enumerate(coco['images'])
                  if (number in drawn) is wanted]
        ids = {json.dumps(image.get('id')) for image in images}
        objects = [row for row in coco.get('annotations') or ()
                   if json.dumps(row.get('image_id')) in ids]
        with replacing(path) as temporary:
            Path(temporary).write_text(
                json.dumps(dict(coco, images=images, annotations=objects)),
                encoding='utf-8')
    return held_out
