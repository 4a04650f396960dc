"""A small ReViT on Imagenette's photographs at 128 px, ten classes, on CPU cores.

    python tools/train.py configs/revit_asvit_imagenette.py

The photographs lie in ``<data_root>/train/<class>/`` and ``<data_root>/val/<class>/``, at
160 px. Where they lie elsewhere, ``--cfg-options`` takes
``train_dataloader.dataset.data_root=...``, and the same of the val_dataloader and the
test_dataloader; ``data_root=...`` does not reach them.
"""
_base_ = ['mmpretrain::_base_/default_runtime.py']
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

data_root = '../shared/data/imagenette160'
max_epochs = 40
model = dict(
    type='ReViT', token_strides=(16, 8, 4), strides_per_step='all',
    distill=dict(weight=0.5, temperature=1.),
    model=dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=10, mean=[123.675, 116.28, 103.53],
                               std=[58.395, 57.12, 57.375], to_rgb=True),
        backbone=dict(
            type='AsViT', arch='8,4,3,1|4,2,3,1|4,1,4,1|4,1,4,1|16,32',
            out_indices=(3, ), pretrain_img_size=128, resample_outputs=False,
            use_abs_pos_embed=False,
            # as in asvit_tiny_shapes.py: narrow blocks learn sooner
            init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='VisionTransformerClsHead', num_classes=10, in_channels=256,
                  hidden_dim=256,
                  init_cfg=dict(type='TruncNormal', layer='Linear', std=.02))))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=128, crop_ratio_range=(0.35, 1.)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=144, edge='short'),
    dict(type='CenterCrop', crop_size=128),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=32, num_workers=1, drop_last=True, persistent_workers=False,
    worker_init_fn=dict(type='mmengine.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train',
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=64, num_workers=1, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='val',
                 pipeline=test_pipeline))
val_evaluator = dict(type='Accuracy', topk=(1, ))
test_dataloader = val_dataloader
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=10)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(logger=dict(interval=20),
                     checkpoint=dict(interval=10, max_keep_ckpts=2))
randomness = dict(seed=0)
