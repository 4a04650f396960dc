"""Models of other packages, and how a small backbone comes into each."""
import copy
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import torch
from mmengine.config import Config

WIDTHS = (16, 32, 64, 128)
RESNET = dict(zip((256, 512, 1024, 2048), WIDTHS))  # what the configs are written for
BACKBONES = {
    'AsViT': dict(type='AsViT', arch='4,4,2,1|4,2,2,1|4,1,2,1|2,1,2,1|8,16'),
    'Swin': dict(type='mmdet.SwinTransformer', embed_dims=16, depths=(1, 1, 1, 1),
                 num_heads=(1, 2, 4, 8)),
}
_SWIN_ARCH = dict(embed_dims=16, depths=(1, 1, 1, 1), num_heads=(1, 2, 4, 8))
DETECTORS = '''
    atss/atss_r50_fpn_1x_coco autoassign/autoassign_r50-caffe_fpn_1x_coco
    boxinst/boxinst_r50_fpn_ms-90k_coco carafe/mask-rcnn_r50_fpn-carafe_1x_coco
    carafe/faster-rcnn_r50_fpn-carafe_1x_coco cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco
    cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco
    cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco
    centernet/centernet-update_r50_fpn_8xb8-amp-lsj-200e_coco
    condinst/condinst_r50_fpn_ms-poly-90k_coco_instance
    conditional_detr/conditional-detr_r50_8xb2-50e_coco
    crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman
    dab_detr/dab-detr_r50_8xb2-50e_coco ddod/ddod_r50_fpn_1x_coco
    ddq/ddq-detr-4scale_r50_8xb2-12e_coco
    deformable_detr/deformable-detr_r50_16xb2-50e_coco
    deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco
    detr/detr_r50_8xb2-150e_coco dino/dino-4scale_r50_8xb2-12e_coco
    double_heads/dh-faster-rcnn_r50_fpn_1x_coco dyhead/atss_r50_fpn_dyhead_1x_coco
    dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco faster_rcnn/faster-rcnn_r50_fpn_1x_coco
    fcos/fcos_r50-caffe_fpn_gn-head_1x_coco foveabox/fovea_r50_fpn_4xb4-1x_coco
    fpg/retinanet_r50_fpg_crop640_50e_coco free_anchor/freeanchor_r50_fpn_1x_coco
    fsaf/fsaf_r50_fpn_1x_coco gfl/gfl_r50_fpn_1x_coco ghm/retinanet_r50_fpn_ghm-1x_coco
    grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco groie/mask-rcnn_r50_fpn_groie_1x_coco
    guided_anchoring/ga-rpn_r50_fpn_1x_coco
    guided_anchoring/ga-faster-rcnn_r50_fpn_1x_coco
    htc/htc-without-semantic_r50_fpn_1x_coco libra_rcnn/libra-faster-rcnn_r50_fpn_1x_coco
    mask2former/mask2former_r50_8xb2-lsj-50e_coco
    mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic
    mask_rcnn/mask-rcnn_r50_fpn_1x_coco maskformer/maskformer_r50_ms-16xb1-75e_coco
    ms_rcnn/ms-rcnn_r50_fpn_1x_coco
    nas_fcos/nas-fcos_r50-caffe_fpn_fcoshead-gn-head_4xb4-1x_coco
    nas_fpn/retinanet_r50_nasfpn_crop640-50e_coco paa/paa_r50_fpn_1x_coco
    pafpn/faster-rcnn_r50_pafpn_1x_coco panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco
    pisa/mask-rcnn_r50_fpn_pisa_1x_coco point_rend/point-rend_r50-caffe_fpn_ms-1x_coco
    queryinst/queryinst_r50_fpn_1x_coco reppoints/reppoints-moment_r50_fpn_1x_coco
    retinanet/retinanet_r50_fpn_1x_coco rpn/rpn_r50_fpn_1x_coco
    sabl/sabl-retinanet_r50_fpn_1x_coco sabl/sabl-faster-rcnn_r50_fpn_1x_coco
    scnet/scnet_r50_fpn_1x_coco solo/solo_r50_fpn_1x_coco
    solo/decoupled-solo_r50_fpn_1x_coco solov2/solov2_r50_fpn_1x_coco
    sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco tood/tood_r50_fpn_1x_coco
    vfnet/vfnet_r50_fpn_1x_coco yolact/yolact_r50_1xb8-55e_coco
    yolof/yolof_r50-c5_8xb8-1x_coco'''.split()
