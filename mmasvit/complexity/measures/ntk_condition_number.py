"""Trainability by the neural tangent kernel (equation 5 of the paper)."""
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.ntk import condition_number, ntk_gram
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=False)
def ntk_condition_number(probe: UntrainedNetwork) -> float:
    """Largest over smallest eigenvalue of the images' tangent kernel."""
    return condition_number(
        ntk_gram(probe.backbone, probe.features, probe.images)).item()
