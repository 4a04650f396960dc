"""Image files as the loader (OpenCV, through mmcv) will see them.

Every file's header is read. What is read to its end is bounded: all files up to
:data:`MOST_DECODED` bytes, of a larger set an even sample and one of each kind. PNG files
are judged by the checksums that they carry, JPEG files are decoded at an eighth of their
size, all others as the loader does it.
"""
import io
import os
import re
import stat
import struct
import warnings
import zlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import (BinaryIO, Callable, Dict, Iterable, Iterator, List, Optional,
                    Sequence, Tuple)

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from mmasvit.coco.findings import Finding
from mmasvit.errors import InputError

MOST_DECODED = 2**29  # bytes of files: seconds to a minute
WORKERS = 16  # much of the time goes into waiting for the file system
OPENCV_PIXELS = 2**30  # OpenCV's own limit
# what a loader may hold several times over, per worker: 600 MB as colours
MOST_PIXELS, MOST_SIDE = 2 * 10**8, 2**15
ORIENTATION = 0x0112  # the EXIF tag; from 5 on, width and height are swapped
PADDING = 128  # bytes after the last code of a JPEG that are none of an image
Track = Callable[[Sequence], Iterable]


@dataclass(frozen=True)
class Look:
    """What a look at a file's header, or at all of it, has shown.

    Args:
        path: The file.
        fault: Kind of the fault, or ``''``.
        text: What it is, in one line with the path; ``''`` if nothing is.
        height: Pixels, as loaded: after a turn by EXIF.
        width: The same.
        turned: Whether the EXIF tag swaps width and height.
        kind: Format, mode and bits per channel.
        size: Bytes.
    """
    path: str
    fault: str = ''
    text: str = ''
    height: int = 0
    width: int = 0
    turned: bool = False
    kind: Tuple[str, str, int] = ('', '', 8)
    size: int = 0


def check_images(paths: Iterable[str], track: Track = iter) -> None:
    """Check that image files exist, are whole, and can be loaded.

    Args:
        paths: The files.
        track: Wraps the results as they come, for instance into a progress bar.

    Raises:
        InputError: With the first bad file and how many there are.
    """
    bad = [look for look in look_at(paths, track) if look.fault]
    if bad:
        more = f' (and {len(bad) - 1} more)' if len(bad) > 1 else ''
        raise InputError(f'{bad[0].text}{more}')


def look_at(paths: Iterable[str], track: Track = iter,
            most: int = MOST_DECODED) -> List[Look]:
    """Look at files: at all headers, and into as many as ``most`` bytes allow."""
    with ThreadPoolExecutor(WORKERS) as pool, _any_size():
        looks = list(track(pool.map(read_header, paths)))
        deep = {looks[i].path: i for i in _sample(looks, most)}
        for path, fault in zip(deep, pool.map(
                lambda i: damage(looks[i]), deep.values())):
            if fault:
                looks[deep[path]] = fault
    return looks


def read_header(path: str) -> Look:
    """Look at a file's header."""
    size = 0
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            return Look(path, 'image-missing', f'image {path} is no file')
        size = status.st_size
        with open(path, 'rb') as file, Image.open(file) as image:
            turned, (width, height) = _is_turned(image, file), image.size
            if turned and image.format != 'TIFF':  # of which Pillow has turned the size
                width, height = height, width
            kind = (image.format or '', image.mode, _bits(image, file))
    except FileNotFoundError:
        return Look(path, 'image-missing', f'image {path} does not exist')
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        line = f'cannot be decoded: {error}' if size or isinstance(error, OSError) and (
            error.errno) else 'is empty'
        return Look(path, 'image-damaged', f'image {path} {line}')
    if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE:
        return Look(path, 'image-huge', f'image {path} has {width} x {height} px: more '
                    f'than {MOST_PIXELS / 1e6:.0f} M, or more than {MOST_SIDE} along a '
                    'side; cut it into tiles')
    return Look(path, '', '', height, width, turned, kind, size)


def damage(look: Look) -> Optional[Look]:
    """A look at all of a file whose header is well; None if nothing is wrong."""
    with open(look.path, 'rb') as file:
        content = file.read()
    text = {'PNG': _png_damage, 'JPEG': _jpeg_damage}.get(
        look.kind[0], _loader_fault)(content)
    return text and Look(look.path, 'image-damaged', f'image {look.path} {text}',
                         look.height, look.width, look.turned, look.kind, look.size)


def findings_of(looks: Sequence[Look]) -> List[Finding]:
    """Faults of image files, and what loading them loses, each kind once."""
    groups: Dict[str, List[Look]] = defaultdict(list)
    for look in looks:
        if look.fault:
            groups[look.fault].append(look)
        elif look.kind[2] > 8:
            groups['image-16-bit'].append(look)
        elif look.kind[1] in ('RGBA', 'LA', 'PA'):
            groups['image-alpha'].append(look)
    findings = []
    for kind, found in groups.items():
        text = f'{len(found)} of {len(looks)} image files: {found[0].text}'
        if kind == 'image-16-bit':
            text = (f'{len(found)} of {len(looks)} images have {found[0].kind[2]} bits a '
                    f'channel, of which the loader keeps the upper 8 ({found[0].path})')
        elif kind == 'image-alpha':
            text = (f'{len(found)} of {len(looks)} images have an alpha channel, which '
                    f'the loader drops ({found[0].path})')
        findings.append(Finding(kind, bool(found[0].fault), len(found), len(looks), text))
    return findings


