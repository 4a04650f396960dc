"""What is wrong with a COCO file in a use: a small function a kind of fault.

Refused is what makes training or scoring wrong or fail; what only loses something, or is
mended (see :mod:`~mmasvit.coco.mending`), is told.
"""
import difflib
from typing import Callable, List, Optional

import numpy as np

from mmasvit.coco.annotations import LOST, NO_MASK, PARTLY_LOST, RLE, UNREADABLE
from mmasvit.coco.findings import Finding, shown
from mmasvit.coco.view import View, repeated

Check = Callable[[View], Optional[Finding]]
_IN_A_COPY = 'in the copy that the run reads'
EDGE = 1.0  # pixels that a box may stick out of its image without a word


def find_faults(view: View) -> List[Finding]:
    """All findings of a file, those that are refused first."""
    findings = [finding for check in CHECKS if (finding := check(view))]
    return sorted(findings, key=lambda finding: not finding.refuse)


def category_without_id_or_name(view: View) -> Optional[Finding]:
    categories = view.coco.categories
    bad = [row for row in categories if row['id'] is None or row['name'] is None]
    return _finding('category-incomplete', True, len(bad), len(categories),
                    'categories have no id, or no name that is text', bad)


def category_id_repeated(view: View) -> Optional[Finding]:
    twice = repeated([row['id'] for row in view.coco.categories])
    return _finding('category-id-repeated', True, len(twice), len(view.coco.categories),
                    'category ids occur more than once', twice)


def class_name_repeated(view: View) -> Optional[Finding]:
    """mmdet gives both categories a label: all that follow are shifted."""
    twice = repeated(view.classes)
    if not twice:
        return None
    ids = [row['id'] for row in view.coco.categories if row['name'] == twice[0]]
    return Finding('class-name-repeated', True, len(twice), len(view.classes),
                   f'the class name {twice[0]!r} belongs to {len(ids)} categories (ids '
                   f'{", ".join(map(str, ids))}): rename or remove all but one, since '
                   'labels would shift')


def class_missing(view: View) -> Optional[Finding]:
    """A name that the file lacks shifts the labels of all that follow."""
    wanted = view.use.classes or ()
    missing = [name for name in wanted if name not in view.coco.names]
    twice = repeated(wanted)
    if twice:
        return Finding('class-repeated', True, len(twice), len(wanted),
                       f'the config names the class {twice[0]!r} more than once')
    if not missing:
        return None
    names = list(filter(None, view.coco.names))
    near = difflib.get_close_matches(str(missing[0]), names, 1)
    hint = f' (did you mean {near[0]!r}?)' if near else ''
    return Finding('class-missing', True, len(missing), len(wanted),
                   f'the file has no category for {len(missing)} of {len(wanted)} classes '
                   f"{shown(missing)}; it has {shown(names)}{hint}: set the dataset's "
                   'metainfo=dict(classes=...)')


def image_id_missing(view: View) -> Optional[Finding]:
    images = view.coco.images
    bad = [name for name, value in zip(images.file_names, images.ids) if value is None]
    return _finding('image-id-missing', True, len(bad), len(images),
                    'images have no id', bad)


def image_id_repeated(view: View) -> Optional[Finding]:
    twice = repeated(view.coco.images.ids)
    return _finding('image-id-repeated', True, len(twice), len(view.coco.images),
                    'image ids occur more than once', twice)


def file_name_missing(view: View) -> Optional[Finding]:
    images = view.coco.images
    bad = [value for name, value in zip(images.file_names, images.ids) if name is None]
    return _finding('file-name-missing', True, len(bad), len(images),
                    'images have no file_name; ids', bad)


def file_name_repeated(view: View) -> Optional[Finding]:
    twice = repeated(view.coco.images.file_names)
    return _finding('file-name-repeated', False, len(twice), len(view.coco.images),
                    'file names occur more than once', twice)


