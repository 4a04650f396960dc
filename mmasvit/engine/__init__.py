from mmasvit.engine import hooks, loops, optimizers

__all__ = ['hooks', 'loops', 'optimizers']
