"""As-ViT-Base on ImageNet-1k at 224 px (tables 4 and 5 of the paper).

    bash tools/dist_train.sh configs/asvit_base_in1k.py 8

Expected: 52.62 M parameters and 8.75 G multiply-accumulates (ours, from
``tools/get_flops.py configs/asvit_base_in1k.py``; the paper prints 52.6 M and 8.9 G) and
82.5 % top-1 (the paper's; not reproduced here, no trained weights are published).
"""
_base_ = './_base_/asvit_in1k.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.3),
    head=dict(in_channels=928, hidden_dim=928))
