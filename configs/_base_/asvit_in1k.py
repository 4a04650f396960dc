"""What the As-ViT classifiers share: section 5.2 and appendix A of the paper.

300 epochs at 224 px, batch 1024, AdamW with learning rate 1e-3 and weight decay 0.05, 20
epochs of linear warm-up, cosine decay, Mixup, CutMix, RandAugment, stochastic depth and
an exponential moving average. The paper gives neither the rates of stochastic depth nor
the strength of the augmentations; those of Swin at like size are used.

Expects ImageNet-1k in ``data/imagenet/{train,val}/<class>/``.
"""
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    'mmpretrain::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

model = dict(
    type='ImageClassifier',
    backbone=dict(type='AsViT', out_indices=(3, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=1000,
        # the head's own default zeroes the last layer: no gradient at the first step
        init_cfg=dict(type='TruncNormal', layer='Linear', std=.02),
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')),
    train_cfg=dict(augments=[
        dict(type='Mixup', alpha=0.8),
        dict(type='CutMix', alpha=1.0),
    ]))

optim_wrapper = dict(
    type='Bf16OptimWrapper',
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(custom_keys={'.pos_embed': dict(decay_mult=0.0)}))

# epochs that do not depend on the ones before make a resumed run equal an unbroken one
train_dataloader = dict(persistent_workers=False,
                        worker_init_fn=dict(type='seed_worker'))
custom_hooks = [
    dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL'),
    dict(type='EpochSeedHook'),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
auto_scale_lr = dict(enable=True, base_batch_size=1024)
