"""The genotype of an As-ViT as a value: what it is, how it prints, what it costs.

Everything here is integer arithmetic on a frozen dataclass; no tensor, no network. The
backbone, the measures, the search and the emitted configs all speak :class:`Topology`;
genotype text exists only at the edges (configs, command lines, files).
"""
import re
from dataclasses import dataclass
from math import prod
from typing import Dict, Iterator, NamedTuple, Optional, Sequence, Tuple, Union

from mmasvit.arguments import whole_number
from mmasvit.errors import InputError
from mmasvit.geometry import (NUM_STAGES, PRETRAIN_IMG_SIZE, TOKEN_STRIDE, WindowRule,
                              plan_windows, token_grids, window_reaches)

CONV_POS_KERNEL = 3  # edge of the convolution that tells tokens where they are
MAX_WIDTH = 1024  # stage widths C, 2C, 4C, 8C stop growing here (released code)
# far beyond what anybody trains, and short of what no machine can hold
_MOST = dict(kernels=128, splits=1024, expansions=128, depths=1000)
NUM_CLASSES = 1000  # of ImageNet-1k, whose classifier the tables of the paper count

# Table 1 of the paper, in the order of the genotype's text. S4 is always 1.
SEARCH_SPACE: Dict[str, Tuple[int, ...]] = {
    'K1': (4, 5, 6, 7, 8), 'S1': (2, 4, 8), 'E1': (2, 3, 4, 5, 6),
    'K2': (2, 3, 4), 'S2': (1, 2, 4), 'E2': (2, 3, 4, 5, 6),
    'K3': (2, 3, 4), 'S3': (1, 2), 'E3': (2, 3, 4, 5, 6),
    'K4': (2, 3, 4), 'E4': (2, 3, 4, 5, 6),
    'heads': (16, 32, 64),
}  # yapf: disable

_FORM = ("'K,S,E,L|K,S,E,L|K,S,E,L|K,S,E,L|heads,C' (L and C may be left out), "
         "for example '8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180'")


