"""Write generated shapes as an instance set in the layout of COCO 2017."""
import json
import os
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

import cv2
import numpy as np

from mmasvit.errors import InputError
from mmasvit.shapes.scenes import CATEGORIES, SPLITS, make_image
from mmasvit.shapes.writing import (Progress, describe_content, map_in_processes,
                                    staged_directory)

VERSION = 1  # of the generator: raised with every change of the bytes it writes
JPEG_QUALITY = 92
MAX_IMAGES = 1_000_000  # a split; it also keeps the image ids of the splits apart
SIZES = (64, 2048)


@dataclass(frozen=True)
class ShapesSettings:
    """What a set is made of; two sets of the same settings have the same bytes.

    Attributes:
        images (int): Training images. Default: 4000.
        val_images (int): Held-out images. Default: 200.
        size (int): Side of the square images, in pixels. Default: 256.
        seed (int): Seed of everything. Default: 0.
    """
    images: int = 4000
    val_images: int = 200
    size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ('images', 'val_images'):
            count = getattr(self, name)
            if not 1 <= count <= MAX_IMAGES:
                raise InputError(
                    f'{name} must be from 1 to {MAX_IMAGES}, got {count}')
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise InputError(
                f'size must be from {SIZES[0]} to {SIZES[1]} pixels, got {self.size}')
        if self.seed < 0:
            raise InputError(f'seed must not be negative, got {self.seed}')

    @property
    def counts(self) -> Tuple[int, int]:
        """Images of each of `SPLITS`."""
        return self.images, self.val_images


def annotation_path(root: Path, split: str) -> Path:
    """Return where a set keeps the annotations of a split."""
    return root / 'annotations' / f'instances_{split}2017.json'


def make_shapes_coco(out_dir: Union[str, os.PathLike],
                     settings: ShapesSettings = ShapesSettings(),
                     workers: Optional[int] = None,
                     progress: Progress = None) -> bool:
    """Write a set of generated shapes, all of it or nothing.

    The set has COCO 2017's layout: ``train2017/*.jpg``, ``val2017/*.jpg`` and
    ``annotations/instances_{train,val}2017.json``. Its bytes depend on the settings
    only, and those of an image only on the seed, the split, its position and the size.

    Args:
        out_dir (str or PathLike): Directory to write: absent, empty, or holding a set
            of the same settings, which is left as it is.
        settings (ShapesSettings): What to make. Default: ``ShapesSettings()``.
        workers (int, optional): Processes; the CPUs of this process by default.
        progress (Callable[[int, int], None], optional): Called with the images done and
            the images in all.

    Returns:
        bool: Whether the set was written; False if it was there.

    Raises:
        InputError: If ``out_dir`` holds anything else or an incomplete set, or cannot
            be written.
        OSError: If writing fails on the way, as on a full disk.
    """
    out_dir = Path(out_dir).resolve()
    if _is_there(out_dir, settings):
        return False
    with staged_directory(out_dir) as root:
        (root / 'annotations').mkdir()
        jobs = []
        for split, count in zip(SPLITS, settings.counts):
            (root / f'{split}2017').mkdir()
            jobs += [(SPLITS.index(split), index) for index in range(count)]
        make = partial(_write_image, root, settings.seed, settings.size)
        made = map_in_processes(make, jobs, workers, progress)
        for split, count in zip(SPLITS, settings.counts):
            records, made = made[:count], made[count:]
            text = json.dumps(_document(records, settings), separators=(',', ':'))
            annotation_path(root, split).write_text(text + '\n', encoding='utf-8')
    return True


def read_settings(root: Path) -> Optional[ShapesSettings]:
    """Return the settings of the set in a directory, None if it holds no such set.

    Raises:
        InputError: If another version of the generator made the set.
    """
    try:
        # The smaller file: the settings are in both.
        info = json.loads(annotation_path(root, 'val').read_bytes())['info']
        version, settings = info['generator'], ShapesSettings(**info['settings'])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    if version != VERSION:
        raise InputError(
            f'{root} was made by version {version} of the generator, this is version '
            f'{VERSION}; remove it or choose another directory')
    return settings


def _is_there(out_dir: Path, settings: ShapesSettings) -> bool:
    """Say whether the set is there; raise an InputError if something else is."""
    if not out_dir.exists():
        return False
    if not out_dir.is_dir():
        raise InputError(f'{out_dir} is a file, not a directory')
    there = read_settings(out_dir)
    if there is None:
        if any(out_dir.iterdir()):
            raise InputError(
                f'{out_dir} is not empty and no set of this tool: it holds '
                f'{describe_content(out_dir)}')
        return False
    if there != settings:
        wanted = asdict(settings)
        differences = ', '.join(
            f'{name} {value} instead of {wanted[name]}'
            for name, value in asdict(there).items() if value != wanted[name])
        raise InputError(f'{out_dir} holds a set with other settings: {differences}')
    for split, count in zip(SPLITS, settings.counts):
        found = sum(1 for _ in (out_dir / f'{split}2017').glob('*.jpg'))
        if found != count:
            raise InputError(
                f'{out_dir}/{split}2017 holds {found} of {count} images; remove '
                f'{out_dir} to make the set anew')
    return True


def _write_image(root: Path, seed: int, size: int,
                 job: Tuple[int, int]) -> Tuple[Dict, List[Dict]]:
    """Make and write an image; return its entry and its annotations without ids."""
    split, index = job
    image, annotations = make_image(seed, split, index, size)
    image_id = split * MAX_IMAGES + index + 1
    file_name = f'{image_id:012d}.jpg'
    write_jpeg(root / f'{SPLITS[split]}2017' / file_name, image)
    entry = dict(id=image_id, file_name=file_name, width=size, height=size, license=1)
    return entry, annotations


def write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write an image (h, w, 3), uint8, BGR; an OSError tells what went wrong."""
    # cv2.imwrite only returns False when a disk is full.
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    path.write_bytes(cv2.imencode('.jpg', image, options)[1].tobytes())


def _document(records: List[Tuple[Dict, List[Dict]]], settings: ShapesSettings) -> Dict:
    """Put the images and annotations of a split into COCO's format."""
    annotations = [
        dict(id=0, image_id=entry['id'], **annotation)
        for entry, found in records for annotation in found]
    for number, annotation in enumerate(annotations, 1):
        annotation['id'] = number
    return dict(
        info=dict(
            description='Generated textured shapes (tools/make_shapes_coco.py)',
            url='', version=str(VERSION), year=2017, contributor='mmasvit',
            # A fixed date: the same settings give the same bytes.
            date_created='2017-01-01', generator=VERSION, settings=asdict(settings)),
        licenses=[dict(
            id=1, name='CC0 1.0 Universal',
            url='https://creativecommons.org/publicdomain/zero/1.0/')],
        images=[entry for entry, _ in records],
        annotations=annotations,
        categories=[
            dict(id=number, name=name, supercategory='shape')
            for number, name in enumerate(CATEGORIES, 1)])
