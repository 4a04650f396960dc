"""What the tiny detectors share: Cascade Mask R-CNN that two CPU cores can train.

Crops of 256 px in training, whole images in test. Heads are a quarter as wide as mmdet's,
proposals and samples few, but half of the samples objects, since classes take longest to
learn; everything that a detector on COCO has is there. Trained from
random weights: AdamW, gradients clipped, 100 iterations of warm-up, cosine decay. Group
norm in the neck keeps four levels apart in size without statistics of small batches.

Expects COCO in ``data/coco``; for your own images ``tools/new_config.py`` writes a config
on top of one of the three that build on this.
"""
_base_ = [
    'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py',
    'mmdet::_base_/default_runtime.py',
]
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)

num_classes = 80
channels = 48
crop_size = (256, 256)
max_epochs = 12

# proposals of few hundred pixels: the finest level holds boxes up to 56 px
roi_extractor = dict(roi_layer=dict(sampling_ratio=1), out_channels=channels,
                     finest_scale=28)
model = dict(
    # No crop is padded, so nothing would be learned about padding: nuclei on dark ground
    # were found by the hundred along it, for a box AP of 0.05 instead of 0.45.
    data_preprocessor=dict(pad_size_divisor=1),
    neck=dict(out_channels=channels, norm_cfg=dict(type='GN', num_groups=6)),
    rpn_head=dict(in_channels=channels, feat_channels=channels,
                  anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=[
            dict(type='Shared2FCBBoxHead', in_channels=channels, fc_out_channels=256,
                 roi_feat_size=7, num_classes=num_classes, reg_class_agnostic=True,
                 bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.] * 4,
                                 target_stds=stds),
                 loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
                 loss_bbox=dict(type='SmoothL1Loss', beta=1.0))
            for stds in ([.1, .1, .2, .2], [.05, .05, .1, .1], [.033, .033, .067, .067])
        ],
        mask_roi_extractor=roi_extractor,
        mask_head=dict(in_channels=channels, conv_out_channels=32, num_convs=2,
                       num_classes=num_classes)),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=[
            dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=iou, neg_iou_thr=iou,
                               min_pos_iou=iou, match_low_quality=False,
                               ignore_iof_thr=-1),
                 sampler=dict(type='RandomSampler', num=48, pos_fraction=0.5,
                              neg_pos_ub=-1, add_gt_as_proposals=True),
                 mask_size=28, pos_weight=-1, debug=False)
            for iou in (0.5, 0.6, 0.7)
        ]),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomChoice', transforms=[
        [dict(type='Resize', scale_factor=factor, keep_ratio=True)]
        for factor in (0.8, 0.9, 1.0, 1.12, 1.25)]),
    dict(type='RandomCrop', crop_size=crop_size),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=1.0, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
data_root = 'data/coco/'
# epochs that do not depend on the ones before make a resumed run equal an unbroken one
train_dataloader = dict(
    batch_size=2, num_workers=1, persistent_workers=False,
    worker_init_fn=dict(type='mmengine.seed_worker'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset', data_root=data_root,
        ann_file='annotations/instances_train2017.json',
        data_prefix=dict(img='train2017/'), filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1, num_workers=1, persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset', data_root=data_root, test_mode=True,
        ann_file='annotations/instances_val2017.json',
        data_prefix=dict(img='val2017/'), pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric', metric=['bbox', 'segm'],
    ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=8e-4, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=2.0),
    # with mmengine's own, the key would replace the rules for norms and biases
    constructor='LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.,
                       custom_keys={'backbone': dict(lr_mult=0.5)}))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EpochSeedHook')]
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(max_keep_ckpts=2))
randomness = dict(seed=0)
auto_scale_lr = dict(enable=False, base_batch_size=4)
