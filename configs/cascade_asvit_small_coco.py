_base_ = './_base_/cascade_asvit_coco.py'

model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', prefix='backbone.',
            checkpoint='work_dirs/asvit_small_in1k/epoch_300.pth')),
    neck=dict(in_channels=[88, 176, 352, 704]))
