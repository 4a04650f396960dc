"""Networks that hold every candidate of every layer, for searches by BatchNorm."""
from mmasvit.supernets.as_vit import AsViTSupernet
from mmasvit.supernets.frozen import frozen
from mmasvit.supernets.measures import SupernetMeasures
from mmasvit.supernets.mobilenet import MobileNetSupernet
from mmasvit.supernets.supernet import Supernet

__all__ = ['AsViTSupernet', 'MobileNetSupernet', 'Supernet', 'SupernetMeasures', 'frozen']
