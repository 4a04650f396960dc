"""The genotype of a network of BN-NAS's MobileNet space as a value, and what it costs.

The space, the order of the operators and the two published architectures are those of
"BN-NAS: Neural Architecture Search with Batch Normalization" (ICCV 2021) and its code.
"""
import re
from dataclasses import dataclass
from math import prod
from typing import Dict, Iterator, List, NamedTuple, Tuple, Union

from mmasvit.arguments import whole_number
from mmasvit.errors import InputError

IDENTITY = -1  # the operator that leaves a layer out


class MBConv(NamedTuple):
    """An operator: an inverted residual.

    Attributes:
        kernel: Edge of the depthwise kernel.
        expansion: Hidden channels over the incoming ones.
    """
    kernel: int
    expansion: int


# By their numbers in a genotype: k3e3, k3e6, k5e3, k5e6, k7e3, k7e6.
OPERATORS = tuple(MBConv(kernel, expansion) for kernel in (3, 5, 7)
                  for expansion in (3, 6))
STEM_WIDTH, FIRST_WIDTH, LAST_WIDTH = 40, 24, 1728
# Channels, layers and stride of the stages. The first layer of each has the stride.
STAGES = ((32, 4, 2), (56, 4, 2), (112, 4, 2), (128, 4, 1), (256, 4, 2), (432, 1, 1))
IMG_SIZE, NUM_CLASSES = 224, 1000  # that published costs are counted with


