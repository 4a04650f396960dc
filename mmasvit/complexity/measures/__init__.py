"""Measures by name: each is a file here with one function behind :func:`measure`.

A measure takes a :class:`~mmasvit.complexity.untrained.UntrainedNetwork` and gives a number. Every
module of this package is imported, so adding a file adds the measure.
"""
import pkgutil
from importlib import import_module

from mmasvit.complexity.measures.registry import MEASURES, Measure, measure

for _module in pkgutil.iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = ['MEASURES', 'Measure', 'measure']
