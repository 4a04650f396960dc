"""Cascade Mask R-CNN on COCO with the architecture that BN-NAS publishes.

    bash tools/dist_train.sh configs/mobilenet_bnnas_in1k.py 8    # the backbone first
    bash tools/dist_train.sh configs/cascade_mobilenet_bnnas_coco.py 8
"""
_base_ = './_base_/cascade_mobilenet_coco.py'

model = dict(
    backbone=dict(
        arch='[3,-1,0,4,0,-1,-1,0,4,-1,4,4,1,4,2,0,0,4,0,2,2]',
        init_cfg=dict(type='Pretrained', prefix='backbone.',
                      checkpoint='work_dirs/mobilenet_bnnas_in1k/epoch_240.pth')),
    neck=dict(in_channels=[32, 56, 128, 432]))
