"""Gradients of the network with absolute weights, which several proxies are made of."""
import copy
from typing import List, Tuple

import torch
from torch import Tensor

from mmasvit.complexity.features import pooled_features
from mmasvit.complexity.untrained import UntrainedNetwork


def positive_network_gradients(probe: UntrainedNetwork, identity_norms: bool
                               ) -> List[Tuple[str, Tensor, Tensor]]:
    """Weights ``|W|`` and the gradients of the summed features of an image of ones.

    Args:
        probe: The network; it is not changed.
        identity_norms: Whether norms are left out.

    Returns:
        Name, weight and gradient of every weight matrix and kernel, in float64: products
        over all layers leave the range of float32.
    """
    network = copy.deepcopy(probe.backbone).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    image = torch.ones_like(probe.images[:1], dtype=torch.float64)
    named = [(name, parameter) for name, parameter in network.named_parameters()
             if parameter.ndim > 1]
    pyramid = probe.setting.features == 'pyramid'
    total = pooled_features(network, identity_norms, pyramid)(image).sum()
    gradients = torch.autograd.grad(total, [parameter for _, parameter in named])
    return [(name, parameter.detach(), gradient)
            for (name, parameter), gradient in zip(named, gradients)]
