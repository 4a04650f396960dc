"""Measuring many topologies: shared over processes, kept on disk, never done twice.

Search, scaling and study are replayed from what is kept here; it is all their state.
"""
from mmasvit.measuring.evaluator import Evaluator, build_evaluator
from mmasvit.measuring.ledger import Ledger
from mmasvit.measuring.objective import Objective, Values

__all__ = ['Evaluator', 'Ledger', 'Objective', 'Values', 'build_evaluator']
