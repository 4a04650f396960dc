"""A supernet of all As-ViTs of Table 1, BatchNorms alone trained, on ImageNet-1k.

    bash tools/dist_train.sh configs/supernet_asvit_in1k.py 8

10 epochs, where a supernet as usual takes 100 ("BN-NAS"): batch 512, SGD with learning
rate 0.25 falling linearly to 5e-4, gradients clipped at 5 by value, no weight decay.
Expects ImageNet-1k in ``data/imagenet/train/<class>/``. No result is known yet.
"""
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

max_epochs = 10
model = dict(
    type='ImageClassifier',
    backbone=dict(type='AsViTSupernet', bn_scope='all'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='Frozen', part=dict(
        type='LinearClsHead', num_classes=1000, in_channels=256,
        init_cfg=dict(type='Normal', layer='Linear', std=256**-0.5))))
find_unused_parameters = True  # a step uses one path

train_dataloader = dict(batch_size=64, persistent_workers=False,
                        worker_init_fn=dict(type='seed_worker'))
# a supernet is no classifier to be judged by its accuracy
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
train_cfg = dict(by_epoch=True, max_epochs=max_epochs)
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.25, momentum=0.9, weight_decay=0.),
    clip_grad=dict(type='value', clip_value=5.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1., end_factor=0.002, by_epoch=True, begin=0,
         end=max_epochs, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
auto_scale_lr = dict(enable=True, base_batch_size=512)
randomness = dict(seed=0)
