"""Masked pre-training (SimMIM) of a small As-ViT on Imagenette's photographs at 128 px.

    python tools/train.py configs/simmim_asvit_imagenette.py

It takes no label: any folder of images will do, such as those of a detector to be trained
later. What it has learnt goes into a classifier, or into a detector of the same arch, by

    --cfg-options model.backbone.init_cfg.type=Pretrained \
        model.backbone.init_cfg.prefix=backbone. \
        model.backbone.init_cfg.checkpoint=work_dirs/simmim_asvit_imagenette/epoch_40.pth

for example of ``asvit_imagenette.py``, which has this backbone. Where the photographs lie
elsewhere, ``--cfg-options`` takes ``train_dataloader.dataset.data_root=...``.
"""
_base_ = ['mmpretrain::_base_/default_runtime.py']
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

image_size = 128
max_epochs = 40
model = dict(
    type='SimMIM',
    data_preprocessor=dict(
        type='SelfSupDataPreprocessor', mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='MaskedAsViT', arch='8,4,3,1|4,2,3,1|4,1,4,1|4,1,4,1|16,32',
        out_indices=(3, ), pretrain_img_size=image_size,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),
    neck=dict(type='SimMIMLinearDecoder', in_channels=256, encoder_stride=32),
    head=dict(type='SimMIMHead', patch_size=4,
              loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)))

train_dataloader = dict(
    batch_size=64, num_workers=1, drop_last=True, persistent_workers=False,
    worker_init_fn=dict(type='mmengine.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='CustomDataset', data_root='../shared/data/imagenette160',
        data_prefix='train', with_label=False,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=image_size, crop_ratio_range=(0.67, 1.)),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='SimMIMMaskGenerator', input_size=image_size, mask_patch_size=16,
                 model_patch_size=4, mask_ratio=0.6),
            dict(type='PackInputs'),
        ]))

train_cfg = dict(by_epoch=True, max_epochs=max_epochs)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05,
                   fused=True),
    clip_grad=dict(max_norm=5.),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.,
                       custom_keys=dict(mask_token=dict(decay_mult=0.),
                                        pos_embed=dict(decay_mult=0.))))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(logger=dict(interval=20),
                     checkpoint=dict(interval=10, max_keep_ckpts=2))
randomness = dict(seed=0)
