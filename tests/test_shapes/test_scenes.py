"""The generated scenes: exact annotations, fair pictures, nothing hidden."""
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from shapely.geometry import MultiPolygon, Point, Polygon, box
from shapely.ops import unary_union

from mmasvit.shapes.painting import contrasting_colour, coverage, noise
from mmasvit.shapes.scenes import CATEGORIES, make_image
from mmasvit.shapes.scenes import (MAX_OBJECTS, annotate, compose, hole_free,
                                   run_lengths, unit_outline)

SIZE = 256


@pytest.fixture(scope='module')
def scenes():
    """Give 400 scenes with their annotations; the first of them has a crowd."""
    made = [compose(np.random.default_rng([1, 0, index]), SIZE, with_crowd=index == 0)
            for index in range(400)]
    return [(scene, annotate(scene)) for scene in made]


def objects_of(scenes):
    """Yield each object with its annotation and the outlines laid over it."""
    for scene, annotations in scenes:
        for index, shape in enumerate(scene.objects):
            above = [later.outline for later in scene.objects[index + 1:]]
            yield shape, annotations[index], above


def rings(annotation):
    """Return the polygons of an annotation as arrays (n, 2)."""
    return [np.reshape(ring, (-1, 2)) for ring in annotation['segmentation']]


def full_coverage(outline):
    """Return the covered share of every pixel of the image."""
    window, alpha = coverage(outline, SIZE)
    whole = np.zeros((SIZE, SIZE), np.float32)
    whole[window] = alpha
    return whole


# ------------------------------------------------------------------------ the scenes


def test_every_scene_has_one_to_eight_objects(scenes):
    counts = [len(scene.objects) for scene, _ in scenes]
    assert set(counts) == set(range(1, MAX_OBJECTS + 1))


def test_a_fifth_is_small_and_a_fifth_is_occluded(scenes):
    areas, hidden, categories = np.array([
        (annotation['area'], annotation['occlusion'], annotation['category_id'])
        for _, annotation, _ in objects_of(scenes)]).T
    assert np.mean(areas < 32**2) > 0.25
    assert np.mean(hidden > 0.1) > 0.25
    # Nor is that all: an AP of large or of free objects has to mean something.
    assert np.mean(areas >= 64**2) > 0.2 and np.mean(hidden == 0) > 0.3
    shares = np.bincount(categories.astype(int))[1:] / len(categories)
    assert len(shares) == len(CATEGORIES) and shares.min() > 0.15


def test_sizes_are_log_uniform(scenes):
    sides = np.sort([np.sqrt(shape.outline.area) for shape, _, _ in objects_of(scenes)])
    shares = np.log(sides / 16) / np.log(0.45 * SIZE / 16)
    expected = (np.arange(len(shares)) + 0.5) / len(shares)
    assert np.abs(shares - expected).max() < 0.06  # large ones find a place less often


@pytest.mark.parametrize('size', [64, 1024])
def test_other_image_sizes_keep_the_shares(size):
    made = [annotate(compose(np.random.default_rng([2, 0, index]), size))
            for index in range(150)]
    found = [annotation for annotations in made for annotation in annotations]
    assert np.mean([annotation['area'] < 32**2 for annotation in found]) > 0.2
    assert np.mean([annotation['occlusion'] > 0.1 for annotation in found]) > 0.2


@pytest.mark.parametrize('category', range(len(CATEGORIES)))
def test_outlines_have_unit_area_and_every_rotation(category):
    rng = np.random.default_rng(0)
    directions = []
    for _ in range(50):
        points = unit_outline(rng, category)
        assert Polygon(points).is_valid
        assert Polygon(points).area == pytest.approx(1)
        directions.append(np.arctan2(points[0, 1], points[0, 0]) % (2 * np.pi))
    assert np.histogram(directions, 4, (0, 2 * np.pi))[0].min() > 0


# ------------------------------------------------------------------- the annotations


