from mmasvit.engine.optimizers.bf16 import Bf16OptimWrapper

__all__ = ['Bf16OptimWrapper']
