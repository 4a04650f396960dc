from mmasvit.engine import hooks, optimizers

__all__ = ['hooks', 'optimizers']
