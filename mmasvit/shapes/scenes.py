"""Pictures of textured shapes with exact instance annotations.

A scene is composed as geometry first and painted from it, so that the annotation never
has to be estimated from pixels. Coordinates are COCO's: pixel ``i``
covers the interval ``[i, i + 1)``, the origin is the upper left corner of the image.
"""
from dataclasses import dataclass, replace
from typing import Dict, List, Optional, Tuple

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from mmasvit.shapes.painting import coverage, paint

CATEGORIES = ('circle', 'triangle', 'square', 'star', 'cross')
SPLITS = ('train', 'val')

# All vertices lie on this grid. It is a power of two: areas and extents of the written
# polygons are then exact in float64, and the decimal text of a coordinate is exact too.
GRID = 1 / 64

MAX_OBJECTS = 8
SMALLEST, LARGEST = 16., 300.  # square root of an outline's area, in pixels
LARGEST_SHARE = 0.45  # the same, as a share of the image's side
MIN_INSIDE = 0.6  # share of an outline that lies inside the image
MIN_VISIBLE = 0.4  # share of an outline that is inside and not covered
MIN_AREA, MIN_SIDE, MIN_PIECE = 60., 8., 4.  # of a visible region; of each polygon
PAIR_RATE = 0.6  # how often an object is laid over an earlier one on purpose
TRIES = 40  # positions tried for one object


@dataclass(frozen=True)
class Shape:
    """One object of a scene.

    Attributes:
        category (int): Index into `CATEGORIES`.
        outline (Polygon): The whole shape, also where it is cut off or covered.
        visible (MultiPolygon): The part inside the image that no later object covers.
        occlusion (float): Share of the outline's area that later objects cover.
        truncation (float): Share of the outline's area outside the image.
    """
    category: int
    outline: Polygon
    visible: MultiPolygon
    occlusion: float
    truncation: float


@dataclass(frozen=True)
class Scene:
    """Shapes in drawing order, the crowd below everything else.

    Attributes:
        size (int): Side of the square image, in pixels.
        objects (tuple[Shape]): 1 to `MAX_OBJECTS` objects, later ones on top.
        crowd (tuple[Polygon]): Tiny outlines of one category that form one crowd
            region; empty for most scenes.
        crowd_category (int): Index into `CATEGORIES`.
    """
    size: int
    objects: Tuple[Shape, ...]
    crowd: Tuple[Polygon, ...] = ()
    crowd_category: int = 0


def make_image(seed: int, split: int, index: int,
               size: int) -> Tuple[np.ndarray, List[Dict]]:
    """Make one image of a set; a pure function of its arguments.

    Args:
        seed (int): Seed of the set, not negative.
        split (int): Index into `SPLITS`.
        index (int): Position in the split, from 0. Image 0 holds the split's crowd.
        size (int): Side of the square image, in pixels.

    Returns:
        tuple: The image (size, size, 3), uint8, BGR, and its annotations in COCO's
        format but for ``id`` and ``image_id``.
    """
    rng = np.random.default_rng([seed, split, index])
    scene = compose(rng, size, with_crowd=index == 0)
    outlines = [*scene.crowd, *(shape.outline for shape in scene.objects)]
    return paint(rng, size, outlines), annotate(scene)


# ------------------------------------------------------------------------ geometry


def unit_outline(rng: np.random.Generator, category: int) -> np.ndarray:
    """Draw an outline of a category, of area 1 and around the origin.

    Args:
        rng (np.random.Generator): Source of the proportions and of the rotation.
        category (int): Index into `CATEGORIES`.

    Returns:
        np.ndarray: Vertices (n, 2) in order, float64.
    """
    name = CATEGORIES[category]
    if name == 'cross':
        arm = rng.uniform(0.3, 0.42)
        corner = np.array([[1, arm], [arm, arm], [arm, 1]])
        turns = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
        points = np.concatenate(
            [(corner if x * y > 0 else corner[::-1]) * (x, y) for x, y in turns])
    else:
        count = dict(circle=64, triangle=3, square=4, star=10)[name]
        angles = np.arange(count) * 2 * np.pi / count
        radii = np.ones(count)
        if name == 'triangle':
            angles += rng.uniform(-0.2, 0.2, 3)
        elif name == 'star':
            radii[1::2] = rng.uniform(0.4, 0.52)
        points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
    outline = Polygon(points)
    turned = affinity.rotate(outline, rng.uniform(0, 360), origin=outline.centroid)
    middle = np.asarray(turned.centroid.coords)
    return (np.asarray(turned.exterior.coords)[:-1] - middle) / np.sqrt(outline.area)


