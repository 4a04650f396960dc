"""Networks of BN-NAS's MobileNet space as a backbone."""
from typing import List, Optional, Sequence, Tuple, Union

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, ModuleList
from mmengine.model.weight_init import PretrainedInit
from torch import Tensor, nn

from mmasvit.arguments import whole_number
from mmasvit.errors import InputError
from mmasvit.mobile_topology import (FIRST_WIDTH, IDENTITY, LAST_WIDTH, LAYERS, OPERATORS,
                                     STAGES, STEM_WIDTH, MBConv, MobileTopology)
from mmasvit.models.pretrained import load_whole

INIT_CFG = [dict(type='Kaiming', layer='Conv2d', mode='fan_out'),
            dict(type='Constant', layer='_BatchNorm', val=1.)]
NORM_CFG = dict(type='BN')


class InvertedResidual(BaseModule):
    """Expand, convolve each channel, project; a residual where the shape is kept.

    Args:
        in_channels: Channels of the incoming map.
        out_channels: Channels of the outgoing map.
        operator: Kernel and expansion.
        stride: Stride of the depthwise convolution.
        norm_cfg: The norms.
    """

    def __init__(self, in_channels: int, out_channels: int, operator: MBConv, stride: int,
                 norm_cfg: dict):
        super().__init__()
        hidden = in_channels * operator.expansion
        convs: List[nn.Module] = []
        if operator.expansion > 1:
            convs.append(conv_norm(in_channels, hidden, norm_cfg=norm_cfg))
        convs += [conv_norm(hidden, hidden, operator.kernel, stride, hidden, norm_cfg),
                  conv_norm(hidden, out_channels, act=False, norm_cfg=norm_cfg)]
        self.convs = nn.Sequential(*convs)
        self._is_residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, in_channels, H, W)`` to ``(N, out_channels, ...)``."""
        y = self.convs(x)
        return x + y if self._is_residual else y

    @property
    def norms(self) -> Tuple[nn.Module, ...]:
        """The norms, the last one last."""
        return tuple(conv.norm for conv in self.convs)


def conv_norm(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1,
              groups: int = 1, norm_cfg: dict = NORM_CFG, act: bool = True) -> ConvModule:
    """A convolution with its norm, and ReLU6 unless told otherwise."""
    return ConvModule(in_channels, out_channels, kernel, stride, kernel // 2,
                      groups=groups, norm_cfg=norm_cfg,
                      act_cfg=dict(type='ReLU6') if act else None)


class SearchedMobileNet(BaseModule):
    """A network of BN-NAS's MobileNet space, with multi-scale outputs.

    Args:
        arch: Text or list of 21 operators, or a :class:`~mmasvit.MobileTopology`.
        out_indices: What gives an output: stages 0 to 5, of stride 4, 8, 16, 16, 32, 32,
            and 6, the last convolution, which a classifier wants. What follows after the
            last is not built. Defaults to ``(0, 1, 3, 5)``, a detector's.
        frozen_stages: Stages that do not train: -1 none, 0 the stem, k it and the first
            k stages. Defaults to -1.
        norm_eval: Whether norms keep their running statistics in training, which suits
            batches too small for their own. Defaults to False.
        norm_cfg: Config of all norms. Defaults to ``dict(type='BN')``.
        init_cfg: Initialisation. With ``dict(type='Pretrained', checkpoint=...,
            prefix='backbone.')`` every tensor must fit. Defaults to Kaiming's.

    Attributes:
        topology: The :class:`~mmasvit.MobileTopology`.
        out_channels: Channels of each output, in the order of ``out_indices``.
        out_strides: Pixels from cell to cell of each.

    Raises:
        InputError: If an argument is none of the above.
    """

    def __init__(self, arch: Union[str, Sequence[int], MobileTopology],
                 out_indices: Sequence[int] = (0, 1, 3, 5), frozen_stages: int = -1,
                 norm_eval: bool = False, norm_cfg: dict = NORM_CFG,
                 init_cfg: Optional[Union[dict, Sequence[dict]]] = None):
        super().__init__(init_cfg or INIT_CFG)
        self.topology = MobileTopology.of(arch)
        self.out_indices = tuple(out_indices)
        if not self.out_indices or sorted(set(self.out_indices)) != list(
                self.out_indices) or not set(self.out_indices) <= set(range(7)):
            raise InputError('SearchedMobileNet: out_indices must be increasing numbers '
                             f'from 0 to {len(STAGES)}, got {self.out_indices}')
        self.frozen_stages = whole_number('SearchedMobileNet: frozen_stages',
                                          frozen_stages, -1, len(STAGES))
        self.norm_eval = norm_eval
        channels, strides, stride = [], [], 2
        for width, _, factor in STAGES:
            stride *= factor
            channels.append(width)
            strides.append(stride)
        self.out_channels = tuple([*channels, LAST_WIDTH][i] for i in self.out_indices)
        self.out_strides = tuple([*strides, stride][i] for i in self.out_indices)

        self.stem = nn.Sequential(
            conv_norm(3, STEM_WIDTH, 3, 2, norm_cfg=norm_cfg),
            InvertedResidual(STEM_WIDTH, FIRST_WIDTH, MBConv(3, 1), 1, norm_cfg))
        self.stages = ModuleList()
        for stage in range(min(max(self.out_indices) + 1, len(STAGES))):
            self.stages.append(nn.Sequential(*(
                InvertedResidual(layer.in_channels, layer.out_channels, OPERATORS[number],
                                 layer.stride, norm_cfg)
                for layer, number in zip(LAYERS, self.topology.operators)
                if layer.stage == stage and number != IDENTITY)))
        self.last = None
        if len(STAGES) in self.out_indices:
            self.last = conv_norm(channels[-1], LAST_WIDTH, norm_cfg=norm_cfg)
        self._freeze()

    def init_weights(self) -> None:
        """Initialise; a pretrained checkpoint replaces all of it."""
        cfg = self.init_cfg
        if not isinstance(cfg, dict) or cfg['type'] not in ('Pretrained', PretrainedInit):
            super().init_weights()
            return
        # mmengine would load what fits, and go on without a word about the rest
        may_be_left = ('last.', *(f'stages.{stage}.' for stage in
                                  range(len(self.stages), len(STAGES))))
        load_whole(self, cfg['checkpoint'], cfg.get('prefix'), may_be_left)

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Images ``(N, 3, H, W)`` to a map per entry of ``out_indices``."""
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        if self.last is not None:
            maps.append(self.last(x))
        return tuple(maps[i] for i in self.out_indices)

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.stem, *self.stages[:self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'SearchedMobileNet':
        """Switch the mode; frozen stages, and norms if told so, stay as they are."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self
