"""Is the data there and whole? Asked once, before a run that lasts days."""
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Iterable, List, Optional, Sequence

from PIL import Image

from mmasvit.errors import InputError

# A complete file ends in its format's closing marker, give or take some padding.
_CLOSING = {b'\xff\xd8': b'\xff\xd9', b'\x89P': b'IEND\xaeB`\x82'}
_TAIL = 1024


def read_coco(ann_file: str, classes: Optional[Sequence[str]] = None) -> dict:
    """Read a COCO annotation file and check its form.

    Args:
        ann_file: Path of the json.
        classes: Names that the dataset config asks for; at least one must be in the
            file, since mmdet drops all others without a word. Defaults to no check.

    Returns:
        The parsed json.

    Raises:
        InputError: If the file is missing, no json, or lacks what training needs.
    """
    try:
        with open(ann_file, encoding='utf-8') as file:
            coco = json.load(file)
    except FileNotFoundError:
        raise InputError(f'annotation file {ann_file} does not exist') from None
    except OSError as error:
        raise InputError(f'annotation file {ann_file}: {error.strerror}') from None
    except ValueError as error:
        raise InputError(f'annotation file {ann_file} is not json: {error}') from None
    if not isinstance(coco, dict):
        raise InputError(f'annotation file {ann_file} is a json list, not COCO\'s dict')
    for key in ('categories', 'images'):
        if not coco.get(key):
            raise InputError(f'annotation file {ann_file} has no {key}')
    if 'annotations' not in coco:
        raise InputError(f'annotation file {ann_file} has no annotations')
    names = [category.get('name') for category in coco['categories']]
    if classes and not set(classes) & set(names):
        raise InputError(
            f'annotation file {ann_file} has none of the classes {_short(classes)}; it '
            f"has {_short(names)}: set the dataset's metainfo=dict(classes=...)")
    return coco


def check_images(paths: Iterable[str], workers: int = 16,
                 track: Callable[[Sequence], Iterable] = iter) -> None:
    """Check that image files exist and are not cut short.

    JPEG and PNG files are judged by their closing marker; those without it are decoded.

    Args:
        paths: The files.
        workers: Threads that read; the time goes into waiting for the file system.
        track: Wraps the results as they come, for instance into a progress bar.

    Raises:
        InputError: With the first bad file and how many there are.
    """
    with ThreadPoolExecutor(workers) as pool:
        faults = [fault for fault in track(pool.map(image_fault, paths)) if fault]
    if faults:
        more = f' (and {len(faults) - 1} more)' if len(faults) > 1 else ''
        raise InputError(f'{faults[0]}{more}')


def image_fault(path: str) -> Optional[str]:
    """What is wrong with an image file, in one line; None if nothing is."""
    try:
        with open(path, 'rb') as file:
            head = file.read(2)
            file.seek(max(os.path.getsize(path) - _TAIL, 0))
            tail = file.read()
    except FileNotFoundError:
        return f'image {path} does not exist'
    except OSError as error:
        return f'image {path}: {error.strerror}'
    if not head:
        return f'image {path} is empty'
    if head in _CLOSING and _CLOSING[head] in tail:
        return None
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f'image {path} cannot be decoded: {error}'
    return None


def coco_image_paths(coco: dict, folder: str) -> List[str]:
    """Paths of a COCO file's images."""
    return [str(Path(folder, image['file_name'])) for image in coco['images']]


def _short(names: Sequence[str], most: int = 5) -> str:
    shown = ', '.join(map(str, list(names)[:most]))
    return f'({shown}{", ..." if len(names) > most else ""})'
