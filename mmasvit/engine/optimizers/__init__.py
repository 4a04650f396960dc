from mmasvit.engine.optimizers.bf16 import Bf16OptimWrapper, use_bf16
from mmasvit.engine.optimizers.layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['Bf16OptimWrapper', 'LayerDecayOptimWrapperConstructor', 'use_bf16']
