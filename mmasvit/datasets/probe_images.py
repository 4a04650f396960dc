"""The few images that untrained networks are measured on."""
import hashlib
import os
from typing import Callable, Tuple, Union

import numpy as np
import torch
from mmengine.registry import DATASETS
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from mmasvit.complexity.untrained import noise_images
from mmasvit.datasets.npz import read_npz
from mmasvit.errors import InputError
from mmasvit.random import Purpose, generator

ENDINGS = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # ImageNet's, 0 to 255


@DATASETS.register_module(force=True)
class ProbeImages(Dataset):
    """One batch of square images, drawn from a source by a seed.

    A sample is a tensor ``(3, image_size, image_size)``. Real images are turned as their
    EXIF data say, resized and cropped at the centre, and normalised by ImageNet's mean
    and deviation. Of more than 8 bits a channel (microscopes, X-ray), whatever part of
    the range an image uses is stretched to 0 to 255.

    Args:
        data: ``'noise'`` (standard normal), a folder (searched with its subfolders), an
            ``.npz`` file (see :func:`~mmasvit.datasets.npz.read_npz`), or the config of
            any dataset of the registries whose ``get_data_info`` has ``img_path`` or
            ``img`` (RGB). Defaults to ``'noise'``.
        image_size: Side in pixels. Defaults to 224.
        num_images: Images to draw, without replacement. Defaults to 16.
        seed: What is drawn depends on it and the source alone. Defaults to 0.

    Attributes:
        images: All samples, ``(num_images, 3, image_size, image_size)``.
        description: What was drawn, for the results: source, names and a hash.

    Raises:
        InputError: If the source is missing, holds no image or too few, or one of those
            drawn cannot be decoded.
    """

    def __init__(self, data: Union[str, dict] = 'noise', image_size: int = 224,
                 num_images: int = 16, seed: int = 0):
        if data == 'noise':
            # the same that the measures fall back on without images
            names = []
            self.images = noise_images(num_images, image_size, seed)
        else:
            total, load = _source(data)
            if total < num_images:
                raise InputError(f'data {data}: {num_images} images are needed, there '
                                 f'are {total or "none"}')
            drawn = torch.randperm(total, generator=generator(Purpose.IMAGES, seed, 0))
            loaded = [load(index) for index in sorted(drawn[:num_images].tolist())]
            names = [name for name, _ in loaded]
            self.images = torch.stack([_normalise(image, image_size)
                                       for _, image in loaded])
        content = hashlib.sha256(self.images.numpy().tobytes())
        self.description = dict(source=data if isinstance(data, str) else dict(data),
                                images=names, sha256=content.hexdigest())

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def source_name(data: dict) -> str:
    """A word for where images came from, of their description."""
    source = data['source']
    return source if isinstance(source, str) else source['type']


Loader = Callable[[int], Tuple[str, Image.Image]]


def _source(data: Union[str, dict]) -> Tuple[int, Loader]:
    """Number of images of a source, and a function that loads one with its name."""
    if isinstance(data, dict):
        return _from_registry(data)
    if not isinstance(data, str):
        raise InputError("data must be 'noise', a folder, an .npz file or the config of "
                         f'a dataset, got {data!r}')
    if data.endswith('.npz'):
        arrays, _ = read_npz(data)
        return len(arrays), lambda i: (f'{i}', Image.fromarray(arrays[i]))
    if not os.path.isdir(data):
        raise InputError(f"data {data} is neither 'noise' nor a folder nor an .npz file")
    paths = sorted(os.path.join(folder, name) for folder, _, files in os.walk(data)
                   for name in files if name.lower().endswith(ENDINGS))
    if not paths:
        raise InputError(f'data folder {data} has no image ({", ".join(ENDINGS)})')
    return len(paths), lambda i: (os.path.relpath(paths[i], data), _open(paths[i]))


def _from_registry(cfg: dict) -> Tuple[int, Loader]:
    try:
        dataset = DATASETS.build(cfg)
    except Exception as error:  # any dataset: anything can be wrong with its files
        line = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'data: the dataset cannot be built: {line}') from error

    def load(index: int) -> Tuple[str, Image.Image]:
        info = dataset.get_data_info(index)
        if 'img_path' in info:
            return os.path.basename(info['img_path']), _open(info['img_path'])
        return f'{index}', _from_array(np.asarray(info['img']), f'image {index} of data')

    info = dataset.get_data_info(0) if hasattr(dataset, 'get_data_info') and len(
        dataset) else {}
    if not {'img_path', 'img'} & set(info):
        raise InputError(f'data: {type(dataset).__name__} tells of no images; it needs '
                         'get_data_info(i) with img_path or img')
    return len(dataset), load


def _open(path: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image)
            if image.mode in ('I', 'F') or image.mode.startswith('I;'):
                return _from_array(np.asarray(image), f'image {path}')
            return image.convert('RGB')
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f'image {path} cannot be decoded: {error}') from None


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    """RGB image of an array ``(H, W)`` or ``(H, W, channels)`` of any numbers.

    Raises:
        InputError: If its shape is none of an image, or a number is not finite.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        raise InputError(f'{name} has the shape {array.shape}')
    if array.dtype != np.uint8:
        array = array.astype(np.float64)
        if not np.isfinite(array).all():
            raise InputError(f'{name} has values that are not finite')
        low, high = array.min(), array.max()
        # 1 in place of 0: an even surface stays one
        array = np.round((array - low) * (255 / ((high - low) or 1))).astype(np.uint8)
    return Image.fromarray(array).convert('RGB')


def _normalise(image: Image.Image, size: int) -> Tensor:
    """``(3, size, size)`` of the centre of an image."""
    image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    array = (np.asarray(image, np.float32) - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
