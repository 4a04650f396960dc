"""Measures of topologies by a supernet that was trained."""
import hashlib
import time
from typing import Dict, Optional, Sequence

import torch
from mmengine.registry import FUNCTIONS, MODELS
from torch import Tensor, nn

from mmasvit.complexity import (MEASURES, PATH_MEASURES, Measured, Setting, SupernetPath,
                                check_measures, measure_repeat)
from mmasvit.complexity.untrained import noise_images
from mmasvit.engine import checkpoints, launch
from mmasvit.errors import InputError
from mmasvit.genotypes import Genotype
from mmasvit.supernets.supernet import Supernet


@FUNCTIONS.register_module(force=True)
class SupernetMeasures:
    """Measures paths of a trained supernet, and with them what needs none.

    It stands where :func:`~mmasvit.complexity.measure_repeat` does:
    ``measure=dict(type='SupernetMeasures', config=..., checkpoint=...)``.

    Args:
        config: The config that the supernet was trained with.
        checkpoint: What its training left.

    Attributes:
        origin: What the numbers depend on beside the setting.

    Raises:
        InputError: If the config has no supernet, or the checkpoint is of another one.
    """

    def __init__(self, config: str, checkpoint: str):
        cfg = launch.load_config(config)
        loaded = checkpoints.read(checkpoint)
        model = dict(cfg.get('model') or {})
        model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
        with torch.random.fork_rng(devices=[]), MODELS.switch_scope_and_registry(
                cfg.get('default_scope')) as registry:
            self._classifier = registry.build(model).eval()
        self._supernet: nn.Module = getattr(self._classifier, 'backbone', None)
        if not isinstance(self._supernet, Supernet):
            raise InputError(f'config {config} has no supernet: its backbone is of the '
                             f'type {type(self._supernet).__name__}')
        checkpoints.check_fit(self._classifier, loaded, checkpoint)
        self._device = 'cpu'
        with open(checkpoint, 'rb') as file:
            self.origin = dict(sha256=hashlib.file_digest(file, 'sha256').hexdigest())

    def check(self, topology: Genotype) -> None:
        """Raise :class:`InputError` unless a topology is a path of the supernet."""
        self._supernet.check(topology)

    def __call__(self, topology: Genotype, setting: Setting, repeat: int,
                 names: Sequence[str], images: Optional[Tensor] = None,
                 device: str = 'cpu') -> Dict[str, Measured]:
        """As :func:`~mmasvit.complexity.measure_repeat`; paths have no repeats.

        Raises:
            InputError: If a measure does not exist, or the topology is no path.
        """
        check_measures(names, supernet=True)
        untrained = [name for name in names if name in MEASURES]
        results = measure_repeat(topology, setting, repeat, untrained, images,
                                 device) if untrained else {}
        if images is None:
            images = noise_images(setting.num_images, setting.image_size, setting.seed)
        if device != self._device:  # for a large supernet a second look costs, too
            self._classifier.to(device)
            self._device = device
        start = time.perf_counter()
        path = SupernetPath(self._classifier, topology, images.to(device))
        for name in names:
            if name in PATH_MEASURES:
                value = PATH_MEASURES[name](path)
                results[name] = Measured(value, time.perf_counter() - start)
                start = time.perf_counter()
        return results
