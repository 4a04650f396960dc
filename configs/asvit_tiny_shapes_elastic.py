"""The demo's classifier with fewer tokens first.

    python tools/make_shapes_coco.py data/shapes --images 6000 --crops 64
    bash tools/dist_train.sh configs/asvit_tiny_shapes_elastic.py 2

The proportions of table 6's middle row on 8 epochs.
"""
_base_ = './asvit_tiny_shapes.py'

model = dict(backbone=dict(resample_outputs=False))  # one map, and it is pooled
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ElasticTokenHook', milestones=[(0, 16), (2.13, 8), (3.73, 4)], img_size=64),
]