def size_missing(view: View) -> Optional[Finding]:
    images = view.coco.images
    bad = ~((images.widths > 0) & (images.heights > 0)
            & np.isfinite(images.widths) & np.isfinite(images.heights))
    return _finding('image-size-missing', True, int(bad.sum()), len(images),
                    'images have no width or height above 0 (mmdet would drop them or '
                    'their boxes): write the sizes of the image files',
                    [images.file_names[i] for i in np.flatnonzero(bad)[:6]])


def image_too_small(view: View) -> Optional[Finding]:
    images, least = view.coco.images, view.use.min_size
    shorter = np.minimum(images.widths, images.heights)
    small = (shorter > 0) & (shorter < least)
    return _finding('image-too-small', False, int(small.sum()), len(images),
                    f'images are left out: filter_cfg.min_size is {least:g} px',
                    [images.file_names[i] for i in np.flatnonzero(small)[:6]])


def annotation_id_repeated(view: View) -> Optional[Finding]:
    twice = repeated(view.coco.annotations.ids)
    return _finding('annotation-id-repeated', True, len(twice),
                    len(view.coco.annotations),
                    'annotation ids occur more than once', twice)


def annotation_id_unusable(view: View) -> Optional[Finding]:
    """pycocotools takes the match with id 0 for no match."""
    ids = view.coco.annotations.ids
    bad = unusable_ids(view)
    return _finding('annotation-id', False, len(bad), len(ids),
                    'annotation ids are 0, missing or no whole numbers, which '
                    f'pycocotools counts wrongly; {_IN_A_COPY} all are counted from 1',
                    [ids[i] for i in bad[:6]])


def unusable_ids(view: View) -> List[int]:
    """Places of annotation ids that pycocotools cannot work with."""
    ids = view.coco.annotations.ids
    missing = [i for i, value in enumerate(ids) if value is None]
    if missing or not view.use.scored:
        return missing
    return [i for i, value in enumerate(ids) if type(value) is not int or value == 0]


def image_id_unknown(view: View) -> Optional[Finding]:
    wanted = view.coco.annotations.image_ids
    lost = np.flatnonzero(view.image_index < 0)
    if not len(lost):
        return None
    values = [wanted[i] for i in lost]
    known = set(map(str, view.coco.images.ids))
    alike = sum(str(value) in known for value in values)
    if alike:
        kinds = sorted({type(value).__name__ for value in values})
        return _finding('image-id-type', True, alike, len(wanted),
                        f'annotations name their image by {", ".join(kinds)} where the '
                        'images have the same ids of another type', values)
    missing = sum(value is None for value in values)
    if missing:
        return _finding('annotation-without-image', True, missing, len(wanted),
                        'annotations have no image_id')
    return _finding('image-id-unknown', False, len(lost), len(wanted),
                    'annotations are of images that are not in the file, and are left '
                    'out; image ids', values)


def category_id_unknown(view: View) -> Optional[Finding]:
    wanted = view.coco.annotations.category_ids
    lost = np.flatnonzero(view.category_index < 0)
    known = [row['id'] for row in view.coco.categories]
    return _finding('category-id-unknown', True, len(lost), len(wanted),
                    f'annotations have category ids that are none of the categories\' '
                    f'{shown(known)}', [wanted[i] for i in lost[:6]])


def box_unreadable(view: View) -> Optional[Finding]:
    objects = view.coco.annotations
    bad = ~np.isfinite(objects.boxes).all(1)
    return _boxes(view, 'box-unreadable', True, bad, 'are no list of four numbers')


def boxes_are_fractions(view: View) -> Optional[Finding]:
    boxes = view.coco.annotations.boxes
    if not len(boxes) or not np.nanmax(boxes, initial=0) <= 1:
        return None
    return _boxes(view, 'box-fraction', True, np.ones(len(boxes), bool),
                  "are fractions of the image's size: COCO's are in pixels")


