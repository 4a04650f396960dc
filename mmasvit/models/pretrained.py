"""From a checkpoint into the backbone, with nothing lost silently."""
import re
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from mmasvit.errors import InputError
from mmasvit.models.positions import resize_bias_table
from mmasvit.topology import FAMILY, NUM_STAGES, Topology
from mmasvit.weights import read_checkpoint

POS_EMBED = 'pos_embed'
MASK_TOKEN = 'mask_token'  # of masked pre-training; nothing else needs it
NORM_STRIDES = 'norm_strides'  # which token strides have norms of their own


def fit_state_dict(module: nn.Module, state_dict: Dict[str, Tensor], prefix: str,
                   *unused) -> None:
    """Pre-hook of ``load_state_dict``: make a checkpoint of the same arch fit.

    Position embedding and bias are resized to the model's, a norm is copied to all token
    strides that the model has norms for. Parts that start at zero are zero where the
    checkpoint holds their block without them. Output norms that only one side has are
    left alone: a classifier has the last stage's, a detector one per level, and each
    loads the other's checkpoint, also with ``strict=True``. So is the token that stands
    for hidden ones in masked pre-training.

    ``state_dict`` is the copy that ``load_state_dict`` makes of the caller's dict.
    """
    if not any(key.startswith(prefix + 'stages.') for key in state_dict):
        return  # not a backbone's checkpoint: let everything be reported missing
    own_state = module.state_dict()
    if NORM_STRIDES in own_state:
        own = own_state[NORM_STRIDES]
        loaded = state_dict.setdefault(prefix + NORM_STRIDES, own)
        if not torch.equal(loaded.cpu(), own.cpu()):
            raise InputError(f'the checkpoint has norms for the token strides '
                             f'{tuple(loaded.tolist())}, the model for '
                             f'{tuple(own.tolist())}')
    for key, own in own_state.items():
        loaded = state_dict.get(prefix + key)
        if loaded is None and _starts_at_zero(key):
            if prefix + _block_of(key) + 'norm1.weight' in state_dict:
                state_dict[prefix + key] = torch.zeros_like(own)
        elif loaded is not None and loaded.shape != own.shape and (
                _shapes_fit(key, loaded, own)):
            state_dict[prefix + key] = _resize(key, loaded, own)
    own_norms = {prefix + key: value for key, value in own_state.items()
                 if _is_output_norm(key)}
    for key in [key for key in state_dict if key.startswith(prefix)
                and _is_output_norm(key[len(prefix):]) and key not in own_norms]:
        del state_dict[key]
    if MASK_TOKEN not in own_state:
        state_dict.pop(prefix + MASK_TOKEN, None)
    missing = [key for key in own_norms if key not in state_dict]
    state_dict.update({key: own_norms[key] for key in missing})
    if missing:
        print_log(f'AsViT: the checkpoint has no {", ".join(missing)}; kept as they are',
                  logger='current')


def take_stride(state_dict: Dict[str, Tensor], token_stride: int) -> Dict[str, Tensor]:
    """A plain backbone's state dict out of one with norms for several token strides.

    Args:
        state_dict: State dict of an :class:`~mmasvit.AsViT` with ``token_strides``.
        token_stride: Whose norms to take.

    Raises:
        InputError: If it has no norms for that stride.
    """
    strides = state_dict.get(NORM_STRIDES, torch.tensor(())).tolist()
    if token_stride not in strides:
        raise InputError(f'there are no norms for token stride {token_stride!r}, only '
                         f'for {tuple(strides)}')
    row = strides.index(token_stride)
    return {key: value[row].clone() if _is_norm(key) else value
            for key, value in state_dict.items() if key != NORM_STRIDES}


def _is_norm(key: str) -> bool:
    return re.search(r'(^|\.)norm\d?\.(weight|bias)$', key) is not None


def _is_output_norm(key: str) -> bool:
    return re.fullmatch(r'norm\d\.(weight|bias)', key) is not None


def _is_bias_table(key: str) -> bool:
    return key.endswith('.rel_pos_bias.table')


def _starts_at_zero(key: str) -> bool:
    return _is_bias_table(key) or '.conv_pos_embed.' in key


def _block_of(key: str) -> str:
    return re.match(r'stages\.\d+\.blocks\.\d+\.', key)[0]


