"""What the arguments of the backbone must be."""
from typing import Sequence, Tuple

from mmasvit.arguments import number, one_of, whole_number
from mmasvit.errors import InputError
from mmasvit.geometry import NUM_STAGES, TOKEN_STRIDES


def check_out_indices(out_indices: Sequence[int]) -> Tuple[int, ...]:
    """Stages that give an output, 0-based; negative ones count from the last stage.

    Raises:
        InputError: If they do not increase, or are none.
    """
    if isinstance(out_indices, int):
        out_indices = (out_indices, )
    indices = tuple(i + NUM_STAGES if i < 0 else i for i in out_indices)
    if (not indices or sorted(set(indices)) != list(indices)
            or not set(indices) <= set(range(NUM_STAGES))):
        raise InputError(f'AsViT: out_indices must be increasing stages out of '
                         f'0 to {NUM_STAGES - 1}, got {tuple(out_indices)}')
    return indices


def check_token_strides(token_strides: Sequence[int]) -> Tuple[int, ...]:
    """Strides, the coarsest first: rows of norms do not depend on the order given.

    Raises:
        InputError: If one is not offered or stands twice, or there is none.
    """
    strides = token_strides if isinstance(token_strides, (list, tuple)) else ()
    if not strides or len(set(strides)) < len(strides) or not (
            set(strides) <= set(TOKEN_STRIDES)):
        raise InputError(f'AsViT: token_strides must be a list of '
                         f'{", ".join(map(str, TOKEN_STRIDES))}, each at most once, '
                         f'got {token_strides!r}')
    return tuple(sorted(map(int, strides), reverse=True))


def check_options(global_blocks: Sequence[int], global_img_size: int,
                  token_reduction: str, frozen_stages: int, context_channels: int,
                  residual_init_scale: float) -> None:
    """Whatever is used as it is given.

    Raises:
        InputError: If one is not what :class:`~mmasvit.AsViT` says.
    """
    if not isinstance(global_blocks, (list, tuple)) or len(global_blocks) != NUM_STAGES:
        raise InputError(f'AsViT: global_blocks must be {NUM_STAGES} whole numbers, one '
                         f'per stage, got {global_blocks!r}')
    for blocks in global_blocks:
        whole_number('AsViT: global_blocks', blocks, 0)
    whole_number('AsViT: global_img_size', global_img_size, 1)
    one_of('AsViT: token_reduction', token_reduction, ('dilate', 'area'))
    whole_number('AsViT: frozen_stages', frozen_stages, -1, NUM_STAGES)
    whole_number('AsViT: context_channels', context_channels, 0)
    number('AsViT: residual_init_scale', residual_init_scale)