def compare_sizes(looks: Sequence[Look], widths: np.ndarray,
                  heights: np.ndarray) -> List[Finding]:
    """Sizes of the files as loaded against the annotation file's."""
    other = [(look, int(width), int(height))
             for look, width, height in zip(looks, widths, heights)
             if not look.fault and (look.width, look.height) != (width, height)
             and np.isfinite([width, height]).all()]
    if not other:
        return []
    look, width, height = other[0]
    why = (' (its EXIF tag turns it, which the loader heeds)'
           if any(found.turned for found, _, _ in other) else '')
    text = (f'{len(other)} of {len(looks)} images have another size than stated: image '
            f'{look.path} is {look.width} x {look.height}, the annotation file says '
            f'{width} x {height}{why}')
    return [Finding('image-size', True, len(other), len(looks), text)]


@contextmanager
def _any_size() -> Iterator[None]:
    """Let Pillow open what OpenCV loads, and OpenCV keep its remarks to itself."""
    limit, level = Image.MAX_IMAGE_PIXELS, cv2.getLogLevel()
    Image.MAX_IMAGE_PIXELS = OPENCV_PIXELS
    cv2.setLogLevel(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
        cv2.setLogLevel(level)


def _sample(looks: Sequence[Look], most: int) -> List[int]:
    """Which files to look into: all, or an even sample and the first of each kind."""
    whole = [i for i, look in enumerate(looks) if not look.fault]
    total = sum(looks[i].size for i in whole)
    if total <= most:
        return whole
    first = {looks[i].kind: i for i in reversed(whole)}
    step = -(-total // most)
    return sorted({*whole[::step], *first.values()})


def _is_turned(image: Image.Image, file: BinaryIO) -> bool:
    """Whether OpenCV swaps width and height: the formats of which it heeds the tag."""
    if image.format not in ('JPEG', 'PNG', 'TIFF'):
        return False
    try:
        if image.format == 'PNG':  # Pillow would decode all of it to find the tag
            exif = Image.Exif()
            exif.load(_png_chunk(file, b'eXIf'))
        else:
            exif = image.getexif()
        turn = exif.get(ORIENTATION, 1)
    except Exception:  # damaged tags harm nobody: neither do they turn
        return False
    return isinstance(turn, int) and 5 <= turn <= 8


def _png_chunk(file: BinaryIO, name: bytes) -> bytes:
    """The first chunk of a name, wherever it stands; empty if there is none."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, = struct.unpack('>I', head[:4])
        if head[4:] == name:
            return file.read(length)
        file.seek(length + 4, os.SEEK_CUR)
    return b''


def _bits(image: Image.Image, file: BinaryIO) -> int:
    """Bits per channel; Pillow says of a PNG with 16-bit colours that it has 8."""
    if image.format == 'PNG':
        file.seek(24)
        return file.read(1)[0]
    if image.format == 'TIFF':
        return max(image.tag_v2.get(258, (1, )))
    return 16 if image.mode.startswith('I;16') else 32 if image.mode in 'IF' else 8


def _png_damage(content: bytes) -> Optional[str]:
    place = 8
    while place + 12 <= len(content):
        length, = struct.unpack('>I', content[place:place + 4])
        end = place + 8 + length
        if end + 4 > len(content):
            break
        checksum, = struct.unpack('>I', content[end:end + 4])
        if zlib.crc32(content[place + 4:end]) != checksum:
            return f'is damaged: wrong checksum at byte {place}'
        if content[place + 4:place + 8] == b'IEND':
            return None
        place = end + 4
    return 'is cut short'


def _jpeg_damage(content: bytes) -> Optional[str]:
    try:  # at an eighth of its size all of the file is read, and little is computed
        simplejpeg.decode_jpeg(content, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        # what no code of an image stood for; a few bytes are some camera's habit
        left = re.search(r'(\d+) extraneous bytes before marker 0xd9', str(error))
        if (re.search('premature end|bad huffman', str(error), re.IGNORECASE)
                or left and int(left[1]) > PADDING):
            return f'cannot be decoded to its end: {error}'
        return _pillow_fault(content)  # a mere warning, or a kind that it does not know
    return None


def _pillow_fault(content: bytes) -> Optional[str]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return f'cannot be decoded: {error}'
    return None


def _loader_fault(content: bytes) -> Optional[str]:
    fault = _pillow_fault(content)  # it notices what is missing at the end
    if fault:
        return fault
    try:
        loaded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        return f'cannot be loaded: {str(error).splitlines()[0]}'
    return 'is of a kind that OpenCV cannot load' if loaded is None else None
