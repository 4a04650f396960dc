"""Synaptic flow (Tanaka et al., Pruning neural networks without any data, NeurIPS 2020)."""
from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.measures.saliency import positive_network_gradients
from mmasvit.complexity.untrained import UntrainedNetwork


@measure(higher_is_better=True)
def synflow(probe: UntrainedNetwork) -> float:
    """Sum of ``|weight * gradient|`` in the network of absolute weights, on ones.

    Norms are left out: the flow through a layer is conserved only without them. The
    magnitude matters in attention alone, whose softmax gives negative gradients to
    positive weights.
    """
    return sum((weight * gradient).abs().sum().item() for _, weight, gradient
               in positive_network_gradients(probe, identity_norms=True))
