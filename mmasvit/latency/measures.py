"""What a topology costs on a device and in a detector, for searches and scalings."""
import hashlib
import math
import time
from copy import copy
from dataclasses import replace
from functools import lru_cache
from typing import Dict, Optional, Sequence, Tuple, Union

import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, MODELS, DefaultScope
from torch import Tensor

from mmasvit.analysis import (build_to_count, count_macs, count_model_macs,
                              find_backbone, is_detector)
from mmasvit.complexity import (COST_MEASURES, Measured, Setting, check_measures,
                                measure_repeat)
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError
from mmasvit.files import read_bytes
from mmasvit.genotypes import Genotype
from mmasvit.latency.conditions import device_name
from mmasvit.latency.table import LatencyTable
from mmasvit.limits import OWN_COSTS
from mmasvit.models.as_vit import AsViT
from mmasvit.topology import Topology


@FUNCTIONS.register_module(force=True)
class DetectorMeasures:
    """Measures untrained networks, and knows what they cost where they will be used.

    It stands where :func:`~mmasvit.complexity.measure_repeat` does:
    ``measure=dict(type='DetectorMeasures', profile='device.json')``. With a profile
    ``latency`` becomes a measure and a limit, with a detector ``detector_params`` and
    ``detector_macs`` do.

    Args:
        profile: Table of ``tools/profile_device.py``. Defaults to none.
        detector: Config of a detector with an As-ViT, in whose place the topologies are
            put. Defaults to none.
        shape: Height and width of its images, or one number for both. Defaults to the
            setting's ``image_size``.
        dtype: Precision that the profile must be of. Defaults to ``'float32'``.
        compiled: Whether it must be of compiled networks. Defaults to False.
        device: Name of the hardware that it must be of, as it says itself. Defaults to
            this machine's.

    Attributes:
        origin: What the numbers depend on beside the setting.
        cost_names: What ``costs`` tells of.

    Raises:
        InputError: If neither is given, or one of them is not what it should be.
    """

    def __init__(self, profile: Optional[str] = None, detector: Optional[str] = None,
                 shape: Union[int, Sequence[int], None] = None, dtype: str = 'float32',
                 compiled: bool = False, device: Optional[str] = None):
        if profile is None and detector is None:
            raise InputError('measure: DetectorMeasures needs a profile or a detector')
        self.shape = _pair(shape)
        self.origin: Dict[str, str] = {}
        self._table: Optional[LatencyTable] = None
        self._detector: Optional[DetectorCosts] = None
        self._detector_path = detector
        if profile is not None:
            self._table = LatencyTable.read(profile)
            kind = self._table.conditions.type
            if device is None:
                if kind == 'cuda' and not torch.cuda.is_available():
                    raise InputError(f'{profile} is of {self._table.conditions.device}, '
                                     'which this machine has not; say measure.device='
                                     f"'{self._table.conditions.device}'")
                device = device_name(kind)
            self._table.check(dict(device=device, dtype=dtype, compiled=compiled))
            self.origin['profile'] = hashlib.sha256(read_bytes(profile)).hexdigest()
        if detector is not None:
            self.origin['detector'] = hashlib.sha256(
                load_config(detector).pretty_text.encode()).hexdigest()

    def for_setting(self, setting: Setting) -> 'DetectorMeasures':
        """The same, its costs at the size of a setting, unless it has its own.

        Raises:
            InputError: If the profile is of another size or of other windows.
        """
        one = copy(self)
        one.shape = self.shape or (setting.image_size, ) * 2
        if one._table:
            one._table.check(dict(shape=one.shape,
                                  pretrain_img_size=setting.window_img_size))
        if self._detector_path:
            one._detector = _detector_costs(self._detector_path, self.origin['detector'],
                                            one.shape)
        one.costs = lru_cache(maxsize=2**16)(one._count)
        return one

    @property
    def references(self) -> Dict[str, dict]:
        """Other backbones that the profile tells of: milliseconds, params, macs."""
        return dict(self._table.references or {}) if self._table else {}

    @property
    def cost_names(self) -> Tuple[str, ...]:
        """What ``costs`` tells of."""
        return (*OWN_COSTS, *(['latency'] if self._table else []),
                *(['detector_params', 'detector_macs'] if self._detector_path
                  else []))

    def costs(self, topology: Genotype) -> Dict[str, float]:
        """Its own costs, latency in milliseconds, and those of the detector around it.

        A topology wider than all that the profile holds has infinite latency: no limit
        allows it.
        """
        raise NotImplementedError('for_setting comes first')

    def _count(self, topology: Genotype) -> Dict[str, float]:
        costs: Dict[str, float] = topology.costs()
        if self._table:
            wider = topology.embed_dims > max(self._table.widths)
            costs['latency'] = math.inf if wider else self._table.milliseconds(topology)
        if self._detector:
            costs.update(self._detector(topology))
        return costs

    def check(self, topology: Genotype) -> None:
        """Raise :class:`InputError` unless the topology's costs are known."""
        if not isinstance(topology, Topology):
            raise InputError(f'{topology} is no As-ViT, and DetectorMeasures knows no '
                             'other')
        self.costs(topology)

    def check_growth(self, seed: Topology, word: str, name: str, limit: float) -> None:
        """Check that growing a seed to a latency does not lead beyond the profile.

        Args:
            seed: What is grown.
            word: What the config calls the limit.
            name: The cost that it is on.
            limit: The limit.

        Raises:
            InputError: If the seed at the widest that the profile holds is within it.
        """
        if name != 'latency' or self._table is None:
            return
        widest = replace(seed, embed_dims=max(self._table.widths))
        if self.costs(widest)[name] < limit:
            raise InputError(
                f'{word}={limit:.4g} is beyond {self._table.path}: its widest, C = '
                f'{widest.embed_dims}, takes {self.costs(widest)[name]:.4g} ms as the '
                'seed topology; profile the device with larger --widths')

    def __call__(self, topology: Genotype, setting: Setting, repeat: int,
                 names: Sequence[str], images: Optional[Tensor] = None,
                 device: str = 'cpu') -> Dict[str, Measured]:
        """As :func:`~mmasvit.complexity.measure_repeat`; costs have no repeats.

        Raises:
            InputError: If a measure does not exist, or the topology's costs are unknown.
        """
        check_measures(names, costs=self.cost_names)
        untrained = [name for name in names if name not in COST_MEASURES]
        results = measure_repeat(topology, setting, repeat, untrained, images,
                                 device) if untrained else {}
        for name in names:
            if name in COST_MEASURES:
                start = time.perf_counter()
                value = COST_MEASURES[name](self.costs(topology))
                results[name] = Measured(value, time.perf_counter() - start)
        return results


