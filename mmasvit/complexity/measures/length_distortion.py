"""Length of the circle's image (equation 3 of the paper)."""
from mmasvit.complexity import curve
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=True)
def length_distortion(probe: UntrainedNetwork) -> float:
    """``L^E``: the integral of the speed along the circle."""
    v = probe.velocity
    return probe.integrate(curve.length_distortion(v), v[0].norm())
