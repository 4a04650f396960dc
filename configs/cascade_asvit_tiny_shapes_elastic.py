"""The demo's detector with fewer tokens first.

    python tools/make_shapes_coco.py data/shapes --images 6000 --crops 64
    bash tools/dist_train.sh configs/asvit_tiny_shapes.py 2
    bash tools/dist_train.sh configs/cascade_asvit_tiny_shapes_elastic.py 2

The proportions of table 6's middle row on one epoch: milestones need not be whole.
"""
_base_ = './cascade_asvit_tiny_shapes.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ElasticTokenHook', milestones=[(0, 16), (0.27, 8), (0.47, 4)],
         img_size=256),
]
