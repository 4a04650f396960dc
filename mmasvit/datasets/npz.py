"""Labelled images out of one ``.npz`` file."""
import os
import zipfile
from typing import List, Optional, Tuple

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS

from mmasvit.errors import InputError


def read_npz(path: str, split: str = 'train') -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """Read one split of an ``.npz`` with images and, if it has them, labels.

    Args:
        path: The file. It holds ``<split>_images`` ``(n, H, W, 3)`` uint8 RGB and
            ``<split>_labels`` ``(n,)`` integers; ``images`` and ``labels`` do as well,
            for any split.
        split: Which part to read. Defaults to ``'train'``.

    Returns:
        Images and labels (None where the file has none).

    Raises:
        InputError: If the file is missing or not such a file, or the split is empty.
    """
    if not os.path.isfile(path):
        raise InputError(f'image file {path} does not exist')
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [name for name in (f'{split}_images', 'images') if name in file]
            if not names:
                raise InputError(f'{path} holds no array {split}_images; it has '
                                 f'{", ".join(file.files) or "none"}')
            images = file[names[0]]
            labels_name = names[0].replace('images', 'labels')
            labels = file[labels_name] if labels_name in file else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} is not an .npz file of arrays: {error}') from None
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(f'{path}: {names[0]} must be (n, H, W, 3) of uint8, is '
                         f'{images.shape} of {images.dtype}')
    if not images.size:
        raise InputError(f'{path}: {names[0]} holds no image')
    if labels is not None and (labels.shape != images.shape[:1]
                               or not np.issubdtype(labels.dtype, np.integer)):
        raise InputError(f'{path}: {labels_name} must be {images.shape[:1]} integers, is '
                         f'{labels.shape} of {labels.dtype}')
    return images, labels


@DATASETS.register_module(force=True)
class NpzDataset(BaseDataset):
    """Classification data in one ``.npz`` file, held in memory.

    A sample is ``dict(img=(H, W, 3) uint8 RGB, gt_label=int, sample_idx=int)``: its
    pipeline starts without loading an image and its data preprocessor has
    ``to_rgb=False``.

    Args:
        ann_file: The file; see :func:`read_npz`.
        split: ``'train'``, ``'test'`` or any other prefix of its arrays.
        kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        InputError: As :func:`read_npz`, or if the split has no labels.
    """

    def __init__(self, ann_file: str, split: str = 'train', **kwargs):
        self.split = split
        # arrays need no pickling to be shared with worker processes
        super().__init__(ann_file=ann_file, **{'serialize_data': False, **kwargs})

    def load_data_list(self) -> List[dict]:
        """One dict per image."""
        images, labels = read_npz(self.ann_file, self.split)
        if labels is None:
            raise InputError(f'{self.ann_file} has no labels for its {self.split} images')
        return [dict(img=image, gt_label=int(label))
                for image, label in zip(images, labels)]
