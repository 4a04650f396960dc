"""Search by BatchNorm, BN-NAS's way: no data, no pass through a network.

    python tools/train.py configs/supernet_asvit_imagenette.py
    python tools/search_topology.py configs/search_topology_bn.py

Regularised evolution over the As-ViTs of Table 1 under a limit of multiply-accumulates; a
topology's score is the sum of mean ``|gamma|`` over the layers of its path in the trained
supernet. ``search_topology_bn_composite.py`` scores by three other terms.
"""
_base_ = './search_topology_imagenet.py'

train_cfg = dict(
    max_iters=1000, strategy='evolution',
    evolution=dict(population=50, tournament=10),
    setting=dict(image_size=64, repeats=1),
    measure=dict(
        type='SupernetMeasures', config='configs/supernet_asvit_imagenette.py',
        checkpoint='work_dirs/supernet_asvit_imagenette/epoch_10.pth'),
    objective=dict(_delete_=True, bn_gamma=1),
    constraint=dict(macs=0.5e9))