SELF_SUPERVISED = '''
    simclr/simclr_resnet50_8xb32-coslr-200e_in1k
    mocov2/mocov2_resnet50_8xb32-coslr-200e_in1k
    byol/byol_resnet50_16xb256-coslr-200e_in1k
    simsiam/simsiam_resnet50_8xb32-coslr-100e_in1k
    swav/swav_resnet50_8xb32-mcrop-coslr-200e_in1k-224px-96px
    barlowtwins/barlowtwins_resnet50_8xb256-coslr-300e_in1k
    densecl/densecl_resnet50_8xb32-coslr-200e_in1k
    mocov3/mocov3_resnet50_8xb512-amp-coslr-100e_in1k'''.split()
SEGMENTERS = '''
    upernet_r50 fpn_r50 fcn_r50-d8 pspnet_r50-d8 deeplabv3_r50-d8 deeplabv3plus_r50-d8
    ann_r50-d8 danet_r50-d8 nonlocal_r50-d8 gcnet_r50-d8 isanet_r50-d8
    pointrend_r50 segformer_mit-b0'''.split()
_GAP = dict(type='GlobalAveragePooling')
HEADS: Dict[str, Tuple[Optional[dict], dict]] = {
    'LinearClsHead': (_GAP, {}),
    'LinearClsHead, generalised mean': (dict(type='GeneralizedMeanPooling'), {}),
    'StackedLinearClsHead': (_GAP, dict(mid_channels=[32])),
    # its own initialisation leaves the backbone without gradient at the first step
    'VisionTransformerClsHead': (_GAP, dict(hidden_dim=32, init_cfg=dict(
        type='TruncNormal', layer='Linear', std=.02))),
    'ArcFaceClsHead': (_GAP, {}),
    'MultiLabelLinearClsHead': (_GAP, {}),
    'CSRAClsHead': (None, dict(num_heads=2, lam=.1, loss=dict(
        type='CrossEntropyLoss', use_sigmoid=True))),
    'EfficientFormerClsHead': (_GAP, dict(distillation=False)),
    'LeViTClsHead': (_GAP, dict(distillation=False)),
    'ClsHead after LinearNeck': (_GAP, {}),
    'MultiLabelClsHead after LinearNeck': (_GAP, {}),
    'MultiTaskHead': (_GAP, dict(task_heads=dict(first=dict(
        type='LinearClsHead', num_classes=5)))),
}


class Client(NamedTuple):
    """A model that a backbone is put into.

    Attributes:
        kind: Of which package and task.
        name: Of the config or the head.
        scope: Default scope.
        model: Its config with a backbone, which is called with the backbone's config.
        batch: Data of an odd size, which it is called with.
    """
    kind: str
    name: str
    scope: str
    model: Callable[[dict], dict]
    batch: Callable[[Tuple[int, int]], dict]


def replace_channels(cfg: object, keys: Sequence[str]) -> None:
    """Where necks and heads are written for a ResNet's channels, write ours."""
    if not isinstance(cfg, dict):
        for value in cfg if isinstance(cfg, (list, tuple)) else ():
            replace_channels(value, keys)
        return
    if cfg.get('type') == 'SyncBN':  # not on a CPU
        cfg['type'] = 'BN'
    for key, value in cfg.items():
        if key in keys:
            values = value if isinstance(value, (list, tuple)) else [value]
            if set(values) <= set(RESNET) and sorted(set(values)) == list(values) and (
                    isinstance(value, (list, tuple)) or value > 256 or key[0] == 'c'):
                mapped = [RESNET[one] for one in values]
                cfg[key] = mapped if isinstance(value, (list, tuple)) else mapped[0]
        replace_channels(value, keys)


