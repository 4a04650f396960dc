from mmasvit.models import reference
from mmasvit.models.as_vit import AsViT

__all__ = ['AsViT', 'reference']
