"""The two-layer perceptron of a block, with as little fresh memory as its result allows."""
from typing import Tuple

import torch
from mmcv.cnn.bricks.transformer import FFN
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class LeanFFN(FFN):
    """mmcv's FFN of two layers: same parameters, same numbers, less memory.

    It keeps one hidden map for the backward pass, not two: the activation is computed
    again there. Of all that a block keeps, its output is the largest share, and the
    cheapest to make. What is recomputed ends before the second linear layer, whose output
    nothing needs.

    On CPUs it works through the tokens in pieces. C libraries return large blocks to the
    system when they are freed, so that a hidden map of hundreds of megabytes costs more
    to have than to compute; pieces are used again, and stay in the cache.

    Args:
        *args: As FFN.
        recompute: Whether to compute the activation again. Inside a block that is
            recomputed as a whole it would save nothing. Defaults to True.
        **kwargs: As FFN.
    """
    # bytes of the hidden map of a piece: 4 to 32 MiB differed by less than the noise
    piece_bytes = 16 * 2**20

    def __init__(self, *args, recompute: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.recompute = recompute

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        """Tokens ``(N, tokens, embed_dims)`` plus ``identity`` to the same."""
        # compilers choose for themselves what to compute again
        recompute = (self.recompute and self.training and torch.is_grad_enabled()
                     and not torch.compiler.is_compiling())
        outs = []
        for piece in self._pieces(x):
            hidden = self.layers[0][0](piece)
            outs.append(checkpoint(self._contract, hidden, use_reentrant=False,
                                   preserve_rng_state=False) if recompute
                        else self._contract(hidden))
        out = outs[0] if len(outs) == 1 else torch.cat(outs, dim=1)
        return identity + self.dropout_layer(out)

    def _pieces(self, x: Tensor) -> Tuple[Tensor, ...]:
        # a trace would keep the number of pieces for all sizes
        if x.device.type != 'cpu' or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return (x, )
        token_bytes = len(x) * self.feedforward_channels * x.element_size()
        return x.split(max(1, self.piece_bytes // token_bytes), dim=1)

    def _contract(self, hidden: Tensor) -> Tensor:
        return self.layers[1](self.layers[0][1](hidden))
