_base_ = './_base_/cascade_asvit_coco.py'

model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.3,
        init_cfg=dict(
            type='Pretrained', prefix='backbone.',
            checkpoint='work_dirs/asvit_large_in1k/epoch_300.pth')),
    neck=dict(in_channels=[180, 360, 720, 1024]))