def test_annotation_is_the_visible_region(scenes):
    image = box(0, 0, SIZE, SIZE)
    for shape, annotation, above in objects_of(scenes):
        pieces = [Polygon(ring) for ring in rings(annotation)]
        assert all(piece.is_valid for piece in pieces)
        region = unary_union(pieces)
        # Pieces do not overlap, so that their areas add up.
        assert region.area == pytest.approx(sum(piece.area for piece in pieces))
        truth = shape.outline.intersection(image).difference(unary_union(above))
        wrong = region.symmetric_difference(truth).area
        assert wrong < 0.01 * truth.length  # the grid is 1/64 pixel
        full = shape.outline.area
        inside = shape.outline.intersection(image).area
        assert annotation['truncation'] == pytest.approx(1 - inside / full, abs=2e-3)
        assert annotation['occlusion'] == pytest.approx(
            (inside - truth.area) / full, abs=5e-3)


def test_area_and_box_are_those_of_the_polygons(scenes):
    for _, annotation, _ in objects_of(scenes):
        points = np.concatenate(rings(annotation))
        area = 0.
        for ring in rings(annotation):
            x, y = ring.T
            area += abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
        assert annotation['area'] == area  # exact: the vertices are multiples of 1/64
        low, high = points.min(0), points.max(0)
        assert annotation['bbox'] == [*low, *(high - low)]
        assert low.min() >= 0 and high.max() <= SIZE


def test_no_object_is_hidden(scenes):
    for shape, annotation, _ in objects_of(scenes):
        assert annotation['area'] >= 0.4 * shape.outline.area - 1e-9
        assert annotation['area'] >= 60
        assert min(annotation['bbox'][2:]) >= 8
        assert min(Polygon(ring).area for ring in rings(annotation)) >= 4


def test_objects_split_and_pierced_by_others_occur(scenes):
    regions = [shape.visible for shape, _, _ in objects_of(scenes)]
    assert any(len(region.geoms) > 1 for region in regions)
    assert any(part.interiors for region in regions for part in region.geoms)


def test_cutting_holes_open_loses_nothing():
    plate = box(0, 0, 100, 60)
    for hole in (box(10, 10, 20, 20), box(12, 30, 40, 50), box(60, 5, 95, 55)):
        plate = plate.difference(hole)
    plate = plate.union(box(70, 20, 80, 30))  # an island in the third hole
    region = MultiPolygon(plate.geoms)
    pieces = hole_free(region)
    assert not any(piece.interiors for piece in pieces)
    assert sum(piece.area for piece in pieces) == region.area
    assert unary_union(pieces).symmetric_difference(region).area == 0


def test_polygons_agree_with_the_rendering(scenes):
    overlaps = []
    for shape, annotation, above in list(objects_of(scenes))[:300]:
        alone = full_coverage(shape.outline)
        for outline in above:
            alone *= 1 - full_coverage(outline)
        rendered = alone >= 0.5
        runs = coco_mask.frPyObjects(annotation['segmentation'], SIZE, SIZE)
        decoded = coco_mask.decode(coco_mask.merge(runs)).astype(bool)
        overlaps.append((rendered & decoded).sum() / (rendered | decoded).sum())
    assert min(overlaps) > 0.9 and np.mean(overlaps) > 0.98


# --------------------------------------------------------------------------- painting


def test_coverage_is_soft_and_keeps_the_area():
    disc = Point(30.3, 41.7).buffer(9)
    window, alpha = coverage(disc, SIZE)
    assert alpha.sum() == pytest.approx(disc.area, rel=0.03)
    assert ((alpha > 0.1) & (alpha < 0.9)).sum() > 20
    rows, columns = np.mgrid[window]
    centre = [(alpha * (axis + 0.5)).sum() / alpha.sum() for axis in (columns, rows)]
    assert centre == pytest.approx([30.3, 41.7], abs=0.02)


def test_coverage_is_cut_at_the_border():
    window, alpha = coverage(box(-5, 250, 3, 270), SIZE)
    assert window == np.s_[250:256, 0:3]
    assert alpha.min() == 1


def lab_of(colours):
    """Convert colours (..., 3), BGR from 0 to 255, to CIE Lab (n, 3)."""
    bgr = np.reshape(colours, (1, -1, 3)).astype(np.float32) / 255
    return cv2.cvtColor(np.clip(bgr, 0, 1), cv2.COLOR_BGR2LAB)[0]


