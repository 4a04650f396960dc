"""Do measures by BatchNorm rank topologies as their accuracies do? On Imagenette.

    python tools/train.py configs/supernet_asvit_imagenette.py
    python tools/complexity_study.py configs/complexity_study_bn.py --work-dir D

Random topologies of Table 1 with C = 32 and one block a stage, each trained from scratch
at 64 px; beside their accuracies BN-NAS's indicator, the three terms of our substitute
for BNNAS++'s, their sum of ranks, and what needs no training at all. For the supernet
whose weights were all trained: ``--cfg-options
study.supernet.config=configs/supernet_asvit_imagenette_all.py
study.supernet.checkpoint=work_dirs/supernet_asvit_imagenette_all/epoch_10.pth``, in a
work directory of its own.
"""
_base_ = './complexity_study_cifar.py'

data_root = '../shared/data/imagenette160'
image_size = 64
max_epochs = 15
study = dict(
    _delete_=True, num_topologies=12, images='spread',
    settings=[dict(protocol='released', image_size=image_size, repeats=3, num_images=64)],
    measures=['bn_gamma', 'bn_expressivity', 'bn_trainability', 'bn_uncertainty',
              'length_distortion', 'ntk_condition_number', 'params', 'macs'],
    composites=dict(
        bn_composite=dict(bn_expressivity=1, bn_trainability=-1, bn_uncertainty=-1,
                          by='rank'),
        search_score=dict(length_distortion=1, ntk_condition_number=-1)),
    supernet=dict(
        config='configs/supernet_asvit_imagenette.py',
        checkpoint='work_dirs/supernet_asvit_imagenette/epoch_10.pth'))

model = dict(
    data_preprocessor=dict(to_rgb=True),
    # narrow blocks learn sooner so
    backbone=dict(pretrain_img_size=image_size, use_abs_pos_embed=False, init_cfg=dict(
        type='Xavier', layer='Linear', distribution='uniform')))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size, crop_ratio_range=(0.35, 1.)),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=72, edge='short'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(
    _delete_=True, type='CustomDataset', data_root=data_root, data_prefix='train',
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True, type='CustomDataset', data_root=data_root, data_prefix='val',
    pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
