"""Grow a detector's backbone to budgets in milliseconds on your device, at your resolution.

    python tools/profile_device.py --out device.json --shape 512    # once
    bash tools/dist_scale.sh configs/scale_topology_detection.py 2 \\
        --cfg-options model.arch=GENOTYPE    # the one in the search's topology.json

As the paper's scaling, but the measures look at all four levels at 512 px with a
detector's windows, and sizes are milliseconds: a Cascade Mask R-CNN config for the
largest member below each. Without ``model.arch`` it grows the paper's seed topology.

    --cfg-options train_cfg.targets.latency=[80,120] train_cfg.constraint.latency=130 \\
        train_cfg.stop.latency=120
"""
_base_ = './scale_topology_imagenet.py'

train_cfg = dict(
    setting=dict(features='pyramid', image_size=512, repeats=2),
    measure=dict(type='DetectorMeasures', profile='device.json'),
    targets=dict(_delete_=True, latency=[100, 200, 300]),
    stop=dict(_delete_=True, latency=300),
    constraint=dict(_delete_=True, latency=330),
    random_walks=0)