# of boxes, queries and layers, on which time depends and what is shown does not
MOST = dict(max_per_img=50, nms_pre=200, num=64, num_proposals=20, num_queries=50,
            num_points=784, num_layers=3)


def fewer(cfg: object) -> None:
    """Lower the numbers of a config to :data:`MOST`."""
    for key, value in cfg.items() if isinstance(cfg, dict) else enumerate(
            cfg if isinstance(cfg, list) else ()):
        if key in MOST and isinstance(value, int):
            cfg[key] = min(value, MOST[key])
        fewer(value)


def detector(name: str) -> Client:
    """A detector of mmdet by its config."""
    def model(backbone: dict) -> dict:
        cfg = Config.fromfile(_config('mmdet', name)).model.to_dict()
        levels = cfg['backbone'].get('out_indices', (0, 1, 2, 3))
        cfg['backbone'] = dict(backbone, out_indices=tuple(levels))
        for part in ('neck', 'panoptic_head'):
            replace_channels(cfg.get(part), ['in_channels'])
        fewer(cfg)
        return cfg

    return Client('mmdet', name.split('/')[1], 'mmdet', model, detector_batch)


def detector_batch(size: Tuple[int, int]) -> dict:
    """Two images with two objects each."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData
    samples = []
    for _ in range(2):
        boxes = torch.tensor([[4., 4, 100, 104], [30, 50, 120, 122]])
        masks = np.zeros((2, *size), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
            mask[top:bottom, left:right] = 1
        sample = DetDataSample(metainfo=dict(
            img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size,
            scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(
            bboxes=HorizontalBoxes(boxes), labels=torch.tensor([0, 0]),
            masks=BitmapMasks(masks, *size))
        sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(boxes[:0]))
        sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(masks[:1]).long())
        samples.append(sample)
    return dict(inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8)
                        for _ in samples], data_samples=samples)


def of_mmpretrain(backbone: dict) -> dict:
    """The last map of a backbone; mmpretrain has a Swin of its own."""
    if backbone['type'] != 'AsViT':
        backbone = dict(type='mmpretrain.SwinTransformer', arch=_SWIN_ARCH, img_size=192,
                        pad_small_map=True)
    return dict(backbone, out_indices=(3, ))


def classifier(name: str) -> Client:
    """A classifier of mmpretrain with one of its heads."""
    neck, options = HEADS[name]

    def model(backbone: dict) -> dict:
        head = dict(type=name.split(',')[0].split(' ')[0], num_classes=5,
                    in_channels=WIDTHS[-1], **copy.deepcopy(options))
        necks = neck
        if 'task_heads' in options:
            del head['num_classes']
        if 'LinearNeck' in name:
            del head['num_classes'], head['in_channels']
            necks = [neck, dict(type='LinearNeck', in_channels=WIDTHS[-1], out_channels=5,
                                gap_dim=0)]
        return dict(type='ImageClassifier', neck=necks, head=head,
                    data_preprocessor=dict(mean=[0.] * 3, std=[255.] * 3),
                    backbone=of_mmpretrain(backbone))

    def batch(size: Tuple[int, int]) -> dict:
        from mmpretrain.structures import DataSample, MultiTaskDataSample
        samples = []
        for label in (1, 3):
            sample = DataSample().set_gt_label(label)
            if 'Label' in name or 'CSRA' in name:
                sample = DataSample(metainfo=dict(num_classes=5)).set_gt_label([label])
            if 'MultiTask' in name:
                sample = MultiTaskDataSample()
                sample.set_field(DataSample().set_gt_label(label), 'first')
            samples.append(sample)
        return dict(inputs=torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8),
                    data_samples=samples)

    return Client('mmpretrain head', name, 'mmpretrain', model, batch)


def self_supervised(name: str) -> Client:
    """An algorithm of mmpretrain by its config."""
    def model(backbone: dict) -> dict:
        cfg = Config.fromfile(_config('mmpretrain', name))
        model = cfg.model.to_dict()
        model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
        model['backbone'] = of_mmpretrain(backbone)
        replace_channels(model.get('neck'), ['in_channels'])
        return model

    def batch(size: Tuple[int, int]) -> dict:
        from mmpretrain.structures import DataSample
        views = 8 if name.startswith('swav') else 2
        return dict(inputs=[torch.randint(0, 256, (4, 3, *size), dtype=torch.uint8)
                            for _ in range(views)],
                    data_samples=[DataSample() for _ in range(4)])

    return Client('mmpretrain self-supervised', name.split('/')[0], 'mmpretrain', model,
                  batch)


def simmim() -> Client:
    """Masked pre-training, which has parts of its own for each backbone."""
    def model(backbone: dict) -> dict:
        if backbone['type'] == 'AsViT':
            own = dict(backbone, type='MaskedAsViT', out_indices=(3, ))
        else:
            own = dict(type='SimMIMSwinTransformer', img_size=192, arch=_SWIN_ARCH,
                       stage_cfgs=dict(block_cfgs=dict(window_size=6)))
        return dict(
            type='SimMIM', backbone=own, neck=dict(
                type='SimMIMLinearDecoder', in_channels=WIDTHS[-1], encoder_stride=32),
            data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[0.] * 3,
                                   std=[255.] * 3),
            head=dict(type='SimMIMHead', patch_size=4, loss=dict(
                type='PixelReconstructionLoss', criterion='L1', channel=3)))

    def batch(_: Tuple[int, int]) -> dict:
        from mmpretrain.structures import DataSample
        samples = [DataSample() for _ in range(2)]
        for sample in samples:
            sample.set_mask((torch.rand(48, 48) < .6).long())
        return dict(inputs=torch.randint(0, 256, (2, 3, 192, 192), dtype=torch.uint8),
                    data_samples=samples)

    return Client('mmpretrain self-supervised', 'simmim', 'mmpretrain', model, batch)


def segmenter(name: str) -> Client:
    """A model of mmseg by its base config."""
    def model(backbone: dict) -> dict:
        cfg = Config.fromfile(_config('mmseg', f'_base_/models/{name}')).model.to_dict()
        cfg.update(pretrained=None)
        cfg['data_preprocessor'] = dict(cfg['data_preprocessor'], size_divisor=1)
        cfg['backbone'] = dict(backbone, out_indices=(0, 1, 2, 3))
        replace_channels(cfg, ['in_channels', 'c1_in_channels'] if 'neck' not in cfg
                         else [])
        replace_channels(cfg.get('neck'), ['in_channels'])
        if name.startswith('segformer'):
            cfg['decode_head']['in_channels'] = list(WIDTHS)
        return cfg

    def batch(size: Tuple[int, int]) -> dict:
        from mmengine.structures import PixelData
        from mmseg.structures import SegDataSample
        samples = []
        for _ in range(2):
            sample = SegDataSample(metainfo=dict(
                img_shape=size, ori_shape=size, pad_shape=size))
            sample.gt_sem_seg = PixelData(data=torch.randint(0, 19, (1, *size)))
            samples.append(sample)
        return dict(inputs=[torch.randint(0, 256, (3, *size), dtype=torch.uint8)
                            for _ in samples], data_samples=samples)

    return Client('mmseg', name, 'mmseg', model, batch)


def all_clients() -> List[Client]:
    """Every client, whether its package is installed or not."""
    return [*map(detector, DETECTORS), *map(classifier, HEADS),
            *map(self_supervised, SELF_SUPERVISED), simmim(),
            *map(segmenter, SEGMENTERS)]


def _config(package: str, name: str) -> str:
    from importlib.util import find_spec
    return str(Path(find_spec(package).origin).parent / f'.mim/configs/{name}.py')
