"""The supernet of BN-NAS's MobileNet space, BatchNorms alone trained, on Imagenette.

    python tools/train.py configs/supernet_mobilenet_imagenette.py

As ``supernet_mobilenet_in1k.py``, with the data and the schedule of
``supernet_asvit_imagenette.py``, at 64 px.
"""
_base_ = './supernet_asvit_imagenette.py'

model = dict(
    backbone=dict(
        _delete_=True, type='MobileNetSupernet', bn_scope='last',
        space={f'layer{i}': [-1] if i in (2, 6, 7, 10) else [0, 1, 2, 3, 4, 5]
               for i in range(1, 22)}),
    head=dict(part=dict(in_channels=1728, init_cfg=dict(std=1728**-0.5))))