def hole_free(region: MultiPolygon) -> List[Polygon]:
    """Cut a region into polygons without holes, which is all COCO can express.

    Args:
        region (MultiPolygon): Region with vertices on `GRID`.

    Returns:
        list[Polygon]: Polygons without holes and with disjoint interiors, whose union
        is the region.
    """
    waiting, pieces = _polygons(region), []
    while waiting:
        polygon = waiting.pop()
        if not polygon.interiors:
            pieces.append(polygon)
            continue
        # A vertical cut through the middle of a hole opens it on both sides.
        hole_left, _, hole_right, _ = polygon.interiors[0].bounds
        cut = round((hole_left + hole_right) / 2 / GRID) * GRID
        left, top, right, bottom = polygon.bounds
        for half in (box(left, top, cut, bottom), box(cut, top, right, bottom)):
            waiting += _polygons(polygon.intersection(half, grid_size=GRID))
    return pieces


def compose(rng: np.random.Generator, size: int, with_crowd: bool = False) -> Scene:
    """Lay out the shapes of one image.

    The sizes are log-uniform. A place that would hide too much of any object, or leave
    slivers of one, is drawn anew; an object without a place after `TRIES` positions is
    left out, so that no annotated object is hidden.

    Args:
        rng (np.random.Generator): Source of all choices.
        size (int): Side of the square image, in pixels.
        with_crowd (bool): Whether to add a cluster of tiny shapes, which the objects
            leave uncovered. Default: False.

    Returns:
        Scene: 1 to `MAX_OBJECTS` objects, and the crowd.
    """
    crowd, crowd_category, keep_clear = (), 0, None
    if with_crowd:
        crowd, crowd_category, keep_clear = _compose_crowd(rng, size)
    wanted = int(rng.integers(1, MAX_OBJECTS + 1))
    objects: List[Shape] = []
    # An image without any object is no use to a detector: the first is insisted on.
    while not objects:
        for _ in range(wanted):
            objects = _add_object(rng, objects, size, keep_clear)
    return Scene(size, tuple(objects), crowd, crowd_category)


def _add_object(rng: np.random.Generator, objects: List[Shape], size: int,
                keep_clear: Optional[Polygon]) -> List[Shape]:
    """Return the objects with one more on top, or unchanged if none has a place."""
    category = int(rng.integers(len(CATEGORIES)))
    largest = min(LARGEST, LARGEST_SHARE * size)
    side = float(np.exp(rng.uniform(np.log(SMALLEST), np.log(largest))))
    for _ in range(TRIES):
        centre = rng.uniform(0, size, 2)
        if objects and rng.random() < PAIR_RATE:
            below = objects[rng.integers(len(objects))].outline
            angle = rng.uniform(0, 2 * np.pi)
            reach = (np.sqrt(below.area) + side) / np.sqrt(np.pi) * rng.uniform(.3, .9)
            centre = np.array([below.centroid.x + reach * np.cos(angle),
                               below.centroid.y + reach * np.sin(angle)])
        outline = _on_grid(unit_outline(rng, category) * side + centre)
        if keep_clear is not None and outline.intersects(keep_clear):
            continue
        placed = _lay_on_top(objects, category, outline, size)
        if placed is not None:
            return placed
    return objects


def _lay_on_top(objects: List[Shape], category: int, outline: Polygon,
                size: int) -> Optional[List[Shape]]:
    """Return the objects after one is laid over them, None if that hides too much."""
    inside = _polygonal(
        outline.intersection(box(0, 0, size, size), grid_size=GRID))
    if not _clearly_visible(inside, MIN_INSIDE * outline.area):
        return None
    placed = []
    for below in objects:
        if below.visible.intersects(inside):
            visible = _polygonal(below.visible.difference(inside, grid_size=GRID))
            if not _clearly_visible(visible, MIN_VISIBLE * below.outline.area):
                return None
            hidden = (below.visible.area - visible.area) / below.outline.area
            below = replace(below, visible=visible, occlusion=below.occlusion + hidden)
        placed.append(below)
    truncation = 1 - inside.area / outline.area
    return placed + [Shape(category, outline, inside, 0., truncation)]


