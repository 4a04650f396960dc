"""Where OpenMMLab finds our parts, whichever of its packages are installed."""
from importlib import import_module
from importlib.util import find_spec

from mmengine.registry import MODELS

from mmasvit.models import AsViT

# A scoped name such as 'mmdet.AsViT' is looked up in that scope's own registry and not
# in its parents, so each package that is installed gets an entry beside the root's.
SCOPES = ('mmdet', 'mmpretrain')


def register_all() -> None:
    """Enter the backbone into the root's and every installed scope's ``MODELS``."""
    registries = [MODELS] + [import_module(f'{scope}.registry').MODELS
                             for scope in SCOPES if find_spec(scope)]
    for registry in registries:
        # importing twice, also under another module object, must stay harmless
        registry.register_module(name='AsViT', module=AsViT, force=True)
