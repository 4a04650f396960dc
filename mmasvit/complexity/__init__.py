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
from mmasvit.complexity.measures import (COST_MEASURES, MEASURES, PATH_MEASURES, Measure,
                                         find_measure, is_measure, measure)
from mmasvit.complexity.ntk import bn_gram, condition_number, ntk_gram
from mmasvit.complexity.setting import PROTOCOLS, Protocol, Setting
from mmasvit.complexity.supernet_path import SupernetPath, mutual_information

__all__ = [
    'COST_MEASURES', 'MEASURES', 'Measure', 'Measured', 'PATH_MEASURES', 'PROTOCOLS', 'Protocol',
    'SEARCH_MEASURES', 'Setting', 'Summary', 'SupernetPath', 'bn_gram', 'check_measures',
    'circle_basis', 'condition_number', 'curvature', 'curve_derivatives', 'even_angles',
    'find_measure', 'is_measure', 'length_distortion', 'length_distortion_curvature', 'measure',
    'measure_repeat', 'measure_topology', 'mutual_information', 'ntk_gram',
    'pooled_features', 'summarise',
]
