_base_ = './_base_/cascade_asvit_coco.py'

model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained', prefix='backbone.',
            checkpoint='work_dirs/asvit_base_in1k/epoch_300.pth')),
    neck=dict(in_channels=[116, 232, 464, 928]))