@dataclass(frozen=True)
class Topology:
    """An As-ViT architecture (sections 3.1 and 3.4, table 4).

    Args:
        kernels: Edge K of the tokenizer's kernel and of the three re-embeddings'.
        splits: Attention splits S: windows along a side at the pre-training size.
        expansions: FFN expansion ratios E.
        num_heads: Heads of the last stage; the stages have h/8, h/4, h/2 and h.
        depths: Attention blocks L of the stages. Defaults to one each.
        embed_dims: Width C of the first stage. Defaults to 32.

    Raises:
        InputError: If a value is not a positive integer, a kernel is smaller than 2,
            ``num_heads`` is no multiple of 8, or a stage has more heads than channels.

    Examples:
        >>> t = Topology.parse('8,2,3|4,1,2|4,1,4|4,1,6|32')
        >>> str(t)
        '8,2,3,1|4,1,2,1|4,1,4,1|4,1,6,1|32,32'
        >>> t.widths, t.heads
        ((32, 64, 128, 256), (4, 8, 16, 32))
    """
    SPACE = SEARCH_SPACE  # no field: it has no annotation
    kernels: Tuple[int, int, int, int]
    splits: Tuple[int, int, int, int]
    expansions: Tuple[int, int, int, int]
    num_heads: int
    depths: Tuple[int, int, int, int] = (1, 1, 1, 1)
    embed_dims: int = 32

    def __post_init__(self):
        for name, most in _MOST.items():
            values = getattr(self, name)
            if not isinstance(values, (tuple, list)) or len(values) != NUM_STAGES:
                raise InputError(f'topology: {name} must have {NUM_STAGES} values, '
                                 f'got {values!r}')
            object.__setattr__(self, name, tuple(values))
            for value in values:
                whole_number(f'topology: each of {name}', value, 1, most)
        whole_number('topology: num_heads', self.num_heads, 1, 8 * MAX_WIDTH)
        whole_number('topology: embed_dims', self.embed_dims, 1, 2**20)
        if min(self.kernels) < 2:
            raise InputError('topology: kernels must be at least 2, '
                             f'got {self.kernels}')
        if self.num_heads % 8:
            raise InputError('topology: num_heads must be a multiple of 8 (the first '
                             f'stage has an eighth of them), got {self.num_heads}')
        for stage, (heads, width) in enumerate(zip(self.heads, self.widths), 1):
            if heads > width:
                raise InputError(f'topology: stage {stage} has {heads} heads but only '
                                 f'{width} channels; use fewer heads or a larger C')

    @classmethod
    def parse(cls, text: str) -> 'Topology':
        """Read genotype text; ``Topology.parse(str(t)) == t``.

        Args:
            text: ``K,S,E,L`` of the four stages and ``heads,C``, joined by ``|``.

        Raises:
            InputError: With one line that names what is wrong.
        """
        if not isinstance(text, str):
            raise InputError(f'genotype must be text, got {type(text).__name__}; '
                             f'expected {_FORM}')
        parts = text.strip().split('|')
        if len(parts) != NUM_STAGES + 1:
            raise InputError(f'genotype {text!r} has {len(parts)} parts instead of '
                             f'{NUM_STAGES + 1}; expected {_FORM}')
        fields = []
        for number, (part, shortest) in enumerate(zip(parts, (3, 3, 3, 3, 1)), 1):
            values = [value.strip() for value in part.split(',')]
            if not all(re.fullmatch('[0-9]{1,9}', value) for value in values):
                raise InputError(f'genotype {text!r}: part {number} ({part!r}) is not '
                                 'a list of whole numbers of at most 9 digits; '
                                 f'expected {_FORM}')
            if len(values) not in (shortest, shortest + 1):
                raise InputError(f'genotype {text!r}: part {number} ({part!r}) has '
                                 f'{len(values)} numbers; expected {_FORM}')
            fields.append(tuple(map(int, values)))
        *stages, (num_heads, *embed_dims) = fields
        kernels, splits, expansions = zip(*(stage[:3] for stage in stages))
        depths = tuple(stage[3] if len(stage) == 4 else 1 for stage in stages)
        return cls(kernels, splits, expansions, num_heads, depths,
                   embed_dims[0] if embed_dims else cls.embed_dims)

    @classmethod
    def of(cls, arch: Union[str, dict, 'Topology']) -> 'Topology':
        """Topology of a family member's name, genotype text, dict of fields, or itself.

        Raises:
            InputError: If ``arch`` is none of these.
        """
        if isinstance(arch, cls):
            return arch
        if isinstance(arch, dict):
            fields = cls.__dataclass_fields__
            unknown = [key for key in arch if key not in fields]
            missing = [key for key in ('kernels', 'splits', 'expansions', 'num_heads')
                       if key not in arch]
            if unknown or missing:
                raise InputError(f'arch dict: unknown keys {unknown}, missing keys '
                                 f'{missing}; expected {", ".join(fields)}')
            return cls(**arch)
        if isinstance(arch, (list, tuple)):
            # mmengine's --cfg-options splits genotype text at its commas
            arch = ','.join(map(str, arch))
        if isinstance(arch, str):
            if arch.lower() in FAMILY:
                return FAMILY[arch.lower()]
            if '|' in arch or ',' in arch:
                return cls.parse(arch)
        raise InputError(f'unknown arch {arch!r}; expected one of {sorted(FAMILY)}, '
                         f'a dict of fields, or a genotype {_FORM}')

    @classmethod
    def of_values(cls, values: Dict[str, int]) -> 'Topology':
        """The topology of depth 1 and C = 32 with a value for each name of Table 1."""
        values = {**values, 'S4': 1}
        kernels, splits, expansions = (
            tuple(values[f'{letter}{stage + 1}'] for stage in range(NUM_STAGES))
            for letter in 'KSE')
        return cls(kernels, splits, expansions, values['heads'])

    @property
    def values(self) -> Dict[str, int]:
        """Values by the names of Table 1, the inverse of :meth:`of_values`."""
        values = {'heads': self.num_heads}
        for letter, numbers in (('K', self.kernels), ('S', self.splits),
                                ('E', self.expansions)):
            values.update({f'{letter}{i + 1}': n for i, n in enumerate(numbers)})
        return {name: values[name] for name in SEARCH_SPACE}

    def __str__(self) -> str:
        stages = zip(self.kernels, self.splits, self.expansions, self.depths)
        text = '|'.join(','.join(map(str, stage)) for stage in stages)
        return f'{text}|{self.num_heads},{self.embed_dims}'

    @property
    def widths(self) -> Tuple[int, ...]:
        """Channels of the stages: C, 2C, 4C, 8C, each at most 1024."""
        return tuple(min(self.embed_dims * 2**i, MAX_WIDTH) for i in range(NUM_STAGES))

    @property
    def heads(self) -> Tuple[int, ...]:
        """Attention heads of the stages: h/8, h/4, h/2, h."""
        return tuple(self.num_heads * 2**i // 8 for i in range(NUM_STAGES))

    @property
    def head_dims(self) -> Tuple[int, ...]:
        """Width of one head per stage: ``floor(width / heads)``."""
        return tuple(w // h for w, h in zip(self.widths, self.heads))

    @property
    def attn_dims(self) -> Tuple[int, ...]:
        """Inner width of attention per stage, at most the stage's width."""
        return tuple(h * d for h, d in zip(self.heads, self.head_dims))

    @property
    def in_search_space(self) -> bool:
        """Whether Table 1 holds this choice of kernels, splits, expansions and heads."""
        return self.splits[-1] == 1 and all(
            value in SEARCH_SPACE[name] for name, value in self.values.items())

    def count_params(self, num_classes: int = 0, *, use_abs_pos_embed: bool = True,
                     use_rel_pos_bias: bool = False, use_conv_pos_embed: bool = False,
                     pretrain_img_size: int = PRETRAIN_IMG_SIZE,
                     out_indices: Tuple[int, ...] = (3, ),
                     output_norm: bool = True,
                     token_strides: Sequence[int] = (TOKEN_STRIDE, ),
                     context_channels: int = 0) -> int:
        """Learnable parameters, equal to the built network's.

        Args:
            num_classes: Classes of a ``Linear -> Tanh -> Linear`` classifier whose
                hidden width is the last stage's; 0 counts the backbone alone.
            use_abs_pos_embed: Whether positions are embedded.
            use_rel_pos_bias: Whether attention has a bias for each offset.
            use_conv_pos_embed: Whether blocks have a convolution of their tokens.
            pretrain_img_size: Side in pixels whose token grid the embedding covers, and
                whose windows the bias.
            out_indices: Stages that give an output; later ones are not built.
            output_norm: Whether each output has a LayerNorm of its own.
            token_strides: Strides with norms of their own.
            context_channels: What the FFNs see beside their tokens.
        """
        first, last = self.widths[0], self.widths[max(out_indices)]
        total, normed = 3 * first * self.kernels[0]**2 + first, first
        if use_abs_pos_embed:
            total += first * (-(-pretrain_img_size // TOKEN_STRIDE))**2
        reaches = window_reaches(self.splits, pretrain_img_size)
        for stage, reach in zip(self._built_stages(out_indices), reaches):
            biases = 3 * stage.attn_dims + stage.width + stage.hidden + stage.width
            total += stage.depth * (stage.block_weights + biases)
            total += stage.reduction_weights
            total += stage.depth * context_channels * stage.hidden
            normed += stage.depth * (2 * stage.width + context_channels)
            normed += stage.reduction_features
            if use_rel_pos_bias:
                total += stage.depth * stage.heads * (2 * reach + 1)**2
            if use_conv_pos_embed:
                total += stage.depth * stage.width * (CONV_POS_KERNEL**2 + 1)
        if output_norm:
            normed += sum(self.widths[i] for i in out_indices)
        total += len(token_strides) * 2 * normed
        if num_classes:
            total += last * (last + 1) + num_classes * (last + 1)
        return total

    def count_macs(self, size: Tuple[int, int] = (224, 224), num_classes: int = 0, *,
                   pretrain_img_size: int = PRETRAIN_IMG_SIZE,
                   token_stride: int = TOKEN_STRIDE,
                   out_indices: Tuple[int, ...] = (3, ),
                   windows: Optional[Sequence[Sequence[WindowRule]]] = None,
                   use_conv_pos_embed: bool = False, context_channels: int = 0) -> int:
        """Multiply-accumulates of matrix products and convolutions for one image.

        What the network computes, so windows at a border that are smaller than the rest
        count as small as they are; biases, norms, softmax and activations do not count.

        Args:
            size: Image height and width in pixels.
            num_classes: As in :meth:`count_params`.
            pretrain_img_size: Side in pixels that the splits refer to.
            token_stride: Stride of the tokenizer in pixels (section 4).
            out_indices: Stages that give an output; later ones are not computed.
            windows: The rules of all blocks. Defaults to the published architecture's,
                :func:`~mmasvit.geometry.plan_windows` of ``pretrain_img_size``.
            use_conv_pos_embed: As in :meth:`count_params`.
            context_channels: As in :meth:`count_params`.
        """
        grids = token_grids(size, token_stride)
        total = prod(grids[0]) * 3 * self.widths[0] * self.kernels[0]**2
        windows = windows or plan_windows(self.splits, self.depths, pretrain_img_size)
        for stage, grid, rules in zip(self._built_stages(out_indices), grids, windows):
            total += prod(grid) * stage.reduction_weights
            # pairs of tokens that meet in a window: along a side, each meets an edge
            pairs = sum(prod(sum(run.length * run.edge for run in rule.runs(*side))
                             for side in zip(grid, size)) for rule in rules)
            weights = stage.block_weights + context_channels * stage.hidden
            total += stage.depth * prod(grid) * weights
            total += 2 * pairs * stage.attn_dims
            if use_conv_pos_embed:
                total += stage.depth * prod(grid) * stage.width * CONV_POS_KERNEL**2
        if num_classes:
            last = self.widths[max(out_indices)]
            total += last * (last + num_classes)
        return total

    def costs(self) -> Dict[str, int]:
        """Parameters and multiply-accumulates as tables 4, 5 and 7 count them.

        The classifier with 1000 classes and position embedding on one image of 224 px.
        """
        return dict(params=self.count_params(NUM_CLASSES),
                    macs=self.count_macs((PRETRAIN_IMG_SIZE, ) * 2, NUM_CLASSES))

    def _built_stages(self, out_indices: Tuple[int, ...]) -> Iterator['_StageSize']:
        for i in range(max(out_indices) + 1):
            yield _StageSize(
                depth=self.depths[i], width=self.widths[i], heads=self.heads[i],
                attn_dims=self.attn_dims[i], hidden=self.expansions[i] * self.widths[i],
                reduction_features=self.kernels[i]**2 * self.widths[i - 1] if i else 0)


class _StageSize(NamedTuple):
    """The numbers of one stage that its costs are made of."""
    depth: int
    width: int
    heads: int
    attn_dims: int
    hidden: int  # of the FFN
    reduction_features: int  # K * K * C_in of the re-embedding; 0 in the first stage

    @property
    def block_weights(self) -> int:
        """Weights of one block's four linear maps, each used once per token."""
        return self.width * (4 * self.attn_dims + 2 * self.hidden)

    @property
    def reduction_weights(self) -> int:
        """Weights of the re-embedding's linear map, used once per token."""
        return self.reduction_features * self.width


# Table 4 of the paper.
FAMILY: Dict[str, Topology] = {
    'seed': Topology.parse('8,2,3,1|4,1,2,1|4,1,4,1|4,1,6,1|32,32'),
    'small': Topology.parse('8,2,3,3|4,1,2,1|4,1,4,4|4,1,6,2|32,88'),
    'base': Topology.parse('8,2,3,3|4,1,2,1|4,1,4,5|4,1,6,2|32,116'),
    'large': Topology.parse('8,2,3,5|4,1,2,2|4,1,4,5|4,1,6,2|32,180'),
}
