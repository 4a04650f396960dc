"""The demo: Cascade Mask R-CNN on generated shapes, 256 px, in minutes on two CPU cores.

    python tools/make_shapes_coco.py data/shapes --images 6000 --crops 64
    bash tools/dist_train.sh configs/asvit_tiny_shapes.py 2
    bash tools/dist_train.sh configs/cascade_asvit_tiny_shapes.py 2

``make demo`` runs these three. Everything a COCO detector of this project has is here,
only smaller; it reproduces nothing of the paper.
"""
_base_ = './cascade_asvit_tiny.py'

classes = ('circle', 'triangle', 'square', 'star', 'cross')
max_epochs = 1  # every image once

num_classes = len(classes)
model = dict(
    backbone=dict(init_cfg=dict(
        type='Pretrained', prefix='backbone.',
        checkpoint='work_dirs/asvit_tiny_shapes/epoch_8.pth')),
    roi_head=dict(
        bbox_head=[dict(head, num_classes=num_classes)
                   for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(num_classes=num_classes)),
    # an image has few objects: half the proposals and a third of the samples will do
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=[dict(stage, sampler=dict(stage.sampler, num=16))
              for stage in _base_.model.train_cfg.rcnn]))

# images are 256 px already, and look alike whichever way up
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True, poly2mask=False),
    dict(type='RandomFlip', prob=[0.25, 0.25, 0.25],
         direction=['horizontal', 'vertical', 'diagonal']),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs',
         meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
data_root = 'data/shapes/'
dataset = dict(data_root=data_root, metainfo=dict(classes=classes))
# Classes stay at chance for hundreds of steps: many of two images (two processes) find
# more than half as many of four, in nearly the same time.
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(batch_size=4, dataset=dict(pipeline=test_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator

train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=6e-4))
auto_scale_lr = dict(base_batch_size=2)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
