"""Expressivity from BatchNorms: our substitute, not the formula of BNNAS++."""
from math import log

from mmasvit.complexity.measures.registry import PATH_MEASURES, measure
from mmasvit.complexity.supernet_path import SupernetPath

EPSILON = 1e-6  # a gamma of zero is bad, and not infinitely so


@measure(higher_is_better=True, drawn=False, registry=PATH_MEASURES)
def bn_expressivity(path: SupernetPath) -> float:
    """Sum over the layers of ``log(mean |gamma|)``: how much the path scales its input.

    "Training BatchNorm Only in Neural Architecture Search and Beyond" names this term;
    its formula is not known here, and this one is ours. A layer without a BatchNorm
    counts nothing: the measure is for spaces where every operator has one.
    """
    return sum(log(EPSILON + gamma) for gamma in path.gammas)
