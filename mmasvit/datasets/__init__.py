"""Generated data sets; needs ``shapely`` and OpenCV, but none of the mm packages."""
from mmasvit.datasets.crops import check_crop_size, make_classification_crops
from mmasvit.datasets.shapes import CATEGORIES, make_image
from mmasvit.datasets.shapes_coco import ShapesSettings, make_shapes_coco

__all__ = [
    'CATEGORIES', 'ShapesSettings', 'check_crop_size', 'make_classification_crops',
    'make_image', 'make_shapes_coco'
]
