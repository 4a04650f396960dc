"""What a network does to its inputs before any training (section 3.2).

Pure functions on tensors and callables, on any device.
"""
from mmasvit.complexity.curve import (circle_basis, curvature, curve_derivatives,
                                      even_angles, length_distortion,
                                      length_distortion_curvature)
from mmasvit.complexity.features import pooled_features
from mmasvit.complexity.ntk import condition_number, ntk_gram

__all__ = [
    'circle_basis', 'condition_number', 'curvature', 'curve_derivatives', 'even_angles',
    'length_distortion', 'length_distortion_curvature', 'ntk_gram', 'pooled_features',
]
