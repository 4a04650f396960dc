"""As-ViT-Large on ImageNet-1k with fewer tokens first: the 56.2 % row of table 6.

    bash tools/dist_train.sh configs/asvit_large_in1k_elastic56.py 8

Epochs 1 to 120 have a sixteenth of the tokens, epochs 121 to 210 a quarter, those from
211 on all of them. Expected: 61.5 % of the multiply-accumulates saved (ours, from
``tools/plan_tokens.py configs/asvit_large_in1k_elastic56.py``; the paper prints 56.2 %)
and 82.5 % top-1 instead of 83.5 % (the paper's, in 25.2 TPU days instead of 42.8; not
reproduced here).
"""
_base_ = './asvit_large_in1k.py'

model = dict(backbone=dict(resample_outputs=False))  # one map, and it is pooled
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ElasticTokenHook', milestones=[(0, 16), (120, 8), (210, 4)], img_size=224),
]
