"""What mmdet makes of a COCO file: which objects it keeps, under which label.

The rules are those of mmdet's ``CocoDataset`` (``parse_data_info``, ``filter_data``): it
drops without a word whatever it has no use for.
"""
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mmasvit.coco.annotations import CocoFile


@dataclass(frozen=True)
class Use:
    """What a run does with a set.

    Args:
        classes: Names of the classes; None for all of the file's.
        train: Whether it trains on the objects; otherwise it predicts them.
        scored: Whether predictions are compared with the objects.
        masks: Whether the masks are loaded.
        masks_scored: Whether predicted masks are compared with them.
        min_size: Images with a shorter side of fewer pixels are left out.
        filter_empty: Whether images without objects are left out.
    """
    classes: Optional[Tuple[str, ...]] = None
    train: bool = True
    scored: bool = False
    masks: bool = False
    masks_scored: bool = False
    min_size: float = 0
    filter_empty: bool = False


class View:
    """A file in a use; everything is computed when first asked for.

    Args:
        coco: The file.
        use: What a run does with it.
    """

    def __init__(self, coco: CocoFile, use: Use):
        self.coco = coco
        self.use = use

    @cached_property
    def classes(self) -> Tuple[str, ...]:
        """Names by label: those of the use, in the file's order, which counts."""
        names = [name for name in self.coco.names if name is not None]
        if self.use.classes is None:
            return tuple(names)
        return tuple(name for name in names if name in self.use.classes)

    @cached_property
    def image_index(self) -> np.ndarray:
        """Place of each object's image, -1 where the file has no such, ``(n, )`` int64."""
        return _places(self.coco.annotations.image_ids, self.coco.images.ids)

    @cached_property
    def category_index(self) -> np.ndarray:
        """Place of each object's category, -1 where there is none, ``(n, )`` int64."""
        return _places(self.coco.annotations.category_ids,
                       [category['id'] for category in self.coco.categories])

    @cached_property
    def labels(self) -> np.ndarray:
        """Label of each object, -1 where it is of no class of the use, ``(n, )`` int64."""
        wanted = [name in self.classes for name in self.coco.names]
        label_of = np.where(wanted, np.cumsum(wanted) - 1, -1)
        return np.where(self.category_index < 0, -1, label_of[self.category_index])

    @cached_property
    def inside(self) -> np.ndarray:
        """Whether a box has a part of its image in it, ``(n, )`` bool."""
        x, y, width, height = self.coco.annotations.boxes.T
        image_width, image_height = self.sizes.T
        with np.errstate(invalid='ignore'):
            across = np.minimum(x + width, image_width) - np.maximum(x, 0)
            down = np.minimum(y + height, image_height) - np.maximum(y, 0)
            return np.maximum(across, 0) * np.maximum(down, 0) > 0

    @cached_property
    def sizes(self) -> np.ndarray:
        """Width and height of each object's image, ``(n, 2)``; NaN where unknown."""
        images = self.coco.images
        sizes = np.stack([images.widths, images.heights], 1)[self.image_index]
        return np.where(self.image_index[:, None] < 0, np.nan, sizes)

    @cached_property
    def small(self) -> np.ndarray:
        """Whether a box is less than a pixel wide or high, ``(n, )`` bool."""
        return (self.coco.annotations.boxes[:, 2:] < 1).any(1)

    @cached_property
    def used_images(self) -> np.ndarray:
        """Whether an image is used, ``(images, )`` bool."""
        images = self.coco.images
        used = ~(np.minimum(images.widths, images.heights) < self.use.min_size)
        if self.use.filter_empty:
            found = self.image_index[(self.labels >= 0) & (self.image_index >= 0)]
            used &= np.bincount(found, minlength=len(images)) > 0
        return used

    @cached_property
    def kept(self) -> np.ndarray:
        """Whether an object arrives, crowds included, ``(n, )`` bool."""
        objects = self.coco.annotations
        return ((self.image_index >= 0) & self.used_images[self.image_index]
                & (self.labels >= 0) & ~objects.ignored & self.inside & ~self.small
                & ~(objects.areas <= 0))

    @cached_property
    def taught(self) -> np.ndarray:
        """Whether an object is one to be found: kept and no crowd, ``(n, )`` bool."""
        return self.kept & ~self.coco.annotations.crowds

    @cached_property
    def objects_per_image(self) -> np.ndarray:
        """Objects to be found, ``(images, )`` int64."""
        return np.bincount(self.image_index[self.taught], minlength=len(self.coco.images))

    def per_class(self) -> List[Dict[str, Any]]:
        """Name, images and objects of each class, by label."""
        labels, images = self.labels[self.taught], self.image_index[self.taught]
        objects = np.bincount(labels, minlength=len(self.classes))
        pairs = np.unique(labels * len(self.coco.images) + images)
        in_images = np.bincount(pairs // len(self.coco.images),
                                minlength=len(self.classes))
        return [dict(name=name, images=int(in_images[i]), objects=int(objects[i]))
                for i, name in enumerate(self.classes)]


def repeated(values: Sequence) -> List:
    """Values that occur more than once; None does not count."""
    counts = Counter(value for value in values if value is not None)
    return [value for value, count in counts.items() if count > 1]


def _places(wanted: Sequence, values: Sequence) -> np.ndarray:
    place = {value: i for i, value in enumerate(values) if value is not None}
    return np.fromiter((place.get(value, -1) for value in wanted), np.int64, len(wanted))
