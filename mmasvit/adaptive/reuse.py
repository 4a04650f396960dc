"""What an exit of a cascade reuses of the one before it: features and relations."""
from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmasvit.arguments import one_of, whole_number
from mmasvit.errors import InputError
from mmasvit.geometry import WindowRule, token_grids
from mmasvit.models.as_vit import AsViT
from mmasvit.models.exchange import BlockExchange
from mmasvit.topology import Topology

SOURCES = ('last', 'same_stage')


@dataclass(frozen=True)
class Reuse:
    """What is reused, and how.

    Args:
        feature_source: Whose output the blocks get: ``'last'``, the last stage's, or
            ``'same_stage'``. None for no features.
        relations: Whether attention gets the logits of the exit before.
        detach_reuse: Whether gradients stop there, so that an exit learns for itself.
        context_channels: Channels of features that each block gets.
        hidden_channels: Of the perceptron that makes them.

    Raises:
        InputError: If one is none of these.
    """
    feature_source: Optional[str] = 'last'
    relations: bool = True
    detach_reuse: bool = False
    context_channels: int = 48
    hidden_channels: int = 128

    def __post_init__(self):
        if self.feature_source is not None:
            one_of('feature_source', self.feature_source, SOURCES)
        for name in ('relations', 'detach_reuse'):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f'{name} must be True or False, got '
                                 f'{getattr(self, name)!r}')
        for name in ('context_channels', 'hidden_channels'):
            whole_number(name, getattr(self, name), 1)


class Upstream(NamedTuple):
    """What an exit leaves for the next.

    Attributes:
        token_stride: Of its tokens.
        features: A map ``(N, H, W, width)`` of each stage, before the output norm.
        logits: Of attention, per stage ``(N, windows, layers * heads, h, w, h, w)``,
            layer by layer; none where nobody asked for them.
    """
    token_stride: int
    features: Tuple[Tensor, ...]
    logits: Tuple[Tensor, ...]

    def of(self, places: List[int]) -> 'Upstream':
        """The part of some of the images."""
        return Upstream(self.token_stride, *(tuple(one[places] for one in parts)
                                             for parts in self[1:]))

    def detach(self) -> 'Upstream':
        """The same without its history."""
        return Upstream(self.token_stride, *(tuple(one.detach() for one in parts)
                                             for parts in self[1:]))