class Layer(NamedTuple):
    """A place for an operator.

    Attributes:
        stage: Its stage, from 0.
        in_channels: Channels of the incoming map.
        out_channels: Channels of the outgoing map.
        stride: Stride of the depthwise convolution.
    """
    stage: int
    in_channels: int
    out_channels: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether a residual connection, and the identity, are possible."""
        return self.stride == 1 and self.in_channels == self.out_channels


def _layers() -> Iterator[Layer]:
    width = FIRST_WIDTH
    for stage, (out_channels, count, stride) in enumerate(STAGES):
        for number in range(count):
            yield Layer(stage, width, out_channels, 1 if number else stride)
            width = out_channels


LAYERS: Tuple[Layer, ...] = tuple(_layers())
MOBILE_SPACE: Dict[str, Tuple[int, ...]] = {
    f'layer{number}': (*range(len(OPERATORS)), *([IDENTITY] if layer.keeps_shape else []))
    for number, layer in enumerate(LAYERS, 1)}

_FORM = (f'[{len(LAYERS)} whole numbers], operators 0 to {len(OPERATORS) - 1} (k3e3, '
         f'k3e6, k5e3, k5e6, k7e3, k7e6) or {IDENTITY}, the identity')


@dataclass(frozen=True)
class MobileTopology:
    """A network of BN-NAS's MobileNet space: an operator for each of 21 layers.

    Args:
        operators: Numbers of the operators, -1 for the identity.

    Raises:
        InputError: If they are not as many as there are layers, one is no operator, or
            the identity stands where the shape changes.

    Examples:
        >>> print(MobileTopology.parse('[3,-1,0,4,0,-1,-1,0,4,-1,4,4,1,4,2,0,0,4,0,2,2]'))
        [3,-1,0,4,0,-1,-1,0,4,-1,4,4,1,4,2,0,0,4,0,2,2]
    """
    SPACE = MOBILE_SPACE  # no field: it has no annotation
    operators: Tuple[int, ...]

    def __post_init__(self):
        given = self.operators
        if not isinstance(given, (tuple, list)) or len(given) != len(LAYERS):
            raise InputError(f'path {given!r} is not of the MobileNet space: it must be '
                             f'{_FORM}')
        object.__setattr__(self, 'operators', tuple(given))
        for (name, allowed), operator in zip(MOBILE_SPACE.items(), given):
            whole_number(f'path: {name}', operator, IDENTITY, len(OPERATORS) - 1)
            if operator not in allowed:
                raise InputError(f'path: {name} changes the shape of the map, so it '
                                 f'cannot be {IDENTITY}, the identity')

    @classmethod
    def parse(cls, text: str) -> 'MobileTopology':
        """Read ``'[3,-1,0,...]'``; ``parse(str(t)) == t``.

        Raises:
            InputError: With one line that names what is wrong.
        """
        found = isinstance(text, str) and re.fullmatch(
            r'\[?(\s*-?\d{1,3}\s*(?:,\s*-?\d{1,3}\s*)*)\]?', text.strip())
        if not found:
            raise InputError(f'path {text!r} is not of the MobileNet space: it must be '
                             f'{_FORM}')
        return cls(tuple(int(word) for word in found[1].split(',')))

    @classmethod
    def of(cls, arch: Union[str, dict, list, 'MobileTopology']) -> 'MobileTopology':
        """Topology of its text, a list of operators, a dict of fields, or itself.

        Raises:
            InputError: If ``arch`` is none of these.
        """
        if isinstance(arch, cls):
            return arch
        if isinstance(arch, dict) and set(arch) == {'operators'}:
            arch = arch['operators']
        return cls(tuple(arch)) if isinstance(arch, (list, tuple)) else cls.parse(arch)

    @classmethod
    def of_values(cls, values: Dict[str, int]) -> 'MobileTopology':
        """The topology of a value for each name of :data:`MOBILE_SPACE`."""
        return cls(tuple(values[name] for name in MOBILE_SPACE))

    @property
    def values(self) -> Dict[str, int]:
        """The inverse of :meth:`of_values`."""
        return dict(zip(MOBILE_SPACE, self.operators))

    def __str__(self) -> str:
        return f'[{",".join(map(str, self.operators))}]'

    def count_params(self, num_classes: int = 0) -> int:
        """Learnable parameters, equal to the built network's.

        Args:
            num_classes: Classes of a linear classifier; 0 counts the backbone alone.
        """
        weights = sum(conv.weights + 2 * conv.out_channels for conv in self._convs())
        return weights + num_classes * (LAST_WIDTH + 1)

    def count_macs(self, size: Tuple[int, int] = (IMG_SIZE, ) * 2,
                   num_classes: int = 0) -> int:
        """Multiply-accumulates of the convolutions and the classifier for one image.

        Args:
            size: Height and width of the image in pixels.
            num_classes: As in :meth:`count_params`.
        """
        total = num_classes * LAST_WIDTH
        for conv in self._convs():
            size = tuple(-(-side // conv.stride) for side in size)
            total += prod(size) * conv.weights
        return total

    def costs(self) -> Dict[str, int]:
        """Parameters and multiply-accumulates as BN-NAS counts them.

        The classifier with 1000 classes, on one image of 224 px.
        """
        return dict(params=self.count_params(NUM_CLASSES),
                    macs=self.count_macs(num_classes=NUM_CLASSES))

    def _convs(self) -> Iterator['_Conv']:
        yield _Conv(3, STEM_WIDTH, 3, 2)
        yield from _inverted_residual(STEM_WIDTH, FIRST_WIDTH, MBConv(3, 1), 1)
        for layer, number in zip(LAYERS, self.operators):
            if number != IDENTITY:
                yield from _inverted_residual(layer.in_channels, layer.out_channels,
                                              OPERATORS[number], layer.stride)
        yield _Conv(LAYERS[-1].out_channels, LAST_WIDTH)


class _Conv(NamedTuple):
    """A convolution without bias that a norm follows."""
    in_channels: int  # of a group
    out_channels: int
    kernel: int = 1
    stride: int = 1

    @property
    def weights(self) -> int:
        return self.in_channels * self.out_channels * self.kernel**2


def _inverted_residual(in_channels: int, out_channels: int, operator: MBConv,
                       stride: int) -> List[_Conv]:
    hidden = in_channels * operator.expansion
    expand = [_Conv(in_channels, hidden)] if operator.expansion > 1 else []
    return [*expand, _Conv(1, hidden, operator.kernel, stride),
            _Conv(hidden, out_channels)]


# Found at 224 px: by BN-NAS, and by "Single Path One-Shot" in the same space.
PUBLISHED: Dict[str, MobileTopology] = {
    'bnnas': MobileTopology.parse('[3,-1,0,4,0,-1,-1,0,4,-1,4,4,1,4,2,0,0,4,0,2,2]'),
    'spos': MobileTopology.parse('[0,-1,0,0,4,-1,-1,2,0,-1,4,4,3,0,2,1,0,4,2,5,2]'),
}
