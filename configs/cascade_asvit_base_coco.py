"""Cascade Mask R-CNN with As-ViT-Base on COCO 2017 at 1024 x 1024 px (section 5.3).

    bash tools/dist_train.sh configs/asvit_base_in1k.py 8           # the backbone first
    bash tools/dist_train.sh configs/cascade_asvit_base_coco.py 8

Expected: 104.11 M parameters, 182.7 G multiply-accumulates in the backbone (ours, from
``tools/get_flops.py configs/cascade_asvit_base_coco.py``). The size is in the paper (table
4), a detector of that size is not: no AP to compare with.
"""
_base_ = './_base_/cascade_asvit_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained', prefix='backbone.',
            checkpoint='work_dirs/asvit_base_in1k/epoch_300.pth')),
    neck=dict(in_channels=[116, 232, 464, 928]))
