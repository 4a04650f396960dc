"""As-ViT-Small on ImageNet-1k at 224 px (tables 4 and 5 of the paper).

    bash tools/dist_train.sh configs/asvit_small_in1k.py 8

Expected: 29.05 M parameters and 5.13 G multiply-accumulates (ours, from
``tools/get_flops.py configs/asvit_small_in1k.py``; the paper prints 29.0 M and 5.3 G) and
81.2 % top-1 (the paper's; not reproduced here, no trained weights are published).
"""
_base_ = './_base_/asvit_in1k.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.2),
    head=dict(in_channels=704, hidden_dim=704))
