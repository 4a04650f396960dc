"""Data sets and a sampler; generated sets are imported by name: they need ``shapely``."""
from mmasvit.datasets.npz import NpzDataset
from mmasvit.datasets.probe_images import ProbeImages
from mmasvit.datasets.stream import StreamSampler

__all__ = ['NpzDataset', 'ProbeImages', 'StreamSampler']
