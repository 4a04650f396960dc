"""Cascade Mask R-CNN with As-ViT-Large on COCO 2017, with fewer tokens first.

    bash tools/dist_train.sh configs/asvit_large_in1k_elastic37.py 8    # the backbone first
    bash tools/dist_train.sh configs/cascade_asvit_large_coco_elastic.py 8

The schedule of section 4 carried over to detection, which the paper did not try: the
proportions of table 6's middle row on 36 epochs. The backbone's maps are resampled, so
that neck and heads see the strides they are made for. As in section 5.3 of the paper,
the backbone starts from the classifier that was itself trained with fewer tokens.

Expected: 41.9 % of the backbone's multiply-accumulates saved (ours, from
``tools/plan_tokens.py configs/cascade_asvit_large_coco_elastic.py``); neck and heads cost
the same at any stride. No AP is known.
"""
_base_ = './cascade_asvit_large_coco.py'

model = dict(backbone=dict(init_cfg=dict(
    checkpoint='work_dirs/asvit_large_in1k_elastic37/epoch_300.pth')))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ElasticTokenHook', milestones=[(0, 16), (10, 8), (17, 4)], img_size=1024),
]