@lru_cache(maxsize=4)
def _detector_costs(path: str, content: str, shape: Tuple[int, int]) -> 'DetectorCosts':
    """Of a config whose content has a hash; once, since a detector takes its time."""
    return DetectorCosts(load_config(path), shape)


class DetectorCosts:
    """Parameters and multiply-accumulates of a detector, for any As-ViT in it.

    The detector is built and run once; of another topology backbone and neck are
    counted, and what stands on them is the same.

    Args:
        cfg: Its config.
        shape: Height and width of the image in pixels.

    Raises:
        InputError: If it is no detector with an As-ViT and a neck, or cannot be counted.
    """

    def __init__(self, cfg: Config, shape: Tuple[int, int]):
        if not is_detector(cfg) or not cfg.model.get('neck'):
            raise InputError(f'config {cfg.filename} is of no detector with a neck')
        self._neck, self._shape = cfg.model.neck, shape
        self._scope = cfg.get('default_scope', 'mmengine')
        with DefaultScope.overwrite_default_scope(self._scope):  # and no further
            self._count_once(cfg)

    def _count_once(self, cfg: Config) -> None:
        model, shape = build_to_count(cfg), self._shape
        backbone = find_backbone(model)
        if not isinstance(backbone, AsViT):
            raise InputError(f'config {cfg.filename} has no As-ViT in it, but a '
                             f'{type(backbone).__name__}')
        self._options = {key: value for key, value in cfg.model.backbone.items()
                         if key not in ('type', 'arch', 'init_cfg')}
        whole = (sum(p.numel() for p in model.parameters()),
                 count_model_macs(model, shape, detector=True))
        self._rest = tuple(map(int.__sub__, whole, self._variable(backbone.topology)))

    def __call__(self, topology: Topology) -> Dict[str, int]:
        """``detector_params`` and ``detector_macs`` with a topology in it."""
        return dict(zip(('detector_params', 'detector_macs'),
                        map(int.__add__, self._rest, self._variable(topology))))

    def _variable(self, topology: Topology) -> Tuple[int, int]:
        """Both costs of backbone and neck together."""
        with torch.device('meta'):
            backbone = AsViT(topology, **self._options)
        params, macs = self._of_neck(backbone.out_channels)
        return (params + sum(p.numel() for p in backbone.parameters()),
                macs + backbone.count_macs(self._shape))

    @lru_cache(maxsize=256)
    def _of_neck(self, channels: Tuple[int, ...]) -> Tuple[int, int]:
        with DefaultScope.overwrite_default_scope(self._scope):
            neck = MODELS.build(dict(self._neck, in_channels=list(channels)))
        neck.to('meta').requires_grad_(False)
        indices = self._options.get('out_indices', (0, 1, 2, 3))
        maps = [torch.empty(1, width, *(-(-side // (4 * 2**i)) for side in self._shape),
                            device='meta') for i, width in zip(indices, channels)]
        return sum(p.numel() for p in neck.parameters()), count_macs(lambda: neck(maps))


def _pair(shape: Union[int, Sequence[int], None]) -> Optional[Tuple[int, int]]:
    """Height and width of what a config gives."""
    sides = [shape] * 2 if isinstance(shape, int) else shape
    if sides is None:
        return None
    if not isinstance(sides, (list, tuple)) or len(sides) != 2 or not all(
            type(side) is int and side >= 32 for side in sides):
        raise InputError('measure.shape must be one or two whole numbers of at least 32, '
                         f'got {shape!r}')
    return tuple(sides)
