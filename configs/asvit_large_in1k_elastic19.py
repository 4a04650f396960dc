"""As-ViT-Large on ImageNet-1k with fewer tokens first: the 18.7 % row of table 6.

    bash tools/dist_train.sh configs/asvit_large_in1k_elastic19.py 8

Epochs 1 to 40 have a sixteenth of the tokens, epochs 41 to 70 a quarter, those from
71 on all of them. Expected: 20.5 % of the multiply-accumulates saved (ours, from
``tools/plan_tokens.py configs/asvit_large_in1k_elastic19.py``; the paper prints 18.7 %)
and 83.1 % top-1 instead of 83.5 % (the paper's, in 36.9 TPU days instead of 42.8; not
reproduced here).
"""
_base_ = './asvit_large_in1k.py'

model = dict(backbone=dict(resample_outputs=False))  # one map, and it is pooled
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ElasticTokenHook', milestones=[(0, 16), (40, 8), (70, 4)], img_size=224),
]
