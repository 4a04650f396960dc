"""Searching and growing topologies without training (sections 3.3 and 3.4 of the paper).

Small modules around plain functions; the Runner's part is in ``mmasvit.engine.loops``.
"""
from mmasvit.search.policy import TopologyPolicy
from mmasvit.search.reward import MovingAverage, RelativeReward, scores
from mmasvit.search.space import Constraint, Space
from mmasvit.measuring.evaluator import Evaluator, MeasurementFile

__all__ = [
    'Constraint', 'Evaluator', 'MeasurementFile', 'MovingAverage', 'RelativeReward',
    'Space', 'TopologyPolicy', 'scores',
]
