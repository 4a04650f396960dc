"""Multiply-accumulates, a baseline that costs nothing."""
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=True, drawn=False, sized=True)
def macs(probe: UntrainedNetwork) -> float:
    """Multiply-accumulates of the backbone for one image of the setting's size."""
    setting = probe.setting
    return probe.topology.count_macs((setting.image_size, ) * 2,
                                     pretrain_img_size=setting.window_img_size)
