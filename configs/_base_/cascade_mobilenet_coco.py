"""What detectors on BN-NAS's MobileNet space share.

Cascade Mask R-CNN with FPN on COCO 2017 at 1024 x 1024 px, 36 epochs of mmdet's 3x
schedule (1000 iterations of warm-up; epochs 27 and 33), batch 16, SGD with learning rate
0.02, scaled linearly with the batch in use (``auto_scale_lr``). The backbone's norms keep
the statistics of its pre-training. BN-NAS trains no detector: nothing here is its.

Matrix products run in bfloat16, coordinates in float32. Expects COCO in ``data/coco``.
"""
_base_ = './cascade_asvit_coco.py'

model = dict(
    backbone=dict(_delete_=True, type='SearchedMobileNet', out_indices=(0, 1, 3, 5),
                  norm_eval=True))
optim_wrapper = dict(
    _delete_=True, type='Bf16OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=1e-4))
auto_scale_lr = dict(base_batch_size=16)
