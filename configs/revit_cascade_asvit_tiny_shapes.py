"""The demo's detector for three numbers of tokens in one model.

    python tools/make_shapes_coco.py data/shapes --images 6000 --crops 64
    bash tools/dist_train.sh configs/asvit_tiny_shapes.py 2
    bash tools/dist_train.sh configs/revit_cascade_asvit_tiny_shapes.py 2

It starts from the plain classifier of the demo, whose norms every stride gets.
"""
_base_ = './cascade_asvit_tiny_shapes.py'

_plain = _base_.model
model = dict(
    _delete_=True, type='ReViT', model=_plain, token_strides=(16, 8, 4),
    strides_per_step=1, distill=dict(weight=0.5, temperature=1.))
