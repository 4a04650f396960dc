"""As-ViT, the backbone of "Auto-Scaling Vision Transformers without Training"."""
from typing import Dict, List, Optional, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList
from mmengine.model.weight_init import PretrainedInit, trunc_normal_
from torch import Tensor, nn

from mmasvit.arguments import one_of
from mmasvit.errors import InputError
from mmasvit.geometry import (GLOBAL_IMG_SIZE, NUM_STAGES, PRETRAIN_IMG_SIZE,
                              TOKEN_STRIDE, TOKEN_STRIDES, ceil_div, plan_windows,
                              window_reaches)
from mmasvit.models import pretrained
from mmasvit.models.checks import (check_options, check_out_indices,
                                   check_token_strides)
from mmasvit.models.exchange import BlockExchange
from mmasvit.models.modes import is_symbolic, sizes
from mmasvit.models.norms import StrideLN, build_map_norm, normalise_map
from mmasvit.models.stage import AsViTStage
from mmasvit.models.tokenizer import ReEmbedding, Tokenizer
from mmasvit.topology import Topology

INIT_CFG = [dict(type='TruncNormal', layer='Linear', std=.02),
            dict(type='Constant', layer='LayerNorm', val=1.)]


class AsViT(BaseModule):
    """As-ViT backbone with multi-scale outputs.

    A PyTorch implementation of `Auto-Scaling Vision Transformers without Training
    <https://arxiv.org/abs/2202.11921>`_ (section 3.1, table 4). It takes images of any
    size from one token (4 x 4 pixels) up. A window of attention covers a fixed number of
    pixels: at ``pretrain_img_size`` a stage with S splits has S x S windows, larger
    images have more windows and not larger ones.

    Args:
        arch: A member of the family (``'seed'``, ``'small'``, ``'base'``, ``'large'``),
            genotype text, a dict of :class:`~mmasvit.Topology`'s fields, or a topology.
            Defaults to ``'small'``.
        in_channels: Channels of the image. Defaults to 3.
        out_indices: Stages that give an output, 0-based. Later stages are not built.
            Defaults to all four.
        pretrain_img_size: Side in pixels of the images of pre-training. The splits of
            the genotype and the position embedding's grid refer to it. Defaults to 224.
        use_abs_pos_embed: Whether to learn a position embedding. It is resized
            (bicubic) to the grid in use, at run time and on load. Defaults to True.
        use_rel_pos_bias: Whether attention learns a bias for each offset between two
            tokens of a window. It starts at zero. Defaults to False.
        use_conv_pos_embed: Whether each block adds a 3 x 3 depthwise convolution of its
            tokens to them, which tells them where the border is and reaches across
            windows. It starts at zero. Defaults to False.
        output_norm: Whether each output has a norm of its own. Defaults to True.
        shift_windows: Whether every other block shifts its windows by half a window, so
            that neighbours exchange what they know; those at the border are cut, not
            masked. No weight depends on it, and where a stage is one window, as stages
            2 to 4 of the family at ``pretrain_img_size``, nothing changes. Defaults to
            False, the published architecture.
        global_blocks: How many of each stage's last blocks attend to the whole map, for
            example ``(0, 0, 1, 2)``. Defaults to none.
        global_img_size: Side of a window of these blocks in pixels: an image up to 1.5
            times this size is seen as a whole, and the work stays linear in the pixels
            of larger ones. Defaults to 1024.
        attn_impl: ``'fused'`` or ``'explicit'``: see :meth:`set_attn_impl`. Defaults to
            ``'fused'``.
        drop_path_rate: Stochastic depth of the last block; it rises linearly from 0 at
            the first. Defaults to 0.
        norm_cfg: Config of all norms. Defaults to ``dict(type='LN')``.
        token_strides: Strides that the backbone is for, of 4, 8 and 16. Of several, each
            has norms of its own, all other weights are shared: one network for several
            numbers of tokens. The finest is the one in use at first. Defaults to
            ``(4, )``, whose one set of norms serves whatever stride is set.
        token_reduction: How fewer tokens see the image: ``'dilate'`` spreads the
            tokenizer's kernel as in the paper, ``'area'`` averages the image first. See
            :meth:`set_token_stride`. Defaults to ``'dilate'``.
        resample_outputs: Whether maps of fewer tokens are resampled to the strides and
            sizes that they have at full tokens, which necks and heads of detectors rely
            on. A classifier pools its map and needs no resampling. Defaults to True.
        frozen_stages: Stages that do not train: -1 none, 0 the tokenizer and the
            position embedding, k these and the first k stages. Defaults to -1.
        with_cp: Whether to recompute blocks in the backward pass to save memory.
            Defaults to False.
        context_channels: Channels of another network that each block's FFN sees beside
            its tokens, zeros where there is none: see :class:`~mmasvit.adaptive.DVT`.
            Defaults to 0.
        residual_init_scale: Factor of the initial weights of the last layer of each
            residual branch, after ``init_cfg``: 0 lets every block start as the
            identity, ``(2 * blocks)**-0.5`` keeps the sum of all branches at the size
            of one. Defaults to 1.
        init_cfg: Initialisation. With ``dict(type='Pretrained', checkpoint=...,
            prefix='backbone.')`` every tensor must fit: see
            :func:`mmasvit.models.pretrained.load_pretrained`. Defaults to truncated
            normal with deviation 0.02 for linear layers; the tokenizer's convolution
            keeps torch's own initialisation.

    Attributes:
        num_extra_tokens: 0: no class token, for tools that ask.
        topology: The :class:`~mmasvit.Topology`.
        out_channels: Channels of each output, in the order of ``out_indices``.
        pretrain_img_size: As given.
        token_strides: As given, the coarsest first.
        token_stride: Pixels from token to token: 4 at full tokens, 8 or 16 with fewer.
            :meth:`set_token_stride` changes it.

    Raises:
        InputError: If an argument is none of the above.

    Examples:
        >>> import torch
        >>> from mmasvit import AsViT
        >>> model = AsViT(arch='small')
        >>> for level in model(torch.rand(1, 3, 224, 224)):
        ...     print(tuple(level.shape))
        (1, 88, 56, 56)
        (1, 176, 28, 28)
        (1, 352, 14, 14)
        (1, 704, 7, 7)
    """

    num_extra_tokens = 0

    def __init__(self, arch: Union[str, dict, Topology] = 'small', in_channels: int = 3,
                 out_indices: Sequence[int] = (0, 1, 2, 3),
                 pretrain_img_size: int = PRETRAIN_IMG_SIZE,
                 use_abs_pos_embed: bool = True, use_rel_pos_bias: bool = False,
                 use_conv_pos_embed: bool = False, output_norm: bool = True,
                 shift_windows: bool = False,
                 global_blocks: Sequence[int] = (0, ) * NUM_STAGES,
                 global_img_size: int = GLOBAL_IMG_SIZE,
                 attn_impl: str = 'fused', drop_path_rate: float = 0.,
                 norm_cfg: dict = dict(type='LN'),
                 token_strides: Sequence[int] = (TOKEN_STRIDE, ),
                 token_reduction: str = 'dilate',
                 resample_outputs: bool = True, frozen_stages: int = -1,
                 with_cp: bool = False, context_channels: int = 0,
                 residual_init_scale: float = 1.,
                 init_cfg: Optional[Union[dict, Sequence[dict]]] = None):
        super().__init__(init_cfg or INIT_CFG)
        self.topology = topology = Topology.of(arch)
        check_options(global_blocks, global_img_size, token_reduction, frozen_stages,
                      context_channels, residual_init_scale)
        self.out_indices = check_out_indices(out_indices)
        self.out_channels = tuple(topology.widths[i] for i in self.out_indices)
        self.pretrain_img_size = pretrain_img_size
        self.use_conv_pos_embed = use_conv_pos_embed
        self.context_channels = context_channels
        self.resample_outputs = resample_outputs
        self.frozen_stages = frozen_stages
        self.residual_init_scale = residual_init_scale
        self.token_strides = check_token_strides(token_strides)
        self.token_stride = self.token_strides[-1]
        if len(self.token_strides) > 1:
            if norm_cfg['type'] not in ('LN', nn.LayerNorm):
                raise InputError("AsViT: several token_strides need norm_cfg of type "
                                 f"'LN', got {norm_cfg['type']!r}")
            norm_cfg = dict(norm_cfg, type=StrideLN, token_strides=self.token_strides)
            # rows of the norms mean nothing without it
            self.register_buffer(pretrained.NORM_STRIDES,
                                 torch.tensor(self.token_strides))

        self.patch_embed = Tokenizer(in_channels, topology.widths[0],
                                     topology.kernels[0], norm_cfg, token_reduction)
        self.pos_embed = None
        if use_abs_pos_embed:
            side = ceil_div(pretrain_img_size, TOKEN_STRIDE)
            self.pos_embed = nn.Parameter(torch.zeros(1, topology.widths[0], side, side))
        # on the CPU, also where the rest is built on another device
        rates = torch.linspace(0, drop_path_rate, sum(topology.depths),
                               device='cpu').tolist()
        self.windows = plan_windows(topology.splits, topology.depths, pretrain_img_size,
                                    shift_windows, global_blocks, global_img_size)
        reaches = window_reaches(topology.splits, pretrain_img_size)
        self.stages = ModuleList()
        for i in range(max(self.out_indices) + 1):
            start, width = sum(topology.depths[:i]), topology.widths[i]
            downsample = None
            if i > 0:
                downsample = ReEmbedding(topology.widths[i - 1], width,
                                         topology.kernels[i], norm_cfg)
            self.stages.append(AsViTStage(
                width, topology.heads[i], topology.expansions[i], self.windows[i],
                rates[start:start + topology.depths[i]], downsample, norm_cfg=norm_cfg,
                with_cp=with_cp, conv_pos_embed=use_conv_pos_embed,
                context_channels=context_channels,
                rel_pos_reach=reaches[i] if use_rel_pos_bias else None))
        if output_norm:
            for i in self.out_indices:
                self.add_module(f'norm{i}', build_map_norm(norm_cfg, topology.widths[i]))
        self.set_attn_impl(attn_impl)

        self.register_load_state_dict_pre_hook(pretrained.fit_state_dict)
        self._freeze()

    def init_weights(self) -> None:
        """Initialise; a pretrained checkpoint replaces what it holds."""
        cfgs = self.init_cfg
        cfgs = [cfgs] if isinstance(cfgs, dict) else list(cfgs)
        checkpoints = [cfg for cfg in cfgs
                       if cfg['type'] in ('Pretrained', PretrainedInit)]
        # mmengine would load them without a word about what does not fit
        self.init_cfg = [cfg for cfg in cfgs if cfg not in checkpoints] or INIT_CFG
        first_time = not self.is_init
        if first_time and self.pos_embed is not None:
            trunc_normal_(self.pos_embed, std=.02)
        super().init_weights()
        if first_time:
            self._scale_residuals()
        for cfg in checkpoints:
            pretrained.load_pretrained(self, cfg['checkpoint'], cfg.get('prefix'),
                                       cfg.get('map_location', 'cpu'))

    @torch.no_grad()
    def _scale_residuals(self) -> None:
        for stage in self.stages:
            for block in stage.blocks:
                block.attn.proj.weight *= self.residual_init_scale
                block.ffn.layers[1].weight *= self.residual_init_scale

    def set_attn_impl(self, attn_impl: str, fuse_downsample: Optional[bool] = None
                      ) -> None:
        """Choose how attention and re-embeddings are computed from now on.

        Args:
            attn_impl: ``'fused'`` for speed; ``'explicit'`` writes them out in
                elementary operations, for counting and for tools that cannot look into
                fused ones. They agree to 1e-5 in float32.
            fuse_downsample: Whether re-embeddings are fused. Defaults to whether
                attention is.

        Raises:
            InputError: If ``attn_impl`` is neither.
        """
        fused = one_of('AsViT: attn_impl', attn_impl, ('fused', 'explicit')) == 'fused'
        for stage in self.stages:
            for block in stage.blocks:
                block.attn.fused = fused
            if stage.downsample is not None:
                stage.downsample.fused = fused if fuse_downsample is None else (
                    fuse_downsample)

    @property
    def out_strides(self) -> Tuple[int, ...]:
        """Pixels from cell to cell of each output, in the order of ``out_indices``."""
        stride = TOKEN_STRIDE if self.resample_outputs else self.token_stride
        return tuple(stride * 2**i for i in self.out_indices)

    def set_token_stride(self, stride: int) -> None:
        """Use one token per ``stride x stride`` pixels from now on (section 4).

        Stride, dilation and padding of the tokenizer change, and nothing else: no
        weight, no entry of the state dict, no state of an optimizer. The position
        embedding is resized to the new grid, and windows keep their size in pixels.

        Args:
            stride: 4 (full tokens), 8 or 16; one of ``token_strides``, if there are
                several.

        Raises:
            InputError: If it is none of these.
        """
        self.token_stride = self._checked_stride(stride)

    def _checked_stride(self, stride: int) -> int:
        offered = TOKEN_STRIDES
        if len(self.token_strides) > 1:
            offered = self.token_strides
        if stride not in offered:
            raise InputError(f'token stride must be one of '
                             f'{", ".join(map(str, offered))}, got {stride!r}')
        return int(stride)

    def plain_state_dict(self, token_stride: int) -> Dict[str, Tensor]:
        """The state dict of a plain backbone that computes what this one does at one of
        its ``token_strides``; :meth:`set_token_stride` puts it there.

        Raises:
            InputError: If there are no norms for that stride.
        """
        return pretrained.take_stride(self.state_dict(), token_stride)

    def count_macs(self, size: Tuple[int, int], token_stride: Optional[int] = None) -> int:
        """Multiply-accumulates of one image, by :meth:`Topology.count_macs`.

        Args:
            size: Height and width of the image in pixels.
            token_stride: As in :meth:`set_token_stride`. Defaults to the one in use.
        """
        return self.topology.count_macs(
            size, token_stride=token_stride or self.token_stride,
            out_indices=self.out_indices, windows=self.windows,
            use_conv_pos_embed=self.use_conv_pos_embed,
            context_channels=self.context_channels)

    def forward(self, x: Tensor, token_stride: Optional[int] = None
                ) -> Tuple[Tensor, ...]:
        """Compute the feature maps.

        Args:
            x: Images ``(N, in_channels, H, W)`` of at least one token a side.
            token_stride: For this call, as in :meth:`set_token_stride`. Defaults to the
                one set there.

        Returns:
            One map ``(N, out_channels[i], ceil(H / out_strides[i]), ceil(W / ...))``
            per entry of ``out_indices``, of the images' dtype, under autocast too.

        Raises:
            InputError: If the image is smaller than one token.
        """
        stride = self._stride_of(token_stride)
        return self.forward_outputs(self.forward_features(x, stride), sizes(x, 2, 3),
                                    stride)

    def forward_outputs(self, features: Sequence[Tensor], size: Tuple[int, int],
                        stride: int) -> Tuple[Tensor, ...]:
        """From the stages' own maps to what :meth:`forward` returns.

        Args:
            features: From :meth:`forward_features`.
            size: Height and width of the image in pixels.
            stride: Of the tokens.
        """
        outs = []
        for i in self.out_indices:
            norm = getattr(self, f'norm{i}', nn.Identity())
            out = normalise_map(norm, features[i].permute(0, 3, 1, 2), stride)
            if self.resample_outputs:
                out = self._resample(out, size, TOKEN_STRIDE * 2**i, stride)
            outs.append(out)
        return tuple(outs)

    def forward_features(self, x: Tensor, token_stride: Optional[int] = None,
                         exchanges: Optional[Sequence[Sequence[BlockExchange]]] = None
                         ) -> List[Tensor]:
        """What :meth:`forward` computes before its norms: the stages' own maps.

        Args:
            x: As in :meth:`forward`.
            token_stride: As in :meth:`forward`.
            exchanges: With another network, for each stage one per block. Defaults to
                none.

        Returns:
            A map ``(N, H, W, width)`` of every stage that is built, as coarse as the
            tokens are.

        Raises:
            InputError: If the image is smaller than one token.
        """
        size, stride = sizes(x, 2, 3), self._stride_of(token_stride)
        if not is_symbolic(*size) and min(size) < stride:
            raise InputError(
                f'AsViT: an image of {size[0]} x {size[1]} pixels is smaller than one '
                f'token ({stride} x {stride} pixels)')
        return self.forward_tokens(self.patch_embed(x, stride), size, stride, exchanges)

    def forward_tokens(self, x: Tensor, size: Tuple[int, int], token_stride: int,
                       exchanges: Optional[Sequence[Sequence[BlockExchange]]] = None
                       ) -> List[Tensor]:
        """What follows on the tokenizer.

        Args:
            x: Tokens ``(N, H, W, width)``.
            size: Height and width of their image in pixels.
            token_stride: Pixels from token to token.
            exchanges: As in :meth:`forward_features`.

        Returns:
            As :meth:`forward_features`.
        """
        if self.pos_embed is not None:
            x = x + self.positions(sizes(x, 1, 2))
        features = []
        exchanges = exchanges or [None] * len(self.stages)
        for stage, exchange in zip(self.stages, exchanges):
            x = stage(x, size, token_stride, exchange)
            features.append(x)
        return features

    def _stride_of(self, call: Optional[int]) -> int:
        return self.token_stride if call is None else self._checked_stride(call)

    @staticmethod
    def _resample(x: Tensor, size: Tuple[int, int], stride: int, token_stride: int
                  ) -> Tensor:
        """Bring a map of fewer tokens to ``stride`` pixels from cell to cell.

        Last of all, so that the norm and the change of layout work on the few tokens.
        """
        factor = token_stride // TOKEN_STRIDE
        if factor == 1:
            return x
        # by the exact factor and then cut: stretched to the size, maps of an image that
        # coarse tokens do not divide would drift by up to a token against the boxes
        x = F.interpolate(x, scale_factor=factor, mode='bilinear')
        return x[..., :ceil_div(size[0], stride), :ceil_div(size[1], stride)].contiguous()

    def positions(self, grid: Tuple[int, int]) -> Tensor:
        """Position embedding for a token grid, ``(1, H, W, C)``."""
        positions = self.pos_embed
        if is_symbolic(*grid) or sizes(positions, 2, 3) != grid:
            positions = F.interpolate(positions, size=grid, mode='bicubic')
        return positions.permute(0, 2, 3, 1)

    def _freeze(self) -> None:
        """Stop training of the tokenizer and the first ``frozen_stages`` stages."""
        if self.frozen_stages < 0:
            return
        frozen = [self.patch_embed, *self.stages[:self.frozen_stages]]
        frozen += [getattr(self, f'norm{i}') for i in range(self.frozen_stages)
                   if hasattr(self, f'norm{i}')]
        for module in frozen:
            module.eval()
            module.requires_grad_(False)
        if self.pos_embed is not None:
            self.pos_embed.requires_grad_(False)

    def train(self, mode: bool = True) -> 'AsViT':
        """Switch the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def get_layer_depth(self, param_name: str, prefix: str = '') -> Tuple[int, int]:
        """Depth of a parameter, for layer-wise learning rate decay.

        Args:
            param_name: Name of the parameter in the whole model.
            prefix: What precedes the backbone's own names. Defaults to none.

        Returns:
            The layer (0 tokenizer and positions, 1 the first block, the last one
            output norms and heads) and the number of layers.
        """
        depths = self.topology.depths[:len(self.stages)]
        num_layers = sum(depths) + 2
        if not param_name.startswith(prefix):
            return num_layers - 1, num_layers
        name = param_name[len(prefix):].split('.')
        if name[0] in ('patch_embed', 'pos_embed', pretrained.MASK_TOKEN):
            return 0, num_layers
        if name[0] == 'stages':
            before = sum(depths[:int(name[1])])
            # a re-embedding learns at the rate of the first block it feeds
            block = int(name[3]) if name[2] == 'blocks' else 0
            return before + block + 1, num_layers
        return num_layers - 1, num_layers
