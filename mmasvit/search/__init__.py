"""Searching a topology without training (section 3.3 of the paper, algorithm 1).

Small modules around plain functions; the Runner's part is in ``mmasvit.engine.loops``.
"""
from mmasvit.search.history import Evaluation
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.reward import MovingAverage, RelativeReward, scores
from mmasvit.search.search import TopologySearch
from mmasvit.search.space import Space
from mmasvit.search.strategies import STRATEGIES, Strategy

__all__ = [
    'Evaluation', 'MovingAverage', 'RelativeReward', 'STRATEGIES', 'Space', 'Strategy',
    'TopologyPolicy', 'TopologySearch', 'scores',
]