def boxes_are_corners(view: View) -> Optional[Finding]:
    """All fit as x1, y1, x2, y2, and a tenth does not as x, y, width, height."""
    x, y, width, height = view.coco.annotations.boxes.T
    image_width, image_height = view.sizes.T
    out = (x + width > image_width + EDGE) | (y + height > image_height + EDGE)
    fits = ((width > x) & (height > y) & (width <= image_width + EDGE)
            & (height <= image_height + EDGE))
    if not len(x) or not fits.all() or out.mean() < 0.1:
        return None
    return _boxes(view, 'box-corners', True, out,
                  'leave their image as x, y, width, height, but all fit as x1, '
                  "y1, x2, y2: COCO's boxes are x, y, width, height")


def box_outside(view: View) -> Optional[Finding]:
    known = (np.isfinite(view.coco.annotations.boxes).all(1) & (view.sizes > 0).all(1))
    bad = known & ~view.inside & ~view.small
    return _boxes(view, 'box-outside', False, bad, 'lie outside their image' + _lost(view))


def box_small(view: View) -> Optional[Finding]:
    return _boxes(view, 'box-small', False, view.small,
                  'are less than a pixel wide or high' + _lost(view))


def box_over_the_edge(view: View) -> Optional[Finding]:
    x, y, width, height = view.coco.annotations.boxes.T
    image_width, image_height = view.sizes.T
    over = view.inside & ((x < -EDGE) | (y < -EDGE) | (x + width > image_width + EDGE)
                          | (y + height > image_height + EDGE))
    return _boxes(view, 'box-over-edge', False, over,
                  'stick out of their image by more than a pixel')


def area_missing(view: View) -> Optional[Finding]:
    return _boxes(view, 'area-missing', False, np.isnan(view.coco.annotations.areas),
                  f"have no area; {_IN_A_COPY} it is the box's", 'annotations')


def area_zero(view: View) -> Optional[Finding]:
    bad = (view.coco.annotations.areas <= 0) & ~view.small & view.inside
    return _boxes(view, 'area-zero', False, bad, 'have an area of 0 or less though the '
                  'box has some' + _lost(view), 'annotations')


def crowd_missing(view: View) -> Optional[Finding]:
    if not view.use.scored:  # only pycocotools asks for it
        return None
    return _boxes(view, 'iscrowd-missing', False, view.coco.annotations.no_crowds,
                  f'have no iscrowd; {_IN_A_COPY} it is 0', 'annotations')


def crowd_odd(view: View) -> Optional[Finding]:
    return _boxes(view, 'iscrowd-odd', True, view.coco.annotations.odd_crowds,
                  'have an iscrowd that is neither 0 nor 1', 'annotations')


def ignored(view: View) -> Optional[Finding]:
    return _boxes(view, 'ignored', False, view.coco.annotations.ignored,
                  "have 'ignore' set, and are left out", 'annotations')


def class_unnamed(view: View) -> Optional[Finding]:
    """Objects of categories that the config leaves out."""
    index = view.category_index
    other = (index >= 0) & (view.labels < 0)
    names = [view.coco.names[i] for i in np.unique(index[other])]
    return _finding('class-unnamed', False, int(other.sum()), len(index),
                    "annotations are of categories that are none of the config's classes "
                    'and count as background', names)


def class_empty(view: View) -> Optional[Finding]:
    if not view.taught.any():  # said by another check, or nobody asks for objects
        return None
    names = [row['name'] for row in view.per_class() if not row['objects']]
    return _finding('class-empty', False, len(names), len(view.classes),
                    'classes have no object', names)


def no_objects(view: View) -> Optional[Finding]:
    """Nothing to learn, or nothing to compare with."""
    if not (view.use.train or view.use.scored) or view.taught.any():
        return None
    total = len(view.coco.annotations)
    what = 'train on' if view.use.train else 'score against (format_only=True predicts)'
    if not total:
        return Finding('no-annotations', True, 0, 0,
                       f'the file has no annotations: there is nothing to {what}')
    if view.kept.any():
        return Finding('all-crowd', True, total, total,
                       f'all {total} annotations that count have iscrowd=1 (regions to '
                       f'ignore): there is nothing to {what}. Set iscrowd=0 if they are '
                       'objects')
    return Finding('no-objects', True, total, total,
                   f'none of {total} annotations is usable: there is nothing to {what}')


