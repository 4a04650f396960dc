"""What loops that measure untrained networks share: images, evaluator, settings."""
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Callable, Optional, Tuple, Type, TypeVar

import mmengine
import torch
from mmengine.device import get_device
from mmengine.registry import FUNCTIONS
from torch import Tensor

from mmasvit.complexity import Setting, measure_repeat
from mmasvit.datasets import ProbeImages
from mmasvit.errors import InputError
from mmasvit.measuring.evaluator import MEASUREMENTS, Evaluator, MeasurementFile, Repeat
from mmasvit.topology import Topology
from mmasvit.version import __version__

Fields = TypeVar('Fields')
DEFAULT_MEASURE = 'measure_repeat'


def probe_dataloader(dataloader: dict, setting: Setting) -> dict:
    """A dataloader config around :class:`~mmasvit.datasets.ProbeImages`.

    The setting decides on number, size and seed of the images; the config only names
    where they come from.
    """
    dataset = dataloader.get('dataset') if isinstance(dataloader, dict) else None
    dataset = dict(dataset) if isinstance(dataset, dict) else {}
    if dataset.pop('type', None) != 'ProbeImages' or set(dataset) - {'data'}:
        raise InputError("the dataloader's dataset must be of type ProbeImages, whose "
                         f'data names the images, with nothing else, got {dataloader!r}')
    dataset.update(type='ProbeImages', image_size=setting.image_size,
                   num_images=setting.num_images, seed=setting.seed)
    return dict(dataset=dataset, batch_size=setting.num_images, num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False))


def build_evaluator(work_dir: str, setting: Setting, images: ProbeImages,
                    measure: Optional[str] = None, threads: int = 1
                    ) -> Tuple[Evaluator, dict]:
    """An evaluator that keeps ``measurements.jsonl`` in a work directory.

    Args:
        work_dir: The folder.
        setting: How to measure.
        images: What to measure on.
        measure: Name in mmengine's ``FUNCTIONS`` of a function that is called like
            :func:`~mmasvit.complexity.measure_repeat`. Defaults to that.
        threads: Intra-op threads per item.

    Returns:
        The evaluator, and all that its numbers depend on, for the results.

    Raises:
        InputError: If the function is unknown, or the folder's measurements depend on
            something else.
    """
    function = FUNCTIONS.get(str(measure)) if measure else measure_repeat
    if function is None:
        raise InputError(f'measure {measure!r} is not in the registry of functions')
    device = torch.cuda.get_device_name() if get_device() == 'cuda' else 'cpu'
    origin = dict(measure=measure or DEFAULT_MEASURE, threads=threads,
                  setting=asdict(setting), data=images.description,
                  torch=str(torch.__version__), device=device)
    file = MeasurementFile(str(Path(work_dir, MEASUREMENTS)), origin)
    measure_item = partial(_measure, function, setting, images.images)
    return Evaluator(measure_item, setting.repeats, file, threads), origin


def _measure(function: Callable[..., Repeat], setting: Setting, images: Tensor,
             topology: Topology, repeat: int) -> Repeat:
    return function(topology, setting, repeat, images=images, device=get_device())


def from_dict(cls: Type[Fields], name: str, values: Optional[dict], **defaults) -> Fields:
    """Build a dataclass of settings from a dict ``<name>`` of a loop's config.

    Args:
        cls: The dataclass.
        name: What the config calls it.
        values: What the config gives; None is the same as nothing.
        defaults: Values of fields that the config leaves out.

    Raises:
        InputError: If it is no dict, or a field is unknown or refused.
    """
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise InputError(f'{name} must be a dict, got {values!r}')
    unknown = set(values) - set(cls.__dataclass_fields__)
    if unknown:
        raise InputError(f'{name}: unknown {", ".join(sorted(unknown))}; '
                         f'expected some of {", ".join(cls.__dataclass_fields__)}')
    try:
        return cls(**{**defaults, **values})
    except InputError as error:
        raise InputError(f'{name}: {error}') from None


def plain(value):
    """Tuples and config dicts as lists and dicts, as they come back from a file."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def versions() -> dict:
    """Versions that a result depends on."""
    return dict(mmasvit=__version__, torch=str(torch.__version__),
                mmengine=mmengine.__version__)
