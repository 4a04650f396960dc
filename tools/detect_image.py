"""Detect objects in images: pictures with boxes and masks, and a json of results.

Writes OUT/<image name>.jpg for each image, in the sub-folders that the images are in, and
OUT/detections.json, a list in COCO's results format (bbox as x, y, width, height in
pixels; masks as compressed RLE), with file_name beside image_id. An image_id is the
number that the file name is, as in COCO; if not all names are different numbers, it is
the image's place in the list.
"""
import argparse
import json
import os
import re
import warnings
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import _cli

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Read the command line."""
    parser = _cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of the detector')
    parser.add_argument('checkpoint', help='its checkpoint')
    parser.add_argument('images', help='an image, or a folder that is searched with '
                        'its sub-folders')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    parser.add_argument('--score-thr', type=float, default=0.3,
                        help='draw what scores at least this (default: %(default)s); the '
                        'json holds everything')
    parser.add_argument('--device', help='such as cuda:0 or cpu; default: a GPU if any')
    return parser.parse_args(argv)


def find_images(path: str, out: str) -> List[Path]:
    """The images that a path means, each checked to be readable.

    Args:
        path: An image, or a folder that is searched with its sub-folders.
        out: Folder to write to; what is in it, from an earlier run, is left out if it
            lies in the other.

    Raises:
        InputError: If there is none, or one is missing or damaged.
    """
    from mmasvit.coco.images import check_images
    from mmasvit.errors import InputError
    if os.path.isdir(path):
        written = Path(out).resolve()
        nested = Path(path).resolve() in written.parents
        images = sorted(item for item in Path(path).rglob('*')
                        if item.suffix.lower() in SUFFIXES and item.is_file()
                        and not any(part.startswith('.')
                                    for part in item.relative_to(path).parts)
                        and not (nested and written in item.resolve().parents))
        if not images:
            raise InputError(f'folder {path} has no image ({", ".join(SUFFIXES)})')
    else:
        images = [Path(path)]
    check_images([str(image) for image in images])
    return images


def name_pictures(images: List[Path], root: Path, folder: str) -> List[Path]:
    """Where each image's picture goes: in ``folder`` as the image in ``root``.

    Raises:
        InputError: If two would go to one place, or one to an image's own.
    """
    from mmasvit.errors import InputError
    pictures = [Path(folder, image.relative_to(root).with_suffix('.jpg'))
                for image in images]
    sources = {image.resolve(): image for image in images}
    drawn = {}
    for image, picture in zip(images, pictures):
        if picture.resolve() in sources:
            raise InputError(f'--out {folder}: the picture would replace the image '
                             f'{sources[picture.resolve()]}')
        if picture in drawn:
            raise InputError(f'{drawn[picture]} and {image} would both become {picture}')
        drawn[picture] = image
    return pictures


def number_images(images: List[Path]) -> List[int]:
    """The image_id of each."""
    names = [image.stem for image in images]
    numbers = [int(name) for name in names if name.isdecimal()]
    if len(set(numbers)) == len(names):
        return numbers
    return list(range(1, len(names) + 1))


def name_classes(model, cfg, checkpoint: dict) -> Tuple[str, ...]:
    """Names of the detector's classes: the checkpoint's, or else the config's.

    Raises:
        InputError: If there are none for as many classes as the detector predicts.
    """
    from mmasvit.engine import checkpoints
    from mmasvit.errors import InputError
    classes = checkpoints.classes_of(checkpoint) or checkpoints.classes_of_config(cfg)
    heads = [part.num_classes for name, part in model.named_modules()
             if re.search(r'(^|roi_head\.)bbox_head(\.\d+)?$', name)
             and hasattr(part, 'num_classes')]
    if not classes or any(number != len(classes) for number in heads):
        raise InputError(
            f'the detector predicts {", ".join(map(str, sorted(set(heads))))} classes, '
            f'checkpoint and config name {len(classes or ())}: set metainfo=dict(classes='
            "...) in the config's test_dataloader.dataset")
    return tuple(classes)


def category_ids(cfg, classes: List[str]) -> Dict[str, int]:
    """Ids of the classes: the dataset's own if its annotation file is at hand."""
    ann_file = (cfg.get('test_evaluator') or {}).get('ann_file')
    if ann_file and os.path.isfile(ann_file):
        from mmasvit.coco.annotations import CocoFile
        known = {category['name']: category['id']
                 for category in CocoFile.read(ann_file).categories}
        if set(classes) <= set(known):
            return {name: known[name] for name in classes}
    return {name: number for number, name in enumerate(classes, 1)}


