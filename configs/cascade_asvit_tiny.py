"""A tiny As-ViT in Cascade Mask R-CNN, for a small set and two CPU cores.

    bash tools/dist_train.sh configs/cascade_asvit_tiny.py 2
    python tools/new_config.py FOLDER --out mine.py        # on your own images: builds on it

Trained from random weights; it reproduces nothing of the paper.
"""
_base_ = './_base_/cascade_tiny.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='AsViT', arch='8,4,3,1|4,2,3,1|4,1,4,1|4,1,4,1|16,32',
        pretrain_img_size=128, use_abs_pos_embed=False),
    neck=dict(in_channels=[32, 64, 128, 256]))
