"""The two-layer perceptron of a block, with as little fresh memory as its result allows."""
from typing import Tuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmasvit.models.modes import carries_tangent, is_recorded, is_transformed

class LeanFFN(nn.Module):
    """Linear, GELU, linear; parameters have the names of mmcv's ``FFN``.

    It keeps one hidden map for the backward pass, not two: the activation is computed
    again there. Of all that a block keeps, its output is the largest share, and the
    cheapest to make. What is recomputed ends before the second linear layer, whose output
    nothing needs.

    On CPUs it works through the tokens in pieces. C libraries return large blocks to the
    system when they are freed, so that a hidden map of hundreds of megabytes costs more
    to have than to compute; pieces are used again, and stay in the cache.

    Args:
        embed_dims: Channels of the tokens.
        feedforward_channels: Channels of the hidden map.
        recompute: Whether to compute the activation again. Inside a block that is
            recomputed as a whole it would save nothing. Defaults to True.
        context_channels: Channels that it sees beside the tokens' own. Defaults to none.
    """
    # bytes of the hidden map of a piece: 4 to 32 MiB differed by less than the noise
    piece_bytes = 16 * 2**20

    def __init__(self, embed_dims: int, feedforward_channels: int,
                 recompute: bool = True, context_channels: int = 0):
        super().__init__()
        self.recompute = recompute
        self.feedforward_channels = feedforward_channels
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(embed_dims + context_channels, feedforward_channels),
                          nn.GELU()),
            nn.Linear(feedforward_channels, embed_dims))

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(N, tokens, embed_dims + context_channels)`` to ``embed_dims``."""
        expand, contract = self.layers[0][0], self.layers[1]
        # compilers choose for themselves what to compute again; a call of a wrapped layer,
        # which may gather its weights (FSDP), must not end half-way
        recompute = (self.recompute and self.training and torch.is_grad_enabled()
                     and type(contract) is nn.Linear and not is_recorded()
                     and not is_transformed() and not carries_tangent(x))
        outs = []
        for piece in self._pieces(x):
            hidden = expand(piece)
            outs.append(checkpoint(self._contract, hidden, use_reentrant=False,
                                   preserve_rng_state=False) if recompute
                        else self._contract(hidden))
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)

    def _pieces(self, x: Tensor) -> Tuple[Tensor, ...]:
        # a trace would keep the number of pieces for all sizes
        if x.device.type != 'cpu' or is_recorded():
            return (x, )
        token_bytes = len(x) * self.feedforward_channels * x.element_size()
        return x.split(max(1, self.piece_bytes // token_bytes), dim=1)

    def _contract(self, hidden: Tensor) -> Tensor:
        (_, activate), contract = self.layers
        return contract(activate(hidden))
