"""Which training-free measure ranks topologies as their accuracies do? On a CIFAR-10 subset.

    python tools/complexity_study.py configs/complexity_study_cifar.py --work-dir D

The study of figure 2 and table 2 of the paper at a size that two CPU cores can do:
random topologies of Table 1 with C = 32 and one block a stage, 64 px, trained from
scratch for 10 epochs on 5,085 images. It says something about this budget and not about
ImageNet; docs/complexity.md has what came out.

Data: an ``.npz`` with ``train_images`` (n, 32, 32, 3) uint8 RGB, ``train_labels``,
``test_images`` and ``test_labels``, at ``data/cifar10_subset.npz``; elsewhere with
``--cfg-options train_dataloader.dataset.ann_file=PATH val_dataloader.dataset.ann_file=PATH``.
"""
_base_ = ['mmpretrain::_base_/default_runtime.py']
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

data = 'data/cifar10_subset.npz'
image_size = 64
max_epochs = 10
setting = dict(image_size=image_size, repeats=5)
study = dict(num_topologies=40, images='dataset',
             settings=[dict(protocol='released', **setting),
                       dict(protocol='paper', **setting)])

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=10, mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], to_rgb=False),
    # the study puts its topologies in place of this one
    backbone=dict(type='AsViT', arch='seed', out_indices=(3, ),
                  pretrain_img_size=image_size, drop_path_rate=0.),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=256,
              hidden_dim=256,
              init_cfg=dict(type='TruncNormal', layer='Linear', std=.02)))

dataset = dict(type='NpzDataset', ann_file=data)
train_pipeline = [
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomCrop', crop_size=32, padding=4, padding_mode='reflect'),
    dict(type='Resize', scale=image_size),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='Resize', scale=image_size), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=64, num_workers=0, drop_last=True, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(split='train', pipeline=train_pipeline, **dataset))
val_dataloader = dict(
    batch_size=128, num_workers=0, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(split='test', pipeline=test_pipeline, test_mode=True, **dataset))
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_dataloader = val_dataloader
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.,
                       custom_keys={'.pos_embed': dict(decay_mult=0.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=80),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(logger=dict(interval=20),
                     checkpoint=dict(interval=1, max_keep_ckpts=2))
randomness = dict(seed=0)
