from mmasvit.models import reference
from mmasvit.models.as_vit import AsViT
from mmasvit.models.masked import MaskedAsViT
from mmasvit.models.mobilenet import SearchedMobileNet

__all__ = ['AsViT', 'MaskedAsViT', 'SearchedMobileNet', 'reference']
