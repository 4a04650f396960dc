"""Topology search as in the paper: 500 steps at 224 px (section 3.3, tables 1 and 3).

    bash tools/dist_search.sh configs/search_topology_imagenet.py 2

REINFORCE with Adam (0.08) and a moving average (0.9) as baseline, 5 initialisations per
topology, 16 images; all as in the released code. ``protocol='paper'`` in ``setting``
follows the text where the two differ. The images are noise, so that nothing needs to be
downloaded; the paper's are ImageNet's: ``--cfg-options
train_dataloader.dataset.data=data/imagenet/train``. ``randomness.seed`` is the seed.

Expected: the entropy of the policy falls from 15.33; in the paper from 15.3 to 5.7. The
paper took 7 hours on a V100 and found ``8,2,3|4,1,2|4,1,4|4,1,6|32``.
"""
custom_imports = dict(imports=['mmasvit'], allow_failed_imports=False)
default_scope = 'mmengine'

model = dict(type='TopologyPolicy')
# data='noise' is the default; not written here, so that a dict can take its place
train_dataloader = dict(dataset=dict(type='ProbeImages'))
train_cfg = dict(
    type='TopologySearchLoop', max_iters=500, strategy='reinforce',
    setting=dict(protocol='released', image_size=224, repeats=5),
    objective=dict(length_distortion=1, ntk_condition_number=-1))
optim_wrapper = dict(optimizer=dict(type='Adam', lr=0.08))

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=None)  # what was measured is all the state there is
log_processor = dict(by_epoch=False)
# for TensorBoard add dict(type='TensorboardVisBackend')
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
randomness = dict(seed=0)
