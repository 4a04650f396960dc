"""Cascade Mask R-CNN with As-ViT-Small on COCO 2017 at 1024 x 1024 px (section 5.3).

    bash tools/dist_train.sh configs/asvit_small_in1k.py 8           # the backbone first
    bash tools/dist_train.sh configs/cascade_asvit_small_coco.py 8

Expected: 81.02 M parameters, 107.1 G multiply-accumulates in the backbone (ours, from
``tools/get_flops.py configs/cascade_asvit_small_coco.py``). The size is in the paper (table
4), a detector of that size is not: no AP to compare with.
"""
_base_ = './_base_/cascade_asvit_coco.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', prefix='backbone.',
            checkpoint='work_dirs/asvit_small_in1k/epoch_300.pth')),
    neck=dict(in_channels=[88, 176, 352, 704]))
