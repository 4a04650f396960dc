"""Search by BatchNorm in the MobileNet space of BN-NAS, under its limit of 475 M.

    python tools/train.py configs/supernet_mobilenet_imagenette.py
    python tools/search_topology.py configs/search_topology_bn_mobilenet.py

The same search as ``search_topology_bn.py`` in another space. Layers 2, 6, 7 and 10 are
identities, as in the architecture that BN-NAS publishes: an additive score always prefers
one layer more. For ImageNet-1k the supernet is ``supernet_mobilenet_in1k.py``.
"""
_base_ = './search_topology_bn.py'

model = dict(
    kind='mobilenet',
    space={f'layer{i}': [-1] if i in (2, 6, 7, 10) else [0, 1, 2, 3, 4, 5]
           for i in range(1, 22)})
train_cfg = dict(
    measure=dict(
        config='configs/supernet_mobilenet_imagenette.py',
        checkpoint='work_dirs/supernet_mobilenet_imagenette/epoch_10.pth'),
    constraint=dict(macs=475e6))
