"""Measures by name: each is a file here with one function behind :func:`measure`.

A measure takes a :class:`~mmasvit.complexity.untrained.UntrainedNetwork`, or a path of a
trained supernet, a :class:`~mmasvit.complexity.supernet_path.SupernetPath`, or what a
topology costs, a dict, and gives a number. Every module of this package is imported, so adding a file adds the measure.
"""
import pkgutil
from importlib import import_module

from mmasvit.complexity.measures.registry import (COST_MEASURES, MEASURES, PATH_MEASURES,
                                                  Measure, measure)

for _module in pkgutil.iter_modules(__path__):
    import_module(f'{__name__}.{_module.name}')

__all__ = ['COST_MEASURES', 'MEASURES', 'PATH_MEASURES', 'Measure', 'find_measure',
           'is_measure', 'measure']


def is_measure(name: str) -> bool:
    """Whether there is a measure of a name, of whichever kind."""
    return any(name in kind for kind in (MEASURES, PATH_MEASURES, COST_MEASURES))


def find_measure(name: str) -> Measure:
    """The measure of a name, of whichever kind.

    Raises:
        KeyError: If there is none.
    """
    return {**MEASURES, **PATH_MEASURES, **COST_MEASURES}[name]
