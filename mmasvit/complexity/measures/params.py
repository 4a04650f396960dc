"""Parameters, a baseline that costs nothing."""
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=True, drawn=False)
def params(probe: UntrainedNetwork) -> float:
    """Learnable parameters of the backbone without position embedding."""
    return probe.topology.count_params(use_abs_pos_embed=False)
