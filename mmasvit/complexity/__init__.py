"""What a network does to its inputs before any training (section 3.2).

``curve`` and ``ntk`` are pure functions on tensors and callables; ``measures`` holds one
file per measure of an As-ViT; ``evaluate`` takes them. Any device, no Runner.
"""
from mmasvit.complexity.curve import (circle_basis, curvature, curve_derivatives,
                                      even_angles, length_distortion,
                                      length_distortion_curvature)
from mmasvit.complexity.evaluate import (SEARCH_MEASURES, Measured, Summary,
                                         check_measures, measure_repeat,
                                         measure_topology, summarise)
from mmasvit.complexity.features import pooled_features
from mmasvit.complexity.measures import MEASURES, Measure, measure
from mmasvit.complexity.ntk import condition_number, ntk_gram
from mmasvit.complexity.setting import PROTOCOLS, Protocol, Setting

__all__ = [
    'MEASURES', 'Measure', 'Measured', 'PROTOCOLS', 'Protocol', 'SEARCH_MEASURES',
    'Setting', 'Summary', 'check_measures', 'circle_basis', 'condition_number',
    'curvature', 'curve_derivatives', 'even_angles', 'length_distortion',
    'length_distortion_curvature', 'measure', 'measure_repeat', 'measure_topology',
    'ntk_gram', 'pooled_features', 'summarise',
]
