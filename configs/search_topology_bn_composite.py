"""Search by BatchNorm: expressivity, trainability and uncertainty, by the sum of ranks.

    python tools/train.py configs/supernet_asvit_imagenette.py
    python tools/search_topology.py configs/search_topology_bn_composite.py

The three terms are those that "Training BatchNorm Only in Neural Architecture Search and
Beyond" (BNNAS++) names. Its formulas are not known here: each term is a substitute of
ours. A topology's rank is among all that the search has measured. The images are the
supernet's photographs: ``--cfg-options train_dataloader.dataset.data=FOLDER`` for others.
"""
_base_ = './search_topology_bn.py'

train_dataloader = dict(dataset=dict(data='../shared/data/imagenette160/train'))
train_cfg = dict(
    max_iters=300,
    setting=dict(num_images=128),
    objective=dict(_delete_=True, bn_expressivity=1, bn_trainability=-1,
                   bn_uncertainty=-1, by='rank'))
