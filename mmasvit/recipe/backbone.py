"""Which backbone a recipe's detector has, and the weights that it starts from."""
import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

from mmasvit.arguments import check_shape
from mmasvit.engine.launch import load_config
from mmasvit.errors import InputError
from mmasvit.files import read_json
from mmasvit.recipe.facts import BaseFacts
from mmasvit.topology import NUM_STAGES, Topology


class Backbone(NamedTuple):
    """What changes in the base's backbone.

    Attributes:
        changes: Overrides of the backbone's config; empty if there are none.
        in_channels: Of the neck; None if they stay.
        is_as_vit: Whether it is an As-ViT.
        from_scratch: Whether it starts from random weights.
        why: Lines that say so.
    """
    changes: Dict[str, Any]
    in_channels: Optional[List[int]]
    is_as_vit: bool
    from_scratch: bool
    why: List[str]


def choose_backbone(base: BaseFacts, arch: Optional[str],
                    init: Optional[str]) -> Backbone:
    """Put an arch and weights into a base.

    Args:
        base: The config that is built on.
        arch: A family member's name, genotype, ``topology.json``, ``family.json`` (with
            ``:NAME`` if it has several members) or an emitted config; None for the base's
            own backbone.
        init: A checkpoint whose backbone to start from.

    Raises:
        InputError: If one of them does not exist or the base cannot take it.
    """
    old = base.model.get('backbone') or {}
    changes: Dict[str, Any] = {}
    in_channels, why = None, []
    if arch is not None:
        topology, name = read_topology(arch)
        levels = _levels(base)
        in_channels = [topology.widths[level] for level in levels]
        if old.get('type') == 'AsViT':
            changes['arch'] = name
        else:
            changes.update(_delete_=True, type='AsViT', arch=name, out_indices=levels)
        why.append(f'backbone As-ViT {name}')
    weights, said = _weights(old, init, new_arch=arch is not None)
    why.append(said)
    if weights != 'kept':
        changes['init_cfg'] = weights
    if weights is None and arch is None:
        # what is frozen must have learned something
        changes.update({key: value for key, value in
                        (('frozen_stages', -1), ('norm_eval', False))
                        if old.get(key, value) != value})
    return Backbone(changes, in_channels,
                    arch is not None or old.get('type') == 'AsViT', weights is None, why)


def _weights(old: dict, init: Optional[str], new_arch: bool):
    """``init_cfg`` of the backbone, ``'kept'`` if it stays, and a line about it."""
    if init:
        if '://' not in init and not os.path.isfile(init):
            raise InputError(f'--init: checkpoint {init} does not exist')
        return (dict(type='Pretrained', prefix='backbone.', checkpoint=init),
                f"backbone's weights from {init}")
    own = old.get('init_cfg') or {}
    checkpoint = own.get('checkpoint') if isinstance(own, dict) else None
    there = checkpoint and ('://' in checkpoint or os.path.isfile(checkpoint))
    if there and not new_arch:
        return 'kept', f"backbone's weights from {checkpoint}, as in the base"
    absent = f' ({checkpoint} is not there)' if checkpoint and not new_arch else ''
    return None, f'from random weights{absent}; --init CHECKPOINT starts from others'


def _levels(base: BaseFacts) -> tuple:
    """Stages that give an output: as many of the last ones as the neck takes."""
    neck = base.model.get('neck')
    channels = neck.get('in_channels') if isinstance(neck, dict) else None
    if not isinstance(channels, (list, tuple)) or not 0 < len(channels) <= NUM_STAGES:
        raise InputError(f'base {base.path}: its neck does not say the channels of at '
                         f'most {NUM_STAGES} maps, so that no other arch fits below it')
    return tuple(range(NUM_STAGES - len(channels), NUM_STAGES))


def read_topology(arch: str) -> tuple:
    """A topology by name, genotype, or the file of a search, a scaling or a config.

    Returns:
        The topology, and the text that stands for it in a config.

    Raises:
        InputError: If it is none of these.
    """
    path, _, member = arch.partition('.json:')
    path = f'{path}.json' if member else arch
    if path.endswith('.json'):
        text = _of_json(path, member)
    elif path.endswith('.py'):
        text = _of_config(path)
    else:
        text = arch
    topology = Topology.of(text)
    return topology, text if isinstance(text, str) else str(topology)


def _of_json(path: str, member: str) -> str:
    """A genotype out of ``topology.json`` or ``family.json``."""
    try:
        result = read_json(path)
    except InputError as error:
        raise InputError(f'--arch {error}; it is neither the topology.json of a search '
                         'nor the family.json of a scaling') from None
    if 'topology' in result:
        return result['topology']
    try:
        check_shape('', result, dict(targets=[dict(topology=str, configs=[str])]))
        named = {Path(target['configs'][1]).stem.removeprefix('cascade_asvit_')
                 .removesuffix('_coco'): target['topology']
                 for target in result['targets']}
    except (InputError, IndexError):
        named = {}
    if not named:
        raise InputError(f'--arch {path} is neither the topology.json of a search nor '
                         'the family.json of a scaling')
    if not member and len(named) == 1:
        return next(iter(named.values()))
    if member not in named:
        raise InputError(f'--arch {path} holds several topologies: add one, as in '
                         f'{path}:{next(iter(named))} (of {", ".join(named)})')
    return named[member]


def _of_config(path: str) -> Any:
    backbone = (load_config(path).get('model') or {}).get('backbone') or {}
    if backbone.get('type') != 'AsViT':
        raise InputError(f'--arch {path}: its model has no AsViT backbone')
    arch = backbone.get('arch', 'small')
    return arch if isinstance(arch, str) else dict(arch)
