"""What classifiers of BN-NAS's MobileNet space share.

Their recipe is that of "Single Path One-Shot", which BN-NAS trains with too: 240 epochs
at 224 px, batch 1024, SGD with learning rate 0.5 falling linearly to 0, weight decay 4e-5
but not on norms and biases, label smoothing.

Expects ImageNet-1k in ``data/imagenet/{train,val}/<class>/``.
"""
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

model = dict(
    type='ImageClassifier',
    backbone=dict(type='SearchedMobileNet', out_indices=(6, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=1000,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')))

max_epochs = 240
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=4e-5, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1., end_factor=1e-4, by_epoch=True, begin=0,
         end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()

# epochs that do not depend on the ones before make a resumed run equal an unbroken one
train_dataloader = dict(batch_size=128, persistent_workers=False,
                        worker_init_fn=dict(type='seed_worker'))
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
auto_scale_lr = dict(enable=True, base_batch_size=1024)