def test_colours_contrast_moderately_all_over_their_texture():
    rng = np.random.default_rng(0)
    swing = np.array([20, 0, 10], np.float32)
    contrasts = []
    for _ in range(300):
        patch = np.full((20, 30, 3), rng.uniform(60, 195, 3), np.float32)
        colour = contrasting_colour(rng, patch, swing)
        shades = lab_of([colour - swing, colour, colour + swing])
        contrasts.append(np.linalg.norm(shades - lab_of(patch[0, 0]), axis=1))
    # About 2 is the least difference a person sees; black and white are 100 apart.
    assert np.min(contrasts) > 15.9
    assert np.max(np.array(contrasts)[:, 1]) < 50.1


def test_objects_stand_out_and_are_textured():
    contrasts, textures = [], []
    for index in range(60):
        image, annotations = make_image(3, 0, index, SIZE)
        lab = lab_of(image).reshape(image.shape)
        for annotation in annotations[:-1] if index == 0 else annotations:
            runs = coco_mask.frPyObjects(annotation['segmentation'], SIZE, SIZE)
            mask = coco_mask.decode(coco_mask.merge(runs))
            near, far = (cv2.dilate(mask, np.ones((k, k))) for k in (3, 9))
            inside = lab[cv2.erode(mask, np.ones((3, 3))) > 0]
            around = np.median(lab[(far > 0) & (near == 0)], 0)
            contrasts.append(np.linalg.norm(np.median(inside, 0) - around))
            textures.append(np.linalg.norm(inside.std(0)))
    assert min(contrasts) > 4 and np.quantile(contrasts, 0.05) > 14
    assert np.median(contrasts) < 50
    assert np.quantile(textures, 0.1) > 1 and np.median(textures) > 2.5


def test_noise_is_strongest_at_its_coarsest_octave():
    drawn = noise(np.random.default_rng(0), 128, 128, 4, 4)
    bands = []
    for edge in (8, 16, 32, 64):  # from 2 values a cell of each octave
        coarse = cv2.resize(drawn, (edge, edge), interpolation=cv2.INTER_AREA)
        bands.append(coarse.std())
    assert bands[0] > 0.6 * bands[-1]  # most of it in the first octave
    assert bands == sorted(bands) and bands[-1] > 1.05 * bands[0]  # not all of it


def test_backgrounds_are_textured_and_differ():
    colours = []
    for index in range(1, 40):
        scene = compose(np.random.default_rng([3, 0, index]), SIZE)
        image, _ = make_image(3, 0, index, SIZE)
        free = sum(full_coverage(shape.outline) for shape in scene.objects) == 0
        pixels = image[free].astype(np.float32)
        assert np.linalg.norm(pixels.std(0)) > 5
        # Smooth: neighbours differ far less than distant pixels.
        step = np.diff(image.astype(np.float32), axis=0)[free[1:] & free[:-1]]
        assert np.linalg.norm(step.std(0)) < 0.5 * np.linalg.norm(pixels.std(0))
        colours.append(tuple(pixels.mean(0).round(1)))
    assert len(set(colours)) == len(colours)


# -------------------------------------------------------------------------- the crowd


def test_crowd_is_one_exact_region_in_the_open(scenes):
    scene, annotations = scenes[0]
    assert [annotation['iscrowd'] for annotation in annotations[:-1]] == [0] * (
        len(annotations) - 1)
    crowd = annotations[-1]
    assert crowd['iscrowd'] == 1 and len(scene.crowd) >= 10
    runs = coco_mask.frPyObjects(crowd['segmentation'], SIZE, SIZE)
    mask = coco_mask.decode(runs)
    assert crowd['area'] == mask.sum() > 200
    assert crowd['bbox'] == coco_mask.toBbox(runs).tolist()
    area = unary_union(scene.crowd).area
    assert crowd['area'] == pytest.approx(area, rel=0.1)
    assert not any(scene.crowd for scene, _ in scenes[1:])


def test_no_object_covers_the_crowd():
    for index in range(40):
        scene = compose(np.random.default_rng([4, 0, index]), SIZE, with_crowd=True)
        crowd = unary_union(scene.crowd)
        assert not any(shape.outline.intersects(crowd) for shape in scene.objects)


@pytest.mark.parametrize('corner', [0, 1])
def test_run_lengths_round_trip(corner):
    mask = np.random.default_rng(0).random((7, 5)) < 0.4
    mask[0, 0] = corner
    runs = coco_mask.frPyObjects(dict(size=[7, 5], counts=run_lengths(mask)), 7, 5)
    assert (coco_mask.decode(runs) == mask).all()
