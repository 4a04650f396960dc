"""Multiply-accumulates, a baseline that costs nothing."""
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=True, drawn=False)
def macs(probe: UntrainedNetwork) -> float:
    """Multiply-accumulates of the backbone for one image of the setting's size."""
    size = probe.setting.image_size
    return probe.topology.count_macs((size, size), pretrain_img_size=size)
