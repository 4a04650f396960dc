"""Data sets; the generated ones are imported by name, since they need ``shapely``."""
from mmasvit.datasets.npz import NpzDataset
from mmasvit.datasets.probe_images import ProbeImages

__all__ = ['NpzDataset', 'ProbeImages']
