"""As-ViT-Small on ImageNet-1k as a cascade: 14 x 14, then 28 x 28, then 56 x 56 tokens.

    bash tools/dist_train.sh configs/dvt_asvit_small_in1k.py 8

Three networks of their own, each of which reuses features and attention of the one
before it: see docs/adaptive.md. Then tools/calibrate_exits.py finds the thresholds at
which images leave. No accuracy is known yet.

Attention that reuses keeps its logits: at 56 x 56 tokens they are most of the memory, so
blocks are computed again in the backward pass.
"""
_base_ = './asvit_small_in1k.py'

_plain = _base_.model
_plain.backbone.update(resample_outputs=False,  # a classifier pools its map
                       with_cp=True)
model = dict(
    _delete_=True, type='DVT',
    exits=[dict(token_stride=16), dict(token_stride=8), dict(token_stride=4)],
    reuse=dict(feature_source='last', relations=True, detach_reuse=False),
    backbone=_plain.backbone, neck=_plain.neck, head=_plain.head,
    train_cfg=_plain.train_cfg)
