"""Time on a device, a baseline that costs nothing once the device is profiled."""
from typing import Dict

from mmasvit.complexity.measures.registry import COST_MEASURES, measure


@measure(higher_is_better=True, drawn=False, registry=COST_MEASURES)
def latency(costs: Dict[str, float]) -> float:
    """Milliseconds of one image through the backbone, by a device's profile."""
    return costs['latency']