def _clearly_visible(region: MultiPolygon, min_area: float) -> bool:
    if region.area < max(min_area, MIN_AREA):
        return False
    left, top, right, bottom = region.bounds
    return (min(right - left, bottom - top) >= MIN_SIDE
            and all(piece.area >= MIN_PIECE for piece in hole_free(region)))


def _compose_crowd(rng: np.random.Generator,
                   size: int) -> Tuple[Tuple[Polygon, ...], int, Polygon]:
    """Draw the tiny outlines of a crowd, their category and a disc that holds them."""
    category = int(rng.integers(len(CATEGORIES)))
    radius = max(18., 0.14 * size)
    centre = rng.uniform(radius, size - radius, 2)
    outlines = []
    for _ in range(rng.integers(16, 25)):
        angle = rng.uniform(0, 2 * np.pi)
        # The square root spreads the centres evenly; 9 pixels hold any of the shapes.
        reach = (radius - 9) * np.sqrt(rng.random())
        middle = centre + reach * np.array([np.cos(angle), np.sin(angle)])
        side = rng.uniform(5, 8)
        outlines.append(_on_grid(unit_outline(rng, category) * side + middle))
    return tuple(outlines), category, Point(centre).buffer(radius)


def _on_grid(points: np.ndarray) -> Polygon:
    return Polygon(np.round(points / GRID) * GRID)


def _polygons(region: BaseGeometry) -> List[Polygon]:
    """Return the polygons of a region, without the lines and points beside them."""
    parts = shapely.get_parts(region)
    return [part for part in parts if part.geom_type == 'Polygon' and not part.is_empty]


def _polygonal(region: BaseGeometry) -> MultiPolygon:
    # Regions that touch leave lines and points, which the next operation refuses.
    return MultiPolygon(_polygons(region))


# ---------------------------------------------------------------------- annotation


def annotate(scene: Scene) -> List[Dict]:
    """Describe a scene in COCO's format.

    Args:
        scene (Scene): The scene.

    Returns:
        list[dict]: One annotation an object, in drawing order, with polygons, exact
        ``area`` and ``bbox``, and the shares ``occlusion`` and ``truncation``; after
        them one with ``iscrowd=1`` and an uncompressed run-length mask if the scene has
        a crowd. ``id`` and ``image_id`` are the caller's.
    """
    annotations = []
    for shape in scene.objects:
        pieces = hole_free(shape.visible)
        left, top, right, bottom = MultiPolygon(pieces).bounds
        annotations.append(dict(
            category_id=shape.category + 1,
            segmentation=[
                np.asarray(piece.exterior.coords)[:-1].ravel().tolist()
                for piece in pieces],
            area=sum(piece.area for piece in pieces),
            bbox=[left, top, right - left, bottom - top],
            iscrowd=0,
            occlusion=round(shape.occlusion, 4),
            truncation=round(shape.truncation, 4)))
    if scene.crowd:
        annotations.append(_annotate_crowd(scene))
    return annotations


def _annotate_crowd(scene: Scene) -> Dict:
    mask = np.zeros((scene.size, scene.size), bool)
    for outline in scene.crowd:
        window, alpha = coverage(outline, scene.size)
        mask[window] |= alpha >= 0.5
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return dict(
        category_id=scene.crowd_category + 1,
        segmentation=dict(size=list(mask.shape), counts=run_lengths(mask)),
        area=int(mask.sum()),
        bbox=[left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        iscrowd=1,
        occlusion=0.,
        truncation=0.)


def run_lengths(mask: np.ndarray) -> List[int]:
    """Encode a mask as COCO's uncompressed run lengths.

    Args:
        mask (np.ndarray): Mask (h, w), bool.

    Returns:
        list[int]: Lengths of alternating runs of zeros and ones down the columns, the
        first of them of zeros.
    """
    flat = np.concatenate([[False], mask.ravel(order='F')])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff([0, *changes, mask.size]).tolist()
