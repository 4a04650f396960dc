"""From a model to a file that runs without any of this: ONNX."""
from mmasvit.export.models import exportable
from mmasvit.export.write import compare, write_onnx

__all__ = ['compare', 'exportable', 'write_onnx']
