"""A Swin of the tiny As-ViT's cost in the same Cascade Mask R-CNN, to compare with.

    bash tools/dist_train.sh configs/cascade_swin_tiny.py 2
    python tools/new_config.py FOLDER --out swin.py --base configs/cascade_swin_tiny.py

Windows of 8 x 8 tokens, as 32 px of the image in the first stage. From random weights.
"""
_base_ = './_base_/cascade_tiny.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer', embed_dims=24, depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8), window_size=8, drop_path_rate=0.),
    neck=dict(in_channels=[24, 48, 96, 192]))
