"""Growing a topology to every size without training (section 3.4 of the paper, algorithm 2).

Small modules around plain functions; the Runner's part is in ``mmasvit.engine.loops``.
"""
from mmasvit.scaling.family import Member, Target
from mmasvit.scaling.growth import GrowthRule, Scaling
from mmasvit.scaling.seed import SeedTopology

__all__ = ['GrowthRule', 'Member', 'Scaling', 'SeedTopology', 'Target']
