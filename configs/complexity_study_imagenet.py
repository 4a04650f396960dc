"""The paper's complexity study: 87 random topologies, each trained on ImageNet-1k.

    python tools/complexity_study.py configs/complexity_study_imagenet.py \\
        --work-dir work_dirs/study --processes 8

Figure 2 and table 2 of the paper (there, raw tau: curvature -0.49, length distortion
0.49, length distortion of curvature -0.01): topologies of Table 1 with C = 32 and one
block a stage, 224 px, 300 epochs by DeiT's recipe (Touvron et al., 2021): batch 1024,
AdamW, learning rate 1e-3, weight decay 0.05, 5 epochs of warm-up, cosine decay, Mixup
0.8, CutMix 1.0, RandAugment, random erasing, label smoothing 0.1, stochastic depth 0.1.
Repeated augmentation is left out. One GPU per process, a topology at a time on each; not
run here.
"""
_base_ = './_base_/asvit_in1k.py'

setting = dict(image_size=224, repeats=5)
study = dict(num_topologies=87, images='dataset',
             settings=[dict(protocol='released', **setting),
                       dict(protocol='paper', **setting)])

model = dict(backbone=dict(arch='seed', drop_path_rate=0.1),
             head=dict(in_channels=256, hidden_dim=256))
train_dataloader = dict(batch_size=1024, num_workers=14)
val_dataloader = dict(batch_size=512)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, end=5,
         convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=5),
]
