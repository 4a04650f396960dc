"""Costs of a whole detector, baselines like those of its backbone."""
from typing import Dict

from mmasvit.complexity.measures.registry import COST_MEASURES, measure


@measure(higher_is_better=True, drawn=False, registry=COST_MEASURES)
def detector_params(costs: Dict[str, float]) -> float:
    """Parameters of the detector that is built around the topology."""
    return costs['detector_params']


@measure(higher_is_better=True, drawn=False, registry=COST_MEASURES)
def detector_macs(costs: Dict[str, float]) -> float:
    """Multiply-accumulates of that detector for one image, all proposals included."""
    return costs['detector_macs']
