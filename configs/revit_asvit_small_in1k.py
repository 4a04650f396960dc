"""As-ViT-Small on ImageNet-1k for 14 x 14, 28 x 28 and 56 x 56 tokens in one model.

    bash tools/dist_train.sh configs/revit_asvit_small_in1k.py 8

A step trains at all three strides, the coarser two also on what the finest computes: see
docs/adaptive.md. No accuracy is known yet.
"""
_base_ = './asvit_small_in1k.py'

_plain = _base_.model
_plain.backbone.resample_outputs = False  # a classifier pools its map
model = dict(
    _delete_=True, type='ReViT', model=_plain, token_strides=(16, 8, 4),
    strides_per_step='all', distill=dict(weight=0.5, temperature=1.))
