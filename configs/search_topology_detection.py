"""Search a detector's backbone: a budget in milliseconds on your device, at your resolution.

    python tools/profile_device.py --out device.json --shape 512 --widths 32    # once
    bash tools/dist_search.sh configs/search_topology_detection.py 2

As the paper's search, but the measures look at all four levels, as an FPN does, at 512 px
with the windows that a detector has there; and no topology is measured that takes longer
than the limit on the device of ``device.json``. What is found comes as a Cascade Mask
R-CNN for images of that size, in ``configs/`` of the work directory.

    --cfg-options train_cfg.constraint.latency=40               # another budget
    --cfg-options train_cfg.setting.image_size=768              # another size: profile it
    --cfg-options train_cfg.measure.profile=jetson.json train_cfg.measure.device=NAME
    --cfg-options train_cfg.measure.detector=configs/cascade_asvit_small_coco.py \\
        train_cfg.constraint.detector_macs=160e9

Two initialisations instead of the paper's five: an image of 512 px is five of 224.
"""
_base_ = './search_topology_imagenet.py'

train_cfg = dict(
    setting=dict(features='pyramid', image_size=512, repeats=2),
    measure=dict(type='DetectorMeasures', profile='device.json'),
    constraint=dict(latency=60))
