"""The supernet of BN-NAS: its MobileNet space, BatchNorms alone trained, ImageNet-1k.

    bash tools/dist_train.sh configs/supernet_mobilenet_in1k.py 8

As in its code: the last BatchNorm of every operator trains, and identities stand where
they stand in the architecture it publishes, since an additive score always prefers one
layer more. Schedule and data as in ``supernet_asvit_in1k.py``.
"""
_base_ = './supernet_asvit_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True, type='MobileNetSupernet', bn_scope='last',
        space={f'layer{i}': [-1] if i in (2, 6, 7, 10) else [0, 1, 2, 3, 4, 5]
               for i in range(1, 22)}),
    head=dict(part=dict(in_channels=1728, init_cfg=dict(std=1728**-0.5))))
