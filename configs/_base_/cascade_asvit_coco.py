"""What the As-ViT detectors share: section 5.3 and appendix A of the paper.

Cascade Mask R-CNN with FPN on COCO 2017 at 1024 x 1024 px, 36 epochs, batch 256, AdamW
with learning rate 1e-3 and weight decay 1e-4, stochastic depth. The paper says nothing
of warm-up and decay; mmdet's 3x schedule is used (1000 iterations; epochs 27 and 33).
The learning rate scales linearly with the batch in use (``auto_scale_lr``).

Matrix products run in bfloat16, coordinates in float32. Expects COCO in ``data/coco``.
"""
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

image_size = (1024, 1024)
model = dict(
    # images fit into 1024 x 1024 and are padded to it, in training and in test
    data_preprocessor=dict(pad_size_divisor=1024),
    backbone=dict(_delete_=True, type='AsViT', out_indices=(0, 1, 2, 3)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
# epochs that do not depend on the ones before make a resumed run equal an unbroken one
train_dataloader = dict(
    batch_size=2, num_workers=4, persistent_workers=False,
    worker_init_fn=dict(type='mmengine.seed_worker'),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=36, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='Bf16OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0, norm_type=2),
    paramwise_cfg=dict(norm_decay_mult=0.,
                       custom_keys={'.pos_embed': dict(decay_mult=0.)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=36, milestones=[27, 33],
         gamma=0.1),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='coco/bbox_mAP'))
auto_scale_lr = dict(enable=True, base_batch_size=256)
