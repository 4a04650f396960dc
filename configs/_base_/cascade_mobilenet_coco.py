"""What detectors on BN-NAS's MobileNet space share.

Cascade Mask R-CNN with FPN on COCO 2017 at 1024 x 1024 px, 36 epochs of mmdet's 3x
schedule (1000 iterations of warm-up; epochs 27 and 33), batch 16, SGD with learning rate
0.02, scaled linearly with the batch in use (``auto_scale_lr``). The backbone's norms keep
the statistics of its pre-training. BN-NAS trains no detector: nothing here is its.

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
    backbone=dict(_delete_=True, type='SearchedMobileNet', out_indices=(0, 1, 3, 5),
                  norm_eval=True))

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
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=36, milestones=[27, 33],
         gamma=0.1),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='coco/bbox_mAP'))
auto_scale_lr = dict(enable=True, base_batch_size=16)
