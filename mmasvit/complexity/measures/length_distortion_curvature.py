"""Length of the curve of directions (equation 4 of the paper)."""
import math

from mmasvit.complexity import curve
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=True)
def length_distortion_curvature(probe: UntrainedNetwork) -> float:
    """``L^E_kappa``: how far the direction of the image curve turns."""
    v, a = probe.derivatives
    return probe.integrate(curve.length_distortion_curvature(v, a),
                           curve.length_distortion_curvature(v[:1], a[:1]) / (2 * math.pi))
