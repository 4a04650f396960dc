"""A supernet of all As-ViTs of Table 1, BatchNorms alone trained, on Imagenette at 64 px.

    python tools/train.py configs/supernet_asvit_imagenette.py

The first step of a search by BatchNorm: ``search_topology_bn.py`` is the second. A
supernet is no classifier to be judged by its accuracy, so nothing is validated.

The photographs lie in ``<data_root>/train/<class>/``, at 160 px. Where they lie
elsewhere, ``--cfg-options`` takes ``train_dataloader.dataset.data_root=...``.
"""
_base_ = ['mmpretrain::_base_/default_runtime.py']
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

data_root = '../shared/data/imagenette160'
image_size = 64
max_epochs = 10
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=10, mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(type='AsViTSupernet', pretrain_img_size=image_size, bn_scope='all'),
    neck=dict(type='GlobalAveragePooling'),
    # BN-NAS trains no classifier either; this one begins with logits of unit size
    head=dict(type='Frozen', part=dict(
        type='LinearClsHead', num_classes=10, in_channels=256,
        init_cfg=dict(type='Normal', layer='Linear', std=256**-0.5))))
find_unused_parameters = True  # a step uses one path

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size, crop_ratio_range=(0.35, 1.)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=128, num_workers=1, drop_last=True, persistent_workers=False,
    worker_init_fn=dict(type='mmengine.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train',
                 pipeline=train_pipeline))

train_cfg = dict(by_epoch=True, max_epochs=max_epochs)
# BN-NAS's code has 0.25 at a batch of 512, for 25,000 steps and not 740
optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=0.),
    clip_grad=dict(type='value', clip_value=5.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1., end_factor=0.002, by_epoch=True, begin=0,
         end=max_epochs, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(logger=dict(interval=20),
                     checkpoint=dict(interval=max_epochs, max_keep_ckpts=1))
randomness = dict(seed=0)