def mask_missing(view: View) -> Optional[Finding]:
    objects = view.coco.annotations
    asked = _masks_asked(view)
    bad = asked & (objects.masks == NO_MASK) & (objects.mask_faults == 0)
    return _finding('mask-missing', True, int(bad.sum()), int(asked.sum()),
                    'objects have no mask (segmentation), which this config loads or '
                    'scores: leave masks out of the config (roi_head.mask_head=None and '
                    'mask_roi_extractor=None, no with_mask, metric="bbox"), or give them '
                    'masks; annotations', _ids(view, bad))


def mask_broken(view: View) -> Optional[Finding]:
    objects, asked = view.coco.annotations, _masks_asked(view)
    sizes = np.nan_to_num(view.sizes[:, ::-1], nan=-1)
    other = (objects.masks == RLE) & (objects.mask_faults == 0) & (
        objects.rle_sizes != sizes).any(1)
    bad = asked & ((objects.mask_faults == UNREADABLE) | other)
    return _finding('mask-broken', True, int(bad.sum()), int(asked.sum()),
                    'objects have a mask that is neither polygons nor an RLE of the '
                    "image's size; annotations", _ids(view, bad))


def polygon_short(view: View) -> Optional[Finding]:
    """mmdet leaves such polygons out; pycocotools reads four numbers as a box."""
    asked, faults = _masks_asked(view), view.coco.annotations.mask_faults
    lost = asked & (faults == LOST)
    bad = lost | asked & (faults == PARTLY_LOST)
    return _finding('polygon-short', view.use.masks_scored, int(bad.sum()),
                    int(asked.sum()), 'objects have polygons of fewer than three points '
                    'or of an odd number of values, which are left out; '
                    f'{int(lost.sum())} have no other and are ignored; annotations',
                    _ids(view, bad))


CHECKS: List[Check] = [
    category_without_id_or_name, category_id_repeated, class_name_repeated, class_missing,
    image_id_missing, image_id_repeated, file_name_missing, size_missing,
    annotation_id_repeated, image_id_unknown, category_id_unknown, box_unreadable,
    boxes_are_fractions, boxes_are_corners, crowd_odd, mask_missing, mask_broken,
    polygon_short, no_objects, annotation_id_unusable, area_missing, crowd_missing,
    box_outside, box_small, box_over_the_edge, area_zero, ignored, class_unnamed,
    class_empty, image_too_small, file_name_repeated,
]


def _finding(kind: str, refuse: bool, count: int, total: int, what: str,
             examples=()) -> Optional[Finding]:
    if not count:
        return None
    more = f' {shown(examples)}' if len(examples) else ''
    return Finding(kind, refuse, count, total, f'{count} of {total} {what}{more}')


def _boxes(view: View, kind: str, refuse: bool, bad: np.ndarray, what: str,
           noun: str = 'boxes') -> Optional[Finding]:
    """A finding on boxes, with the first as an example."""
    if not bad.any():
        return None
    objects, first = view.coco.annotations, int(np.argmax(bad))
    place = view.image_index[first]
    image = view.coco.images.file_names[place] if place >= 0 else None
    box = objects.boxes[first]
    numbers = ', '.join(f'{value:g}' for value in box)
    text = (f'{int(bad.sum())} of {len(bad)} {noun} {what}; the first is annotation '
            f'{objects.ids[first]} of {image or "no image"}'
            + (f', bbox [{numbers}]' if np.isfinite(box).all() else ''))
    return Finding(kind, refuse, int(bad.sum()), len(bad), text)


def _masks_asked(view: View) -> np.ndarray:
    """Objects whose mask is loaded, or is scored whatever its box."""
    if view.use.masks_scored:
        return view.kept | ((view.image_index >= 0) & (view.labels >= 0))
    return view.kept & view.use.masks


def _ids(view: View, mask: np.ndarray) -> list:
    return [view.coco.annotations.ids[i] for i in np.flatnonzero(mask)[:6]]


def _lost(view: View) -> str:
    return ', and are left out' if view.use.train else ', and can only be missed'
