"""A narrow ResNet-18 of the tiny As-ViT's cost in the same Cascade Mask R-CNN.

    bash tools/dist_train.sh configs/cascade_resnet18_tiny.py 2
    python tools/new_config.py FOLDER --out resnet.py --base configs/cascade_resnet18_tiny.py

Group norm, as batches of a few crops want it. From random weights.
"""
_base_ = './_base_/cascade_tiny.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet', depth=18, base_channels=24, stem_channels=24,
        norm_cfg=dict(type='GN', num_groups=8), norm_eval=False),
    neck=dict(in_channels=[24, 48, 96, 192]))
