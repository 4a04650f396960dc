"""Small sets in COCO's format, sound until a test damages them."""
import copy
import json
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

CLASSES = ('red', 'green', 'blue')
HEIGHT, WIDTH = 48, 64


def sound(images=4, objects=3, seed=0):
    """A COCO dict; each object has a polygon, the last of all is a crowd."""
    rng = np.random.default_rng(seed)
    coco = dict(
        images=[dict(id=i + 1, file_name=f'{seed}_{i}.png', width=WIDTH, height=HEIGHT)
                for i in range(images)],
        categories=[dict(id=10 * (i + 1), name=name) for i, name in enumerate(CLASSES)],
        annotations=[])
    for number in range(images * objects):
        w, h = (int(side) for side in rng.integers(8, 24, 2))
        x, y = int(rng.integers(0, WIDTH - w)), int(rng.integers(0, HEIGHT - h))
        coco['annotations'].append(dict(
            id=number + 1, image_id=number // objects + 1,
            category_id=10 * (number % len(CLASSES) + 1), bbox=[x, y, w, h], area=w * h,
            iscrowd=0, segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]]))
    coco['annotations'][-1]['iscrowd'] = 1
    return coco


def write_images(folder, coco):
    """Draw the images of a sound set."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for row in coco['images']:
        Image.new('RGB', (WIDTH, HEIGHT), (90, 90, 90)).save(
            Path(folder, row['file_name']))


def write_set(root, train=None, val=None, images=True):
    """Write both parts below a folder."""
    for name, coco, seed in (('train', train, 0), ('val', val, 1)):
        if images:
            write_images(Path(root, name), sound(seed=seed))
        Path(root, f'{name}.json').write_text(
            json.dumps(sound(seed=seed) if coco is None else coco))
    return Path(root)


def config(root, classes=CLASSES, work_dir=None, masks=True, **more):
    """A config with the parts that the checks look at, filters as the demo ships them."""
    root = str(root)
    pipeline = [dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=masks),
                dict(type='PackDetInputs')]
    dataset = dict(type='CocoDataset', data_root=root, pipeline=pipeline,
                   metainfo=dict(classes=tuple(classes)))
    heads = dict(num_classes=len(classes))
    cfg = dict(
        default_scope='mmdet', work_dir=str(work_dir or Path(root, 'work')),
        model=dict(type='MaskRCNN', roi_head=dict(
            bbox_head=dict(**heads), mask_head=dict(**heads) if masks else None)),
        train_dataloader=dict(dataset=dict(
            ann_file='train.json', data_prefix=dict(img='train/'),
            filter_cfg=dict(filter_empty_gt=True), **dataset)),
        val_dataloader=dict(dataset=dict(
            ann_file='val.json', data_prefix=dict(img='val/'), test_mode=True,
            **copy.deepcopy(dataset))),
        val_evaluator=dict(type='CocoMetric', ann_file=f'{root}/val.json',
                           metric=['bbox', 'segm'] if masks else 'bbox'))
    cfg.update(more)
    return Config(cfg)
