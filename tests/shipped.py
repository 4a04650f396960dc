"""Shipped configs as models, and a step of training for them."""
import torch
from helpers import ROOT
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope


def build(name):
    """Config and model, without a checkpoint and without skipped branches."""
    cfg = Config.fromfile(ROOT / 'configs' / name)
    init_default_scope(cfg.default_scope)
    if 'drop_path_rate' in cfg.model.backbone:
        cfg.model.backbone.drop_path_rate = 0.
    if (cfg.model.backbone.get('init_cfg') or {}).get('type') == 'Pretrained':
        cfg.model.backbone.init_cfg = None
    # where mmpretrain's configs have it, and where a Runner puts it
    cfg.model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    if 'pad_size_divisor' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.pad_size_divisor = 32
    if 'rpn_head' in cfg.model:
        # small images: let every anchor count, that all levels are reached
        cfg.model.train_cfg.rpn.allowed_border = -1
        cfg.model.train_cfg.rpn.sampler.num = 10**6
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for hook in elastic_hooks(cfg):  # as its run begins
        model.backbone.set_token_stride(hook.milestones[0][1])
    return cfg, model.train()


def elastic_hooks(cfg):
    return [hook for hook in cfg.custom_hooks if hook.type == 'ElasticTokenHook']


def detector_batch(cfg, size):
    """Two images with three objects each, masks too, in the dataset's own form."""
    import numpy as np
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData
    inputs, samples = [], []
    for _ in range(2):
        inputs.append(torch.randint(0, 256, (3, size, size), dtype=torch.uint8))
        boxes = torch.tensor([[4., 4, 40, 44], [30, 60, 90, 110], [2, 50, 120, 126]])
        masks = np.zeros((3, size, size), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
            mask[top:bottom, left:right] = 1
        sample = DetDataSample(metainfo=dict(
            img_shape=(size, size), ori_shape=(size, size), scale_factor=(1., 1.)))
        sample.gt_instances = InstanceData(
            bboxes=HorizontalBoxes(boxes), labels=torch.tensor([0, 1, 2]),
            masks=BitmapMasks(masks, size, size))
        sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(boxes[:0]))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def classifier_batch(cfg, size):
    from mmpretrain.structures import DataSample
    classes = cfg.model.head.num_classes
    return dict(inputs=torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8),
                data_samples=[DataSample().set_gt_label(i % classes) for i in range(4)])


def without_gradient(model):
    """Names of parameters whose gradient is missing, not finite, or zero throughout."""
    return [name for name, parameter in model.named_parameters()
            if parameter.requires_grad and (
                parameter.grad is None or not parameter.grad.isfinite().all()
                or not parameter.grad.any())]


def train_two_steps(cfg, model, batch):
    """Gradients of the second step: whatever starts at zero has moved by then."""
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    for last in (False, True):
        with wrapper.optim_context(model):
            data = model.data_preprocessor(batch, True)
            total, _ = model.parse_losses(model(**data, mode='loss'))
        total.backward()
        assert total.isfinite()
        if not last:
            wrapper.step()
            wrapper.zero_grad()
