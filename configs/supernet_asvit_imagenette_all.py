"""The supernet of ``supernet_asvit_imagenette.py`` with all its weights trained.

    python tools/train.py configs/supernet_asvit_imagenette_all.py

For comparison: what a search by BatchNorm saves, and what it loses. As many steps; AdamW,
which transformers want, and the classifier trains too.
"""
_base_ = './supernet_asvit_imagenette.py'

model = dict(
    backbone=dict(bn_scope=None),
    head=dict(_delete_=True, type='LinearClsHead', num_classes=10, in_channels=256))
optim_wrapper = dict(
    _delete_=True,
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))
