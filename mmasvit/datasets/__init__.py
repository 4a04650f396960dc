"""Data sets that configs name."""
from mmasvit.datasets.npz import NpzDataset
from mmasvit.datasets.probe_images import ProbeImages

__all__ = ['NpzDataset', 'ProbeImages']
