"""The DSS indicator (Zhou et al., Training-free Transformer Architecture Search, 2022)."""
import math

import torch

from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.measures.saliency import positive_network_gradients
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=True)
def dss(probe: UntrainedNetwork) -> float:
    """Synaptic diversity of attention plus synaptic saliency of the FFNs.

    Diversity is the product of the nuclear norms of weight and gradient, saliency the
    sum of ``|weight * gradient|``; both in the network of absolute weights, on an image
    of ones, with its norms (section 3 there). Embeddings do not count.
    """
    total = 0.
    for name, weight, gradient in positive_network_gradients(probe, identity_norms=False):
        if not (weight * gradient).isfinite().all():
            return math.nan  # the decomposition would raise
        if '.attn.' in name:
            diversity = (torch.linalg.matrix_norm(weight, 'nuc')
                         * torch.linalg.matrix_norm(gradient, 'nuc'))
            total += diversity.item()
        elif '.ffn.' in name:
            total += (weight * gradient).abs().sum().item()
    return total