class FeatureReuse(nn.Sequential):
    """From the features of an exit to the context of one block of the next.

    Args:
        in_channels: Channels of the features.
        reuse: How wide it is.
    """

    def __init__(self, in_channels: int, reuse: Reuse):
        super().__init__(nn.LayerNorm(in_channels),
                         nn.Linear(in_channels, reuse.hidden_channels), nn.GELU(),
                         nn.Linear(reuse.hidden_channels, reuse.context_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``(N, H, W, in_channels)`` to ``(N, context_channels, H, W)``."""
        return super().forward(x).permute(0, 3, 1, 2)


class RelationReuse(nn.Sequential):
    """From the logits of all blocks of a stage to terms for each block of the next exit.

    Args:
        depth: Blocks of the stage.
        heads: Attention heads of a block.
    """

    def __init__(self, depth: int, heads: int):
        maps = depth * heads
        super().__init__(nn.Conv2d(maps, 3 * maps, 1), nn.GELU(),
                         nn.Conv2d(3 * maps, maps, 1))
        self.heads = heads

    def forward(self, logits: Tensor) -> Tuple[Tensor, ...]:
        """Logits ``(N, windows, depth * heads, h, w, h, w)`` to a
        ``(N * windows, heads, h, w, h, w)`` per block."""
        window = logits.shape[3:]
        maps = super().forward(logits.flatten(0, 1).flatten(4).flatten(2, 3))
        return maps.reshape(*maps.shape[:2], *window).split(self.heads, dim=1)


class _StageReuse(nn.Module):
    """The modules of one stage.

    Args:
        topology: Of the backbone.
        stage: Which stage, 0-based.
        last: Its last stage that is built.
        reuse: What is reused.
    """

    def __init__(self, topology: Topology, stage: int, last: int, reuse: Reuse):
        super().__init__()
        depth = topology.depths[stage]
        self.features = self.relations = None
        if reuse.feature_source is not None:
            self.source = last if reuse.feature_source == 'last' else stage
            self.features = nn.ModuleList(
                FeatureReuse(topology.widths[self.source], reuse) for _ in range(depth))
        if reuse.relations:
            self.relations = RelationReuse(depth, topology.heads[stage])

    def fill(self, exchanges: Sequence[BlockExchange], upstream: Upstream, stage: int
             ) -> None:
        """Put into each block's exchange what it gets."""
        if self.features is not None:
            source = upstream.features[self.source]
            for exchange, features in zip(exchanges, self.features):
                exchange.context = features(source)
        if self.relations is not None:
            for exchange, part in zip(exchanges, self.relations(upstream.logits[stage])):
                exchange.relations = part


class ReusingAsViT(AsViT):
    """An As-ViT that reuses what one at coarser tokens has computed of the same images.

    Args:
        reuse: What it reuses.
        reused_at: Its token strides before which another has run.
        **backbone: Arguments of :class:`~mmasvit.AsViT`.
    """

    def __init__(self, reuse: Reuse, reused_at: Sequence[int], **backbone):
        wider = bool(reused_at) and reuse.feature_source is not None
        super().__init__(context_channels=reuse.context_channels if wider else 0,
                         **backbone)
        self.reuse = reuse
        self.reuses = nn.ModuleDict({str(stride): nn.ModuleList(
            _StageReuse(self.topology, i, len(self.stages) - 1, reuse)
            for i in range(len(self.stages))) for stride in reused_at})

    def forward(self, x: Tensor, token_stride: Optional[int] = None,
                upstream: Optional[Upstream] = None, export: bool = False
                ) -> Tuple[Tuple[Tensor, ...], Upstream]:
        """Compute the feature maps, and what the next exit reuses.

        Args:
            x: Images ``(N, in_channels, H, W)``.
            token_stride: As in :class:`~mmasvit.AsViT`.
            upstream: What the exit before has left. Defaults to none.
            export: Whether there is a next exit: without one, attention stays fused.

        Returns:
            The maps of ``out_indices``, and what is left for the next exit.

        Raises:
            InputError: If windows of the two strides do not match.
        """
        size, stride = tuple(x.shape[-2:]), self._stride_of(token_stride)
        exchanges = self._exchanges(size, stride, upstream, export)
        features = self.forward_features(x, stride, exchanges)
        logits = ()
        if export and self.reuse.relations:
            logits = tuple(
                torch.cat([one.logits for one in stage], dim=1).unflatten(0, (len(x), -1))
                for stage in exchanges)
        return (self.forward_outputs(features, size, stride),
                Upstream(stride, tuple(features), logits))

    def _exchanges(self, size: Tuple[int, int], stride: int,
                   upstream: Optional[Upstream], export: bool
                   ) -> List[List[BlockExchange]]:
        """What each block gets, and whether it gives."""
        export = export and self.reuse.relations
        exchanges = [[BlockExchange(export=export) for _ in stage.blocks]
                     for stage in self.stages]
        strides = {stride} if upstream is None else {stride, upstream.token_stride}
        if self.reuse.relations and (export or upstream is not None):
            check_windows(self.windows[:len(self.stages)], size, sorted(strides))
        if upstream is not None:
            if self.reuse.detach_reuse:
                upstream = upstream.detach()
            for i, part in enumerate(self.reuses[str(stride)]):
                part.fill(exchanges[i], upstream, i)
        return exchanges


def check_windows(windows: Sequence[Sequence[WindowRule]], size: Tuple[int, int],
                  token_strides: Sequence[int]) -> None:
    """Check that every window of one stride lies where one of the others' does.

    Args:
        windows: The rules of all blocks of each stage.
        size: Height and width of the image in pixels.
        token_strides: The strides.

    Raises:
        InputError: If windows of a stage differ in size or number.
    """
    for stage, rules in enumerate(windows):
        laid = {tuple(_windows_along(rule, *side) for side in zip(
                    token_grids(size, stride)[stage], size))
                for rule in rules for stride in token_strides}
        if len(laid) > 1 or 0 in next(iter(laid)):
            raise InputError(
                f'relations cannot be reused at {size[0]} x {size[1]} pixels: in stage '
                f'{stage + 1} the windows at token stride '
                f'{" and ".join(map(str, token_strides))} are not equal in size and '
                'number; take a size that they divide, or reuse.relations=False')


def _windows_along(rule: WindowRule, tokens: int, pixels: int) -> int:
    """How many equal windows tile a side; 0 if they are not equal."""
    runs = rule.runs(tokens, pixels)
    return runs[0].length // runs[0].edge if len(runs) == 1 else 0
