"""mmpretrain's layer decay for models that are no classifiers.

Imported when mmpretrain's registry is first asked for a constructor
(:mod:`mmasvit.registration`); until then nobody pays for the import of its engine.
"""
from typing import Callable, List, Optional

from mmpretrain.engine import LearningRateDecayOptimWrapperConstructor
from mmpretrain.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from mmasvit.engine.optimizers.layer_decay import layer_depth_of


@OPTIM_WRAPPER_CONSTRUCTORS.register_module(
    name='LearningRateDecayOptimWrapperConstructor', force=True)
class AnyModelLearningRateDecay(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's, which asks the whole model and refuses detectors."""

    def add_params(self, params: List[dict], module: nn.Module, prefix: str = '',
                   get_layer_depth: Optional[Callable] = None, **kwargs) -> None:
        """Add a group per parameter, asking the backbone where the model is silent."""
        if get_layer_depth is None and not hasattr(module, 'get_layer_depth'):
            get_layer_depth = layer_depth_of(module)
        super().add_params(params, module, prefix, get_layer_depth, **kwargs)