def _resize(key: str, loaded: Tensor, own: Tensor) -> Tensor:
    if _is_norm(key):
        return loaded.expand_as(own).clone()
    if _is_bias_table(key):
        return resize_bias_table(loaded, own.shape[-1] // 2)
    return F.interpolate(loaded.float(), size=own.shape[2:], mode='bicubic').to(
        loaded.dtype)


def describe_state_dict(state: Dict[str, Tensor]) -> str:
    """Name the arch whose tensors ``state`` holds, as far as their shapes tell it.

    Returns:
        A family member's name, or kernels, depths and width.
    """
    found = _shapes_to_fields(state)
    if found is None:
        return 'no As-ViT'
    strides = state.get(NORM_STRIDES)
    norms = '' if strides is None else f' with norms for strides {strides.tolist()}'
    for name, topology in FAMILY.items():
        if found == _fields(topology):
            return f"As-ViT '{name}'{norms}"
    kernels, expansions, depths, width = found
    return (f'an As-ViT with kernels {kernels}, expansions {expansions}, '
            f'depths {depths}, width {width}{norms}')


def _fields(topology: Topology) -> tuple:
    return (topology.kernels, topology.expansions, topology.depths, topology.embed_dims)


def _shapes_to_fields(state: Dict[str, Tensor]) -> Optional[tuple]:
    """(kernels, expansions, depths, width) of the stages that ``state`` holds."""
    if 'patch_embed.projection.weight' not in state:
        return None
    width, _, kernel, _ = state['patch_embed.projection.weight'].shape
    kernels, expansions, depths, last_width = [kernel], [], [], width
    for i in range(NUM_STAGES):
        hidden = state.get(f'stages.{i}.blocks.0.ffn.layers.0.0.weight')
        if hidden is None:
            break
        if i:
            features = state[f'stages.{i}.downsample.norm.weight'].shape[-1]
            kernels.append(round((features / last_width)**.5))
        last_width = hidden.shape[1]
        expansions.append(hidden.shape[0] // last_width)
        depths.append(len({key.split('.')[3] for key in state
                           if key.startswith(f'stages.{i}.blocks.')}))
    return tuple(kernels), tuple(expansions), tuple(depths), width


def load_pretrained(backbone: nn.Module, checkpoint: str, prefix: Optional[str] = None,
                    map_location: str = 'cpu') -> None:
    """Load a pre-trained backbone, for instance out of a classifier's checkpoint.

    Only output norms and parts that start at zero may be missing; stages that
    ``backbone`` does not build may be left over; position embedding and bias are resized.
    The number of matched tensors is logged.

    Args:
        backbone: The :class:`~mmasvit.AsViT` to fill.
        checkpoint: Path or URL, as for mmengine's ``Pretrained``.
        prefix: What precedes the backbone's names in the checkpoint, such as
            ``'backbone.'``. Defaults to nothing.
        map_location: Where to load to. Defaults to ``'cpu'``.

    Raises:
        InputError: If the file cannot be read, if no tensor has the prefix, or if the
            checkpoint is of another arch.
    """
    state = _read_state(checkpoint, map_location)
    prefix = f'{prefix.rstrip(".")}.' if prefix else ''
    tensors = {key[len(prefix):]: value for key, value in state.items()
               if key.startswith(prefix)}
    own = backbone.state_dict()
    matched = [key for key in own if key in tensors]
    if not matched:
        raise InputError(
            f"{checkpoint}: no tensor under prefix '{prefix}' fits AsViT; the file's "
            f'prefixes are {sorted({key.split(".")[0] + "." for key in state})}')
    misfits = [f'{key} {tuple(tensors[key].shape)} instead of {tuple(own[key].shape)}'
               for key in matched if not _shapes_fit(key, tensors[key], own[key])]
    missing = [key for key in own if key not in tensors
               and not (_is_output_norm(key) or _starts_at_zero(key)
                        or key == NORM_STRIDES)]
    surplus = [key for key in tensors
               if key not in own and not _may_be_left(key, backbone)]
    if misfits or missing or surplus:
        raise InputError(
            f'{checkpoint} holds {describe_state_dict(tensors)}, the model is '
            f'{_describe(backbone.topology)}: {len(misfits)} tensors of another shape'
            f'{_first(misfits)}, {len(missing)} missing{_first(missing)}, '
            f'{len(surplus)} left over{_first(surplus)}')
    backbone.load_state_dict(tensors, strict=False)
    _log(backbone, checkpoint, prefix, own, tensors, matched)


def load_whole(backbone: nn.Module, checkpoint: str, prefix: Optional[str] = None,
               may_be_left: Tuple[str, ...] = ()) -> None:
    """Load a pre-trained backbone of any kind, all of it or nothing.

    Args:
        backbone: What to fill.
        checkpoint: As in :func:`load_pretrained`.
        prefix: As in :func:`load_pretrained`.
        may_be_left: How the names of tensors begin that the backbone need not have.

    Raises:
        InputError: If the file cannot be read, or its tensors are not the backbone's.
    """
    prefix = f'{prefix.rstrip(".")}.' if prefix else ''
    tensors = {key[len(prefix):]: value for key, value
               in _read_state(checkpoint, 'cpu').items() if key.startswith(prefix)}
    own = backbone.state_dict()
    misfits = [key for key in own if key not in tensors
               or tensors[key].shape != own[key].shape]
    misfits += [key for key in tensors if key not in own
                and not key.startswith(may_be_left)]
    if misfits:
        raise InputError(f"{checkpoint}: {len(misfits)} tensors under prefix '{prefix}' "
                         f'are not those of {type(backbone).__name__}{_first(misfits)}')
    backbone.load_state_dict({key: tensors[key] for key in own})
    print_log(f"{type(backbone).__name__}: loaded {len(own)} tensors from {checkpoint} "
              f"(prefix '{prefix}')", logger='current')


def _read_state(checkpoint: str, map_location: str) -> Dict[str, Tensor]:
    state = loaded = read_checkpoint(checkpoint, map_location)
    if isinstance(loaded, dict):
        state = loaded.get('state_dict', loaded.get('model', loaded))
    if not isinstance(state, dict):
        raise InputError(f'{checkpoint}: not a readable checkpoint (it holds '
                         f'{type(state).__name__} instead of named tensors)')
    return {re.sub(r'^module\.', '', key): value for key, value in state.items()
            if isinstance(key, str) and isinstance(value, Tensor)}


def _shapes_fit(key: str, loaded: Tensor, own: Tensor) -> bool:
    if loaded.ndim == own.ndim - 1 and _is_norm(key):  # for one stride, the same for all
        return loaded.shape == own.shape[1:]
    if loaded.ndim == own.ndim:  # the grid may differ
        if key == POS_EMBED:
            return loaded.shape[:2] == own.shape[:2]
        if _is_bias_table(key):
            return loaded.shape[0] == own.shape[0]
    return loaded.shape == own.shape


def _may_be_left(key: str, backbone: nn.Module) -> bool:
    later_stage = re.match(r'stages\.(\d)\.', key)
    return _is_output_norm(key) or key == MASK_TOKEN or (
        later_stage is not None and int(later_stage[1]) >= len(backbone.stages))


def _describe(topology: Topology) -> str:
    names = [name for name, member in FAMILY.items() if member == topology]
    return f"As-ViT '{names[0] if names else topology}'"


def _first(items: List[str]) -> str:
    return f' ({items[0]}{", ..." if len(items) > 1 else ""})' if items else ''


def _log(backbone: nn.Module, checkpoint: str, prefix: str, own: Dict[str, Tensor],
         tensors: Dict[str, Tensor], matched: List[str]) -> None:
    line = (f"AsViT: loaded {len(matched)} of {len(own)} tensors from {checkpoint} "
            f"(prefix '{prefix}')")
    if POS_EMBED in matched and tensors[POS_EMBED].shape != own[POS_EMBED].shape:
        old, new = (tuple(state[POS_EMBED].shape[2:]) for state in (tensors, own))
        line += f'; position embedding resized from {old} to {new}'
    fresh = sorted({key.split('.')[0] for key in own if key not in tensors
                    and not _starts_at_zero(key) and key != NORM_STRIDES})
    if fresh:
        line += f'; not in the checkpoint and newly initialised: {", ".join(fresh)}'
    zero = sum(key not in tensors and _starts_at_zero(key) for key in own)
    if zero:
        line += f'; {zero} tensors of parts that start at zero'
    print_log(line, logger='current')
