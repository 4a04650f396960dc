"""Paint textured shapes onto textured backgrounds, with soft edges.

Coordinates are COCO's: pixel ``i`` covers the interval ``[i, i + 1)``.
"""
from typing import Sequence, Tuple

import cv2
import numpy as np
from shapely.geometry import Polygon

SUPERSAMPLING = 8  # sub-pixels along each side of a pixel
MIN_CONTRAST, MAX_CONTRAST = 16., 50.  # CIE Lab distance of an object's colour


def paint(rng: np.random.Generator, size: int,
          outlines: Sequence[Polygon]) -> np.ndarray:
    """Paint outlines in order onto a textured background.

    Args:
        rng (np.random.Generator): Source of textures and colours.
        size (int): Side of the square image, in pixels.
        outlines (Sequence[Polygon]): Outlines that meet the image, later ones on top.

    Returns:
        np.ndarray: The image (size, size, 3), uint8, BGR.
    """
    canvas = (rng.uniform(60, 195, 3).astype(np.float32)
              + pattern(rng, size, size)[..., None] * _direction(rng, 15, 50)
              + noise(rng, size, size, 3, 3)[..., None] * _direction(rng, 15, 50))
    canvas = np.clip(canvas, 0, 255)
    for outline in outlines:
        window, alpha = coverage(outline, size)
        below = canvas[window]
        swing = _direction(rng, 8, 28)
        colour = (contrasting_colour(rng, below, swing)
                  + pattern(rng, *alpha.shape)[..., None] * swing)
        below += alpha[..., None] * (np.clip(colour, 0, 255) - below)
    return np.round(canvas).astype(np.uint8)


def coverage(outline: Polygon, size: int) -> Tuple[Tuple[slice, slice], np.ndarray]:
    """Rasterise an outline with soft edges.

    Args:
        outline (Polygon): Outline that meets the image.
        size (int): Side of the square image, in pixels.

    Returns:
        tuple: The window (rows, columns) of the image that holds the outline, and the
        covered share (h, w) of each of its pixels, float32 from 0 to 1.
    """
    left, top, right, bottom = np.clip(outline.bounds, 0, size)
    left, top = int(left), int(top)
    width, height = int(np.ceil(right)) - left, int(np.ceil(bottom)) - top
    mask = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    # OpenCV's integer coordinates are the centres of pixels, COCO's are their corners.
    points = (np.asarray(outline.exterior.coords) - (left, top)) * SUPERSAMPLING - 0.5
    fixed = np.round(points * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, shift=4)
    alpha = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
    return np.s_[top:top + height, left:left + width], alpha.astype(np.float32) / 255


def noise(rng: np.random.Generator, height: int, width: int, cells: int,
          octaves: int) -> np.ndarray:
    """Draw smooth noise of several octaves.

    Args:
        rng (np.random.Generator): Source of the noise.
        height (int): Height in pixels.
        width (int): Width in pixels.
        cells (int): Random values along each side in the first octave.
        octaves (int): How many times the cells are halved and their strength with them.

    Returns:
        np.ndarray: Noise (height, width), float32, about -1 to 1.
    """
    total = _random_values(rng, cells)
    for octave in range(1, octaves):
        # Octaves add up at their own low resolution: one large resize, not one each.
        count = cells * 2**octave
        total = cv2.resize(total, (count, count), interpolation=cv2.INTER_CUBIC)
        total += _random_values(rng, count) / 2**octave
    return cv2.resize(total, (width, height), interpolation=cv2.INTER_CUBIC)


def _random_values(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.random((count, count), np.float32) * 2 - 1


def pattern(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw a texture: noise, a gradient or stripes, the latter two bent by noise.

    Args:
        rng (np.random.Generator): Source of all choices.
        height (int): Height in pixels.
        width (int): Width in pixels.

    Returns:
        np.ndarray: Texture (height, width), float32, about -1 to 1.
    """
    rough = noise(rng, height, width, int(rng.integers(3, 7)), 4)
    kind, angle = rng.integers(3), rng.uniform(0, 2 * np.pi)
    if kind == 0:
        return rough
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None] * np.float32(
        np.cos(angle))
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(
        np.sin(angle))
    ramp = rows + columns
    if kind == 1:
        return ramp + np.float32(0.4) * rough
    periods, phase = rng.uniform(2, 7), rng.uniform(0, 2 * np.pi)
    return np.sin(np.float32(periods * np.pi) * ramp + np.float32(phase) + rough)


def contrasting_colour(rng: np.random.Generator, below: np.ndarray,
                       swing: np.ndarray) -> np.ndarray:
    """Draw a colour that stands out moderately from what it is painted on.

    It keeps `MIN_CONTRAST` from nine tenths of the patch, so that no object vanishes
    in a part of it, at both ends of its texture, so that no stripe of it does. It
    exceeds `MAX_CONTRAST` from the patch's median only if nothing else keeps all this.

    Args:
        rng (np.random.Generator): Source of the colour.
        below (np.ndarray): Patch (h, w, 3) to paint on, BGR from 0 to 255, float32.
        swing (np.ndarray): The texture varies the colour by about plus and minus this
            vector (3,).

    Returns:
        np.ndarray: The colour (3,), float32.
    """
    colours = rng.uniform(20, 235, (32, 3)).astype(np.float32)
    patch = cv2.resize(below, (7, 7), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    shades = np.concatenate([colours, colours - swing, colours + swing])
    both = np.clip(np.concatenate([shades, patch])[None] / 255, 0, 1)
    lab = cv2.cvtColor(both, cv2.COLOR_BGR2LAB)[0]
    distances = np.linalg.norm(lab[:-len(patch), None] - lab[-len(patch):], axis=-1)
    distances.sort(axis=1)
    least = distances[:, len(patch) // 10].reshape(3, -1).min(0)
    median = distances[:len(colours), len(patch) // 2]
    fitting = np.flatnonzero((least >= MIN_CONTRAST) & (median <= MAX_CONTRAST))
    return colours[fitting[0] if len(fitting) else np.argmax(least)]


def _direction(rng: np.random.Generator, shortest: float, longest: float) -> np.ndarray:
    """Draw a vector (3,) in colour space, float32, its length between the two."""
    vector = rng.normal(size=3)
    vector *= rng.uniform(shortest, longest) / np.linalg.norm(vector)
    return vector.astype(np.float32)
