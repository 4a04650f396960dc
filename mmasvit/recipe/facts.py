"""What a recipe has to know: of the data and of the config that it builds on."""
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np

from mmasvit.coco.annotations import NO_MASK, RLE, CocoFile
from mmasvit.coco.layouts import Split
from mmasvit.errors import InputError


class Part(NamedTuple):
    """A split with what is in it.

    Attributes:
        split: Where it is.
        coco: Its annotation file.
    """
    split: Split
    coco: CocoFile


class DataFacts(NamedTuple):
    """What decides about size, schedule and heads; of the training images.

    Attributes:
        classes: Names, in the order of the file.
        left_out: Categories that are no classes.
        images: Number of images.
        sizes: Width and height of the images in pixels, ``(n, 2)``.
        boxes: Width and height of the objects in pixels, ``(m, 2)``.
        box_images: Index of each object's image, ``(m, )``.
        rles: Objects whose mask is no polygon.
    """
    classes: Tuple[str, ...]
    left_out: Tuple[str, ...]
    images: int
    sizes: np.ndarray
    boxes: np.ndarray
    box_images: np.ndarray
    rles: int

    @property
    def sides(self) -> np.ndarray:
        """Root of each box's area in pixels, ``(m, )``."""
        return np.sqrt(self.boxes.prod(1))

    @property
    def long_sides(self) -> np.ndarray:
        """Longer side of each image in pixels, ``(n, )``."""
        return self.sizes.max(1)

    @property
    def most_objects(self) -> int:
        """Objects of the image that has most."""
        return int(np.bincount(self.box_images).max())

    @classmethod
    def of(cls, coco: CocoFile) -> 'DataFacts':
        """Of an annotation file.

        Raises:
            InputError: If nothing can be learned from it.
        """
        found, images = coco.annotations, coco.images
        numbers = {image: number for number, image in enumerate(images.ids)}
        places = np.array([numbers.get(image, -1) for image in found.image_ids], int)
        usable = (~found.crowds & ~found.ignored & (places >= 0)
                  & (np.nan_to_num(found.boxes[:, 2:]) > 0).all(1))
        if not usable.any():
            raise InputError(f'annotation file {coco.path} has no object with a box')
        sizes = np.stack([images.widths, images.heights], 1)
        sizes = sizes[(np.nan_to_num(sizes) > 0).all(1)]
        if not len(sizes):
            raise InputError(f'annotation file {coco.path}: no image has width and '
                             'height')
        classes, left_out = _classes(coco)
        return cls(classes, left_out, len(images), sizes, found.boxes[usable, 2:],
                   places[usable], int((found.masks[usable] == RLE).sum()))


def count_unmasked(cocos: Iterable[CocoFile]) -> Tuple[int, int]:
    """Objects without a mask, and all objects, of some files; crowds do not count."""
    masks = np.concatenate([coco.annotations.masks[~coco.annotations.crowds]
                            for coco in cocos])
    return int((masks == NO_MASK).sum()), len(masks)


def _classes(coco: CocoFile) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """Names of the classes in the file's order, and those of a root that is none.

    Roboflow writes a category of the project's name above all others, without objects.
    """
    used = set(coco.annotations.category_ids)
    names, roots = [], []
    for category in coco.categories:
        name = category.get('name')
        if not isinstance(name, str):
            raise InputError(f'annotation file {coco.path}: a category has no name: '
                             f'{category!r}')
        above = [other for other in coco.categories
                 if other is not category and other.get('supercategory') == name]
        root = (category.get('id') not in used and len(coco.categories) > 1
                and len(above) == len(coco.categories) - 1)
        (roots if root else names).append(name)
    return tuple(names), tuple(roots)


class BaseFacts(NamedTuple):
    """What matters of a detector's config.

    Attributes:
        path: The config.
        cfg: All that is in it, as plain dicts and lists.
    """
    path: Path
    cfg: Dict[str, Any]

    @property
    def model(self) -> Dict[str, Any]:
        """Its model."""
        return self.cfg['model']

    @property
    def head_paths(self) -> List[Tuple]:
        """Where the model has ``num_classes``: keys and indices, outermost first."""
        return list(_paths(self.model, 'num_classes'))

    @property
    def predicts_masks(self) -> bool:
        """Whether it has a mask head."""
        return any('mask_head' in part for part in
                   (self.model, self.model.get('roi_head') or {}))

    @property
    def input_size(self) -> int:
        """Side in pixels of what it is trained on: crops, or else whole images."""
        transforms = list(_transforms(self.cfg))
        for kind, key in (('RandomCrop', 'crop_size'), ('Resize', 'scale'),
                          ('RandomResize', 'scale')):
            sides = [side for transform in transforms if transform.get('type') == kind
                     for side in _flat(transform.get(key))]
            if sides:
                return int(min(max(sides), 1024))
        return 1024

    @property
    def pad_size_divisors(self) -> Tuple[int, int]:
        """What sides of images are padded to multiples of, and what they need."""
        divisor = (self.model.get('data_preprocessor') or {}).get('pad_size_divisor', 1)
        neck = self.model.get('neck')
        # other pyramids double their maps, whatever the size of those below
        takes_any = isinstance(neck, dict) and neck.get('type') == 'FPN'
        return divisor, 1 if takes_any else min(divisor, 32)

    @property
    def smallest_anchor(self) -> float:
        """Side of the smallest anchors in pixels; 32 where there are none."""
        for head in ('rpn_head', 'bbox_head'):
            part = self.model.get(head)
            generator = isinstance(part, dict) and part.get('anchor_generator') or {}
            if generator.get('scales') and generator.get('strides'):
                return float(min(generator['scales']) * min(_flat(generator['strides'])))
        return 32.


def _paths(value, key: str, at: Tuple = ()) -> Iterator[Tuple]:
    items = (value.items() if isinstance(value, dict) else
             enumerate(value) if isinstance(value, (list, tuple)) else ())
    for name, inner in items:
        if name == key:
            yield at
        yield from _paths(inner, key, (*at, name))


def _transforms(cfg: dict) -> Iterator[dict]:
    dataset = (cfg.get('train_dataloader') or {}).get('dataset')
    for at in _paths(dataset, 'pipeline'):
        inner = dataset
        for name in at:
            inner = inner[name]
        yield from _transforms_in(inner['pipeline'])


def _transforms_in(value) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
        value = value.get('transforms') or ()
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _transforms_in(inner)


def _flat(value) -> List[float]:
    if isinstance(value, (list, tuple)):
        return [number for inner in value for number in _flat(inner)]
    return [value] if isinstance(value, (int, float)) else []
