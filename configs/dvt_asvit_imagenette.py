"""A small cascade on Imagenette's photographs at 128 px, ten classes, on CPU cores.

    python tools/train.py configs/dvt_asvit_imagenette.py
    python tools/calibrate_exits.py configs/dvt_asvit_imagenette.py CHECKPOINT \
        --budget 0.05 --out calibrated.pth

The same As-ViT, data and schedule as ``revit_asvit_imagenette.py``, whose docstring says
where the photographs must lie; here each token stride has a network of its own, which
reuses features and attention of the one before. Without one of them:
``--cfg-options model.reuse.feature_source=None`` or ``model.reuse.relations=False``.
"""
_base_ = './revit_asvit_imagenette.py'

_plain = _base_.model.model
model = dict(
    _delete_=True, type='DVT',
    exits=[dict(token_stride=16), dict(token_stride=8), dict(token_stride=4)],
    reuse=dict(feature_source='last', relations=True, detach_reuse=False),
    backbone=_plain.backbone, neck=_plain.neck, head=_plain.head,
    data_preprocessor=_plain.data_preprocessor)
