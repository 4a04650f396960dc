from mmasvit.models.as_vit import AsViT

__all__ = ['AsViT']
