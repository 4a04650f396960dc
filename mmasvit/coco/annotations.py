"""A COCO file as columns.

Whatever a file holds in the place of a number, the reading goes on: what cannot be read
is NaN (boxes, areas, sizes) or None (ids, names), and the checks count it.
"""
import gc
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Union

import numpy as np
import orjson

from mmasvit.errors import InputError

NO_MASK, POLYGONS, RLE = 0, 1, 2  # kinds of masks
WHOLE, PARTLY_LOST, LOST, UNREADABLE = 0, 1, 2, 3  # faults of masks
MOST_DECODED = 5000  # compressed RLEs; the others are taken as they are


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a file, a value each per column.

    Args:
        ids: Whatever identifies them, mostly whole numbers; None where there is none.
        file_names: Relative to some folder; None where there is none.
        widths: Pixels, ``(n, )`` float64; NaN where there is no number.
        heights: The same.
    """
    ids: List[Any]
    file_names: List[Any]
    widths: np.ndarray
    heights: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Annotations:
    """The objects of a file, a value each per column.

    Args:
        ids: Whatever identifies them; None where there is none.
        image_ids: Ids of their images; None where there is none.
        category_ids: Ids of their categories; None where there is none.
        boxes: ``(n, 4)`` float64, x, y, width and height in pixels; all four are NaN
            where they are no four numbers.
        areas: Pixels, ``(n, )`` float64; NaN where there is no number.
        crowds: Whether ``iscrowd`` is set, ``(n, )`` bool.
        no_crowds: Where there is no ``iscrowd``, or null, ``(n, )`` bool.
        odd_crowds: Where it is there and neither 0 nor 1, ``(n, )`` bool.
        ignored: Whether ``ignore`` is set, which mmdet leaves out, ``(n, )`` bool.
        masks: ``(n, )`` int8; 0 none, 1 polygons, 2 RLE.
        mask_faults: ``(n, )`` int8; 0 none; 1 mmdet leaves out some of the polygons (an
            odd number of values, or fewer than six); 2 all of them; 3 it cannot be read.
        rle_sizes: ``(n, 2)`` int64, height and width that an RLE states; 0 elsewhere.
    """
    ids: List[Any]
    image_ids: List[Any]
    category_ids: List[Any]
    boxes: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray
    no_crowds: np.ndarray
    odd_crowds: np.ndarray
    ignored: np.ndarray
    masks: np.ndarray
    mask_faults: np.ndarray
    rle_sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class CocoFile:
    """An annotation file.

    Args:
        path: Where it lies.
        categories: As in the file, but with an ``id`` and a ``name``, None where there is none.
        images: Its images.
        annotations: Its objects.
        annotated: Whether it has annotations at all, be it an empty list.
    """
    path: str
    categories: List[dict]
    images: Images
    annotations: Annotations
    annotated: bool

    @classmethod
    def read(cls, path: Union[str, Path]) -> 'CocoFile':
        """Read a file.

        Raises:
            InputError: If it is missing, no json, or not of COCO's form.
        """
        path = str(path)
        with _without_collection():
            coco = parse(path)
            annotations = coco.get('annotations')
            return cls(path, _categories(coco['categories']), _images(coco['images']),
                       _annotations(annotations or []), annotations is not None)

    @property
    def names(self) -> List[Optional[str]]:
        """Names of the categories, in the file's order; None where there is none."""
        return [category['name'] for category in self.categories]


