"""Where OpenMMLab finds our parts, whichever of its packages are installed."""
import logging
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Dict

from mmengine.logging import print_log
from mmengine.registry import MODELS

from mmasvit.adaptive import DVT, ReViT
from mmasvit.models import AsViT, MaskedAsViT, SearchedMobileNet
from mmasvit.supernets import AsViTSupernet, MobileNetSupernet, frozen

# A scoped name such as 'mmdet.AsViT' is looked up in that scope's own registry and not
# in its parents, so each package that is installed gets an entry beside the root's.
SCOPES = ('mmdet', 'mmpretrain', 'mmseg', 'mmpose', 'mmrotate', 'mmdet3d', 'mmaction',
          'mmagic', 'mmocr', 'mmyolo')
PARTS = dict({part.__name__: part for part in (
    AsViT, AsViTSupernet, DVT, MaskedAsViT, MobileNetSupernet, ReViT,
    SearchedMobileNet)},
    Frozen=frozen)
_LAYER_DECAY = 'mmasvit.engine.optimizers.mmpretrain_layer_decay'


def register_all() -> None:
    """Enter our parts of models into the root's and every installed scope's ``MODELS``.

    mmpretrain's layer decay serves detectors from then on: as one more place to import
    from, so that its engine is loaded when it is asked for and not before.
    """
    installed = _registries()
    for registry in [MODELS] + [package.MODELS for package in installed.values()]:
        # importing twice, also under another module object, must stay harmless
        for name, part in PARTS.items():
            registry.register_module(name=name, module=part, force=True)
    if 'mmpretrain' in installed:
        places = installed['mmpretrain'].OPTIM_WRAPPER_CONSTRUCTORS._locations
        if _LAYER_DECAY not in places:
            places.append(_LAYER_DECAY)
        _name_models(import_module('mmpretrain.apis').ModelHub)


def _name_models(hub) -> None:
    """Let ``mmpretrain.get_model('as-vit-small')`` and ``list_models`` know the family.

    The files lie beside the package in a checkout and in it in an installed package.
    """
    package = Path(__file__).parent
    root = next((root for root in (package / '.mim', package.parent)
                 if (root / 'model-index.yml').is_file()), None)
    if root is not None and not hub.has('as-vit-small'):
        hub.register_model_index(root / 'model-index.yml', config_prefix=root)


def _registries() -> Dict[str, object]:
    """The ``registry`` module of every scope whose package can be imported.

    What a package misses or refuses (another version of mmcv, a compiled part) is told to
    who imports it, not to who imports us.
    """
    found = {}
    for scope in filter(find_spec, SCOPES):
        try:
            found[scope] = import_module(f'{scope}.registry')
        except Exception as error:  # many assert on versions
            print_log(f'mmasvit: no models are registered with {scope}, which cannot be '
                      f'imported: {error}', logger='current', level=logging.DEBUG)
    return found
