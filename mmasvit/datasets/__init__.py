"""Data sets; the generated ones are imported by name, since they need ``shapely``."""
from mmasvit.datasets.npz import NpzDataset

__all__ = ['NpzDataset']
