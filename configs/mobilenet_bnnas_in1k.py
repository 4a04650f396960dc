"""The architecture that BN-NAS publishes, on ImageNet-1k at 224 px.

    bash tools/dist_train.sh configs/mobilenet_bnnas_in1k.py 8

5.23 M parameters, 0.47 G multiply-accumulates; published: 75.5 % top-1. No accuracy of
this config is known yet.
"""
_base_ = './_base_/mobilenet_in1k.py'

model = dict(backbone=dict(arch='[3,-1,0,4,0,-1,-1,0,4,-1,4,4,1,4,2,0,0,4,0,2,2]'),
             head=dict(in_channels=1728))
