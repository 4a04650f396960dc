"""A small topology search: 64 px, two initialisations, minutes on two CPU cores.

    bash tools/dist_search.sh configs/search_topology_demo.py 2

The paper's search (``search_topology_imagenet.py``) with less of everything; it shows
what the tool does and leaves, and reproduces nothing of the paper.
"""
_base_ = './search_topology_imagenet.py'

train_cfg = dict(max_iters=300, setting=dict(image_size=64, repeats=2))
