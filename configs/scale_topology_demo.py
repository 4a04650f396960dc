"""A small auto-scaling: 64 px, two initialisations, minutes on two CPU cores.

    bash tools/dist_scale.sh configs/scale_topology_demo.py 2

The paper's scaling (``scale_topology_imagenet.py``) with less of everything, to 30 M
parameters; it shows what the tool does and leaves, and reproduces nothing of the paper.
"""
_base_ = './scale_topology_imagenet.py'

train_cfg = dict(
    targets=dict(params=[8e6, 12e6, 20e6]),
    stop=dict(params=30e6),
    constraint=dict(params=35e6),
    setting=dict(image_size=64, repeats=2))
