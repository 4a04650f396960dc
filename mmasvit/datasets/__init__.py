"""Data sets that configs name, and a sampler."""
from mmasvit.datasets.npz import NpzDataset
from mmasvit.datasets.probe_images import ProbeImages
from mmasvit.datasets.stream import StreamSampler
from mmasvit.datasets.token_lengths import TokenLengths

__all__ = ['NpzDataset', 'ProbeImages', 'StreamSampler', 'TokenLengths']
