"""Test-time augmentation: predictions of an image and its mirror image, merged."""
import copy
from typing import List

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import MODELS

from mmasvit.errors import InputError

_FLIPS = [dict(type='RandomFlip', prob=1.), dict(type='RandomFlip', prob=0.)]


def use_tta(cfg: Config) -> None:
    """Wrap a config's model for test-time augmentation, as mmdet and mmpretrain do.

    The config's ``tta_model`` and ``tta_pipeline`` are used where it has them. Without,
    each image is also tested mirrored: boxes are merged by suppression, class scores
    averaged. mmdet merges no masks: a detector's are left out, of the metrics too.

    Args:
        cfg: The config, changed in place.

    Raises:
        InputError: If there is no way to merge predictions of its kind, or no pipeline.
    """
    scope = cfg.get('default_scope')
    if 'tta_model' not in cfg:
        if scope not in ('mmdet', 'mmpretrain'):
            raise InputError(f'--tta: config {cfg.filename} has no tta_model')
        cfg.tta_model = (_box_merger(cfg) if scope == 'mmdet'
                         else dict(type='mmpretrain.AverageClsScoreTTA'))
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if 'tta_pipeline' not in cfg:
        if not dataset.get('pipeline'):
            raise InputError(f'--tta: config {cfg.filename} has no tta_pipeline, and its '
                             'test data no pipeline to make one of')
        *before, pack = copy.deepcopy(list(dataset.pipeline))
        if scope == 'mmdet':
            keys = pack.get('meta_keys') or ('img_id', 'img_path', 'ori_shape',
                                             'img_shape', 'scale_factor')
            pack.meta_keys = tuple(dict.fromkeys([*keys, 'flip', 'flip_direction']))
        cfg.tta_pipeline = [*before, dict(type='TestTimeAug', transforms=[_FLIPS, [pack]])]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def _box_merger(cfg: Config) -> dict:
    """Config of the model that merges boxes; masks go out of the metrics."""
    from mmdet.models.test_time_augs import DetTTAModel

    class BoxTTAModel(DetTTAModel):
        """mmdet's, for detectors that also predict masks."""

        def test_step(self, data: dict) -> list:
            """Test without the mask head, which mmdet cannot run on mirror images."""
            for part in self.module.modules():  # the detector may be inside a ReViT
                if getattr(part, 'mask_head', None) is not None:
                    part.mask_head = None  # its weights were loaded and checked
            return super().test_step(data)

        def merge_preds(self, data_samples_list: List[list]) -> list:
            """Merge boxes; the masks of the views are dropped."""
            for samples in data_samples_list:
                for sample in samples:
                    if 'masks' in sample.pred_instances:
                        del sample.pred_instances.masks
            return super().merge_preds(data_samples_list)

    MODELS.register_module('BoxTTAModel', module=BoxTTAModel, force=True)
    evaluators = cfg.get('test_evaluator') or []
    for metric in evaluators if isinstance(evaluators, list) else [evaluators]:
        wanted = metric.get('metric')
        if isinstance(wanted, list) and 'segm' in wanted or wanted == 'segm':
            metric.metric = [kind for kind in wanted
                             if kind != 'segm'] if isinstance(wanted, list) else 'bbox'
            print_log('--tta merges boxes, not masks: no segm metric', logger='current')
    return dict(type='mmengine.BoxTTAModel', tta_cfg=dict(
        nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
