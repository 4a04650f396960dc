"""Cascade Mask R-CNN with As-ViT-Large on COCO 2017 at 1024 x 1024 px (section 5.3).

    bash tools/dist_train.sh configs/asvit_large_in1k.py 8           # the backbone first
    bash tools/dist_train.sh configs/cascade_asvit_large_coco.py 8

Expected: 139.49 M parameters, 466.8 G multiply-accumulates in the backbone (ours, from
``tools/get_flops.py configs/cascade_asvit_large_coco.py``); table 8 of the paper prints 138.8
M, box AP 52.7 and mask AP 45.2. The APs are the paper's: not reproduced here, and no trained
weights are published.
"""
_base_ = './_base_/cascade_asvit_coco.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained', prefix='backbone.',
            checkpoint='work_dirs/asvit_large_in1k/epoch_300.pth')),
    neck=dict(in_channels=[180, 360, 720, 1024]))