def parse(path: str) -> dict:
    """Read the json of a COCO file and check its outer form.

    Raises:
        InputError: If it is missing, no json, or not of COCO's form.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f'annotation file {path} does not exist') from None
    except OSError as error:
        raise InputError(f'annotation file {path}: {error.strerror}') from None
    try:
        coco = _loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f'annotation file {path} is not json: {error}') from None
    if not isinstance(coco, dict):
        raise InputError(f'annotation file {path} is a json {type(coco).__name__}, not '
                         "COCO's dict")
    for key in ('categories', 'images', 'annotations'):
        rows = coco.get(key)
        if rows is None and key == 'annotations':
            continue
        if not rows and key != 'annotations':
            raise InputError(f'annotation file {path} has no {key}')
        if not isinstance(rows, list) or not set(map(type, rows)) <= {dict}:
            raise InputError(f"annotation file {path}: {key} must be a list of dicts, as "
                             "in COCO's format")
    return coco


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pause Python's collector, which looks through millions of lists in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _loads(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except ValueError:  # it knows no NaN, and no byte order mark
        return json.loads(content.decode('utf-8-sig'))


def _categories(rows: List[dict]) -> List[dict]:
    names = [value if isinstance(value := row.get('name'), str) else None for row in rows]
    return [dict(row, id=number, name=name)
            for row, number, name in zip(rows, _ids(rows, 'id'), names)]


def _images(rows: List[dict]) -> Images:
    return Images(ids=_ids(rows, 'id'),
                  file_names=_names(rows, 'file_name'),
                  widths=_numbers(rows, 'width'), heights=_numbers(rows, 'height'))


def _annotations(rows: List[dict]) -> Annotations:
    crowds = [row.get('iscrowd') for row in rows]
    masks, faults, sizes = _masks(rows)
    return Annotations(
        ids=_ids(rows, 'id'), image_ids=_ids(rows, 'image_id'),
        category_ids=_ids(rows, 'category_id'),
        boxes=_boxes(rows), areas=_numbers(rows, 'area'),
        crowds=np.array([bool(crowd) for crowd in crowds], bool),
        no_crowds=np.array([crowd is None for crowd in crowds], bool),
        odd_crowds=np.array([crowd not in (None, 0, 1) for crowd in crowds], bool),
        ignored=np.array([bool(row.get('ignore')) for row in rows], bool),
        masks=masks, mask_faults=faults, rle_sizes=sizes)


def _ids(rows: List[dict], key: str) -> List[Any]:
    values = [row.get(key) for row in rows]
    if not _has_type(values, (list, dict)):
        return values
    return [None if isinstance(value, (list, dict)) else value for value in values]


def _names(rows: List[dict], key: str) -> List[Any]:
    return [value if isinstance(value := row.get(key), str) and value else None
            for row in rows]


def _numbers(rows: List[dict], key: str) -> np.ndarray:
    """``(n, )`` float64, NaN for what is no number."""
    return _to_float([row.get(key) for row in rows])


def _boxes(rows: List[dict]) -> np.ndarray:
    """``(n, 4)`` float64, NaN for what is no four numbers."""
    missing = [np.nan] * 4
    boxes = [box if isinstance(box := row.get('bbox'), list) and len(box) == 4
             else missing for row in rows]
    values = _to_float([value for box in boxes for value in box]).reshape(-1, 4)
    values[np.isnan(values).any(1)] = np.nan
    return values


def _to_float(values: List[Any]) -> np.ndarray:
    if not set(map(type, values)) <= {int, float}:
        values = [value if isinstance(value, (int, float)) and not isinstance(value, bool)
                  else np.nan for value in values]
    return np.array(values, np.float64)


def _has_type(values: Sequence, types: tuple) -> bool:
    return any(issubclass(found, types) for found in set(map(type, values)))


def _masks(rows: List[dict]) -> tuple:
    """Kinds of the masks, their faults, and the sizes that RLEs state."""
    kinds = np.zeros(len(rows), np.int8)
    faults = np.zeros(len(rows), np.int8)
    sizes = np.zeros((len(rows), 2), np.int64)
    decoded = 0
    for i, row in enumerate(rows):
        mask = row.get('segmentation')
        if not mask:
            continue
        if isinstance(mask, list):
            kinds[i] = POLYGONS
            faults[i] = _polygons_fault(mask)
        elif not isinstance(mask, dict):
            faults[i] = UNREADABLE
        else:
            kinds[i] = RLE
            decoded += isinstance(mask.get('counts'), str)
            if _is_rle(mask, decode=decoded <= MOST_DECODED):
                sizes[i] = mask['size']
            else:
                faults[i] = UNREADABLE
    return kinds, faults, sizes


def _polygons_fault(polygons: list) -> int:
    sound = 0
    for points in polygons:
        if not isinstance(points, list) or not set(map(type, points)) <= {int, float}:
            return UNREADABLE
        sound += len(points) >= 6 and len(points) % 2 == 0
    return WHOLE if sound == len(polygons) else PARTLY_LOST if sound else LOST


def _is_rle(mask: dict, decode: bool) -> bool:
    size, counts = mask.get('size'), mask.get('counts')
    if not (isinstance(size, list) and len(size) == 2 and set(map(type, size)) <= {int}
            and min(size) > 0):
        return False
    if isinstance(counts, str):
        if not decode:
            return True
        counts = _run_lengths(counts)
    return (isinstance(counts, list) and set(map(type, counts)) <= {int}
            and min(counts, default=-1) >= 0 and sum(counts) == size[0] * size[1])


def _run_lengths(text: str) -> Optional[List[int]]:
    """Runs of COCO's compressed RLE; None if it is none.

    Each character holds five bits of a number and whether more follow; from the fourth
    run on the number is the difference to the run before the last.
    """
    counts, value, shift = [], 0, 0
    for char in text:
        bits = ord(char) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