def to_coco(instances, image_id: int, file_name: str, ids: List[int]) -> List[dict]:
    """One image's predictions in COCO's results format, with the file's name."""
    import numpy as np
    import pycocotools.mask
    results = []
    instances = instances.cpu()
    for i, (box, score, label) in enumerate(zip(
            instances.bboxes.tolist(), instances.scores.tolist(),
            instances.labels.tolist())):
        result = dict(image_id=image_id, file_name=file_name, category_id=ids[label],
                      score=score,
                      bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]])
        if 'masks' in instances:
            mask = np.asfortranarray(instances.masks[i].numpy(), dtype=np.uint8)
            rle = pycocotools.mask.encode(mask)
            result['segmentation'] = dict(size=rle['size'],
                                          counts=rle['counts'].decode())
        results.append(result)
    return results


def main(args: argparse.Namespace) -> None:
    """Check the input, detect, draw, write."""
    import torch

    from mmasvit.analysis import is_detector
    from mmasvit.engine import checkpoints
    from mmasvit.engine.blame import blaming
    from mmasvit.engine.launch import load_config
    from mmasvit.engine.preflight import check_device, check_writable
    from mmasvit.errors import InputError
    from mmasvit.files import replacing
    from mmasvit.weights import check_checkpoint
    images = find_images(args.images, args.out)
    root = Path(args.images) if os.path.isdir(args.images) else images[0].parent
    pictures = name_pictures(images, root, args.out)
    check_checkpoint(args.checkpoint)
    cfg = load_config(args.config)
    if not isinstance(cfg.get('model'), dict) or not is_detector(cfg):
        raise InputError(f'config {args.config} is not of a detector')
    if not cfg.get('test_dataloader'):
        raise InputError(f'config {args.config} has no test_dataloader, whose pipeline '
                         'images go through')
    device = args.device or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    check_device(device)
    checkpoint = checkpoints.read(args.checkpoint)

    # they take seconds to load
    import mmcv
    from mmdet.apis import inference_detector, init_detector
    from mmdet.registry import VISUALIZERS
    from rich.progress import track
    checkpoints.settle_classes(cfg, checkpoint, args.checkpoint, defaults=False)
    with warnings.catch_warnings(record=True):  # it would speak of COCO's classes
        with blaming('model'):
            model = init_detector(cfg, device=device)
    checkpoints.check_fit(model, checkpoint, args.checkpoint)
    classes = name_classes(model, cfg, checkpoint)
    model.dataset_meta = dict(model.dataset_meta, classes=classes)
    check_writable(args.out)
    with blaming('visualizer'):
        visualizer = VISUALIZERS.build(cfg.get('visualizer'))
    visualizer.dataset_meta = model.dataset_meta
    ids = list(category_ids(cfg, classes).values())
    results = []
    todo = list(zip(images, pictures, number_images(images)))
    for path, picture, image_id in track(todo, 'detecting'):
        sample = inference_detector(model, str(path))
        name = path.relative_to(root).as_posix()
        results += to_coco(sample.pred_instances, image_id, name, ids)
        picture.parent.mkdir(parents=True, exist_ok=True)
        visualizer.add_datasample(
            path.stem, mmcv.imread(str(path), channel_order='rgb'), sample,
            draw_gt=False, pred_score_thr=args.score_thr,
            out_file=str(picture))
    with replacing(Path(args.out, 'detections.json')) as temporary:
        Path(temporary).write_text(json.dumps(results))
    print(f'{len(images)} pictures and {len(results)} detections in {args.out}')


if __name__ == '__main__':
    _cli.run(main, parse_args())
