from mmasvit.engine.optimizers.bf16 import Bf16OptimWrapper, bf16_context, use_bf16
from mmasvit.engine.optimizers.layer_decay import LayerDecayOptimWrapperConstructor

__all__ = ['Bf16OptimWrapper', 'LayerDecayOptimWrapperConstructor', 'bf16_context',
           'use_bf16']
