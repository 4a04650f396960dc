"""Do measures of untrained networks rank detectors by their AP? On nuclei.

    python tools/profile_device.py --out device_256.json --shape 256 --widths 32
    python tools/complexity_study.py configs/complexity_study_nuclei.py --work-dir D

Random topologies of Table 1 (C = 32, one block a stage) whose backbones cost alike, within
15 % of multiply-accumulates at 256 px: each trained from scratch in the tiny Cascade Mask
R-CNN, on crops of 256 px, for 720 iterations of 2. The score is box AP on held-out
images. The measures look at the last map, as the paper's do, and at all four, at the
paper's 224 px and at the detector's size; windows are a detector's throughout. Beside them
what costs nothing: parameters, multiply-accumulates, milliseconds on this device.

Data: nuclei of the 2018 Data Science Bowl in COCO's format, one class; elsewhere with
``--cfg-options data_root=FOLDER/ train_dataloader.dataset.data_root=FOLDER/
val_dataloader.dataset.data_root=FOLDER/
val_evaluator.ann_file=FOLDER/annotations/instances_val.json``.
"""
_base_ = './_base_/cascade_tiny.py'

data_root = '../shared/data/nuclei_coco/'
image_size = 256
max_epochs = 3
setting = dict(protocol='released', repeats=5, pretrain_img_size=224)
study = dict(
    num_topologies=14, metric='coco/bbox_mAP',
    macs_between=(0.5e9, 0.575e9),
    settings=[dict(setting, features=features, image_size=size)
              for size in (image_size, 224) for features in ('pyramid', 'last')],
    measures=['length_distortion', 'ntk_condition_number', 'grad_norm', 'params', 'macs',
              'latency'],
    composites=dict(
        search_score=dict(length_distortion=1, ntk_condition_number=-1)),
    costs=dict(profile='device_256.json', shape=image_size))

metainfo = dict(classes=('nucleus', ))
num_classes = 1
model = dict(
    # the study puts its topologies in place of this one
    backbone=dict(_delete_=True, type='AsViT', arch='seed', use_abs_pos_embed=False,
                  # narrow blocks learn sooner so
                  init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),
    neck=dict(in_channels=[32, 64, 128, 256]),
    roi_head=dict(
        bbox_head=[dict(head, num_classes=num_classes)
                   for head in _base_.model.roi_head.bbox_head],
        mask_head=dict(num_classes=num_classes)),
    # many small objects in an image
    test_cfg=dict(rcnn=dict(max_per_img=300)))

train_dataloader = dict(
    batch_size=2, num_workers=0,
    dataset=dict(data_root=data_root, metainfo=metainfo,
                 ann_file='annotations/instances_train.json',
                 data_prefix=dict(img='train/')))
val_dataloader = dict(
    num_workers=0,
    dataset=dict(data_root=data_root, metainfo=metainfo,
                 ann_file='annotations/instances_val.json',
                 data_prefix=dict(img='val/')))
test_dataloader = val_dataloader
val_evaluator = dict(metric='bbox', ann_file=data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator

# the study scores each once, at its end
train_cfg = dict(max_epochs=max_epochs, val_begin=max_epochs + 1)
optim_wrapper = dict(optimizer=dict(lr=8e-4 / 2**0.5))  # the base's is for 4 images
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
