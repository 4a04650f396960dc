"""A small As-ViT classifier on Imagenette's photographs at 128 px, ten classes.

    python tools/train.py configs/asvit_imagenette.py

``simmim_asvit_imagenette.py`` trains the same backbone without labels, and says how this
one starts from it. The photographs lie in ``<data_root>/train/<class>/`` and
``<data_root>/val/<class>/``, at 160 px. Where they lie elsewhere, ``--cfg-options`` takes
``train_dataloader.dataset.data_root=...``, and the same of the val_dataloader and the
test_dataloader.
"""
_base_ = ['revit_asvit_imagenette.py']

max_epochs = 20
model = dict(
    _delete_=True, type='ImageClassifier',
    data_preprocessor=dict(num_classes=10, mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='AsViT', arch='8,4,3,1|4,2,3,1|4,1,4,1|4,1,4,1|16,32', out_indices=(3, ),
        pretrain_img_size=128,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform')),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=10, in_channels=256))
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=0, T_max=max_epochs,
         eta_min=1e-5, convert_to_iter_based=True),
]
