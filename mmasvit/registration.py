"""Where OpenMMLab finds our parts, whichever of its packages are installed."""
from importlib import import_module
from importlib.util import find_spec

from mmengine.registry import MODELS

from mmasvit.adaptive import DVT, ReViT
from mmasvit.models import AsViT

# A scoped name such as 'mmdet.AsViT' is looked up in that scope's own registry and not
# in its parents, so each package that is installed gets an entry beside the root's.
SCOPES = ('mmdet', 'mmpretrain')
_LAYER_DECAY = 'mmasvit.engine.optimizers.mmpretrain_layer_decay'


def register_all() -> None:
    """Enter backbone, ReViT and DVT into the root's and all installed scopes' ``MODELS``.

    mmpretrain's layer decay serves detectors from then on: as one more place to import
    from, so that its engine is loaded when it is asked for and not before.
    """
    installed = {scope: import_module(f'{scope}.registry')
                 for scope in SCOPES if find_spec(scope)}
    for registry in [MODELS] + [package.MODELS for package in installed.values()]:
        # importing twice, also under another module object, must stay harmless
        for part in (AsViT, DVT, ReViT):
            registry.register_module(name=part.__name__, module=part, force=True)
    if 'mmpretrain' in installed:
        places = installed['mmpretrain'].OPTIM_WRAPPER_CONSTRUCTORS._locations
        if _LAYER_DECAY not in places:
            places.append(_LAYER_DECAY)
