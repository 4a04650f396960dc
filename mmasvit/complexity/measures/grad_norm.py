"""Norm of the gradient (Abdelfattah et al., Zero-Cost Proxies, ICLR 2021)."""
import torch
import torch.nn.functional as F

from mmasvit.complexity.measures.registry import measure
from mmasvit.complexity.untrained import UntrainedNetwork
from mmasvit.random import Purpose, generator

NUM_CLASSES = 10


@measure(higher_is_better=True)
def grad_norm(probe: UntrainedNetwork) -> float:
    """Sum over the weights of their gradients' norms, cross-entropy on random labels.

    A random linear classifier stands on the features, so that the measure needs no
    labels and is the same for all data.
    """
    draw = generator(Purpose.CLASSIFIER, probe.setting.seed, probe.repeat)
    features = probe.features(probe.images)
    head = torch.randn(NUM_CLASSES, features.shape[1], generator=draw)
    labels = torch.randint(NUM_CLASSES, (len(features), ), generator=draw)
    logits = features @ head.to(features).T / features.shape[1]**0.5
    loss = F.cross_entropy(logits, labels.to(features.device))
    weights = [p for p in probe.backbone.parameters() if p.ndim > 1]
    gradients = torch.autograd.grad(loss, weights)
    return sum(gradient.norm().item() for gradient in gradients)
