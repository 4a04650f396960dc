"""Curvature of the circle's image (equation 1 of the paper)."""
import math

from mmasvit.complexity import curve
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=False)
def curvature(probe: UntrainedNetwork) -> float:
    """``kappa``: the integral of the extrinsic curvature along the circle.

    Small is good by table 2 of the paper, where its tau with accuracy is -0.49.
    """
    v, a = probe.derivatives
    return probe.integrate(curve.curvature(v, a),
                           curve.curvature(v[:1], a[:1]) / (2 * math.pi))
