"""As-ViT for OpenMMLab: backbone, elastic tokens, training-free search and scaling.

Importing this package registers everything it brings; a config does so with
``custom_imports = dict(imports=['mmasvit'])``.
"""
from mmasvit import adaptive, complexity, datasets, engine, latency, models, supernets
from mmasvit.engine.hooks import ElasticTokenHook
from mmasvit.mobile_topology import MobileTopology
from mmasvit.models import AsViT
from mmasvit.registration import register_all
from mmasvit.topology import Topology
from mmasvit.version import __version__

register_all()

__all__ = ['AsViT', 'ElasticTokenHook', 'MobileTopology', 'Topology', 'adaptive',
           'complexity', 'datasets', 'engine', 'latency', 'models', 'supernets', '__version__']
