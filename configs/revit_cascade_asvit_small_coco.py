"""Cascade Mask R-CNN with As-ViT-Small on COCO for three numbers of tokens in one model.

    bash tools/dist_train.sh configs/revit_asvit_small_in1k.py 8     # the backbone first
    bash tools/dist_train.sh configs/revit_cascade_asvit_small_coco.py 8

The classifier that it starts from has norms for the same strides. A step trains at the
finest stride and one of the others, drawn anew: heads and neck cost the same at every
stride, and are most of a detector. No AP is known yet.
"""
_base_ = './cascade_asvit_small_coco.py'

_plain = _base_.model
_plain.backbone.init_cfg = dict(
    type='Pretrained', prefix='model.backbone.',
    checkpoint='work_dirs/revit_asvit_small_in1k/epoch_300.pth')
model = dict(
    _delete_=True, type='ReViT', model=_plain, token_strides=(16, 8, 4),
    strides_per_step=1, distill=dict(weight=0.5, temperature=1.))
