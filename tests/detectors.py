"""Detectors of several families with a tiny As-ViT, and a batch for them."""
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

ARCH = '4,2,2|2,1,2|2,1,2|2,1,2|8,8'
_BASES = {
    'cascade': ('_base_/models/cascade-mask-rcnn_r50_fpn.py', (0, 1, 2, 3)),
    'mask_rcnn': ('_base_/models/mask-rcnn_r50_fpn.py', (0, 1, 2, 3)),
    'retinanet': ('_base_/models/retinanet_r50_fpn.py', (0, 1, 2, 3)),
    'fcos': ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', (0, 1, 2, 3)),
    'dino': ('dino/dino-4scale_r50_8xb2-12e_coco.py', (1, 2, 3)),
    'atss': ('atss/atss_r50_fpn_1x_coco.py', (0, 1, 2, 3)),
    'solov2': ('solov2/solov2_r50_fpn_1x_coco.py', (0, 1, 2, 3)),
}
NAMES = ('cascade', 'mask_rcnn', 'retinanet', 'fcos', 'dino')


def config(name, folder):
    """Config of a detector of mmdet with a tiny AsViT in it."""
    base, levels = _BASES[name]
    path = folder / f'{name}.py'
    path.write_text(f'''
_base_ = 'mmdet::{base}'
default_scope = 'mmdet'
model = dict(
    backbone=dict(_delete_=True, type='AsViT', arch='{ARCH}', out_indices={levels}),
    neck=dict(in_channels={[8 * 2**i for i in levels]}))
''')
    cfg = Config.fromfile(path)
    if name == 'dino':
        cfg.model.num_queries = 20
    heads = cfg.model.get('roi_head', {}).get('bbox_head', [])
    for head in heads if isinstance(heads, list) else [heads]:
        head.fc_out_channels = 16
    return cfg


def build(name, folder):
    """The detector, initialised and in training mode."""
    cfg = config(name, folder)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def batch(size=96):
    """One image with two objects."""
    boxes = torch.tensor([[4., 4, 40, 44], [30, 50, 90, 92]])
    masks = np.zeros((2, size, size), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
        mask[top:bottom, left:right] = 1
    shape = dict(img_shape=(size, size), ori_shape=(size, size), scale_factor=(1., 1.))
    sample = DetDataSample(metainfo=dict(shape, batch_input_shape=(size, size),
                                         pad_shape=(size, size)))
    sample.gt_instances = InstanceData(bboxes=HorizontalBoxes(boxes),
                                       labels=torch.tensor([0, 1]),
                                       masks=BitmapMasks(masks, size, size))
    sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(boxes[:0]))
    torch.manual_seed(1)
    return dict(inputs=[torch.randint(0, 256, (3, size, size), dtype=torch.uint8)],
                data_samples=[sample])
