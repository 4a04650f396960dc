"""As-ViT-Large on ImageNet-1k at 224 px (tables 4 and 5 of the paper).

    bash tools/dist_train.sh configs/asvit_large_in1k.py 8

Expected: 88.15 M parameters and 22.36 G multiply-accumulates (ours, from
``tools/get_flops.py configs/asvit_large_in1k.py``; the paper prints 88.1 M and 22.6 G) and
83.5 % top-1 (the paper's; not reproduced here, no trained weights are published).
"""
_base_ = './_base_/asvit_in1k.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.5),
    head=dict(in_channels=1024, hidden_dim=1024))
