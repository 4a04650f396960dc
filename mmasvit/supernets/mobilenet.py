"""The MobileNet space of BN-NAS in one network."""
from typing import Dict, Optional, Sequence, Tuple, Union

from mmengine.model import ModuleDict
from torch import Tensor, nn

from mmasvit.mobile_topology import (FIRST_WIDTH, IDENTITY, LAST_WIDTH, LAYERS, OPERATORS,
                                     STEM_WIDTH, MBConv, MobileTopology)
from mmasvit.models.mobilenet import INIT_CFG, InvertedResidual, conv_norm
from mmasvit.supernets.supernet import Scope, Supernet

NORM_CFG = dict(type='BN')


class MobileNetSupernet(Supernet):
    """Networks of BN-NAS's MobileNet space in one backbone, as its code has them.

    No weights are shared between candidates. The last of the three BatchNorms of each is
    the one whose gamma scores it; an identity has none and scores 0.

    Args:
        space: Operators by layer; see :class:`~mmasvit.search.space.Space`. Defaults to
            all. An additive score never chooses an identity, so BN-NAS places them by
            hand: ``space=dict(layer2=[-1], ...)``.
        bn_scope: See :class:`Supernet`. Layers are ``layer1`` to ``layer21``. Defaults to
            ``'last'``, the code's way; the paper's text says ``'all'``.
        seed: Which paths are drawn. Defaults to 0.
        init_cfg: Initialisation. Defaults to Kaiming's.

    Raises:
        InputError: If an argument is none of the above.
    """

    def __init__(self, space: Optional[Dict[str, Sequence[int]]] = None,
                 bn_scope: Scope = 'last', seed: int = 0,
                 init_cfg: Optional[Union[dict, Sequence[dict]]] = None):
        super().__init__(MobileTopology, space, bn_scope, seed, init_cfg or INIT_CFG)
        self.stem = nn.Sequential(
            conv_norm(3, STEM_WIDTH, 3, 2),
            InvertedResidual(STEM_WIDTH, FIRST_WIDTH, MBConv(3, 1), 1, NORM_CFG))
        self.layers = ModuleDict()
        for layer, (name, values) in zip(LAYERS, self.space.choices.items()):
            self.layers[name] = ModuleDict()
            for number in values:
                operator = nn.Identity() if number == IDENTITY else InvertedResidual(
                    layer.in_channels, layer.out_channels, OPERATORS[number],
                    layer.stride, NORM_CFG)
                self.layers[name][str(number)] = operator
        self.last = conv_norm(LAYERS[-1].out_channels, LAST_WIDTH)
        self.out_channels = (LAST_WIDTH, )
        self._freeze()

    def candidates(self) -> Dict[str, Dict[str, Tuple[nn.Module, ...]]]:
        """The norms of every candidate of every layer, the last one last."""
        return {layer: {number: getattr(operator, 'norms', ())
                        for number, operator in operators.items()}
                for layer, operators in self.layers.items()}

    def candidates_of(self, topology: MobileTopology) -> Dict[str, str]:
        """The candidate of each layer that a path takes."""
        return {name: str(number) for name, number in topology.values.items()}

    def forward_path(self, x: Tensor, topology: MobileTopology) -> Tuple[Tensor, ...]:
        """Images to the one map of a path."""
        x = self.stem(x)
        for name, number in self.candidates_of(topology).items():
            x = self.layers[name][number](x)
        return self.last(x),
