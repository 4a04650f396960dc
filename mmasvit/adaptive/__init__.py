from mmasvit.adaptive.revit import ReViT

__all__ = ['ReViT']
