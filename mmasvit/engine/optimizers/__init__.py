from mmasvit.engine.optimizers.bf16 import Bf16OptimWrapper
from mmasvit.engine.optimizers.layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['Bf16OptimWrapper', 'LayerDecayOptimWrapperConstructor']
