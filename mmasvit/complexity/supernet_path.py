"""One path of a trained supernet, and what the measures look at it with."""
from contextlib import contextmanager
from typing import Iterator, List, Tuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SupernetPath:
    """A path of a supernet inside a classifier of mmpretrain.

    Args:
        classifier: A classifier in evaluation mode whose backbone is a
            :class:`~mmasvit.supernets.Supernet`. It is left as it was.
        topology: The path.
        images: ``(n, 3, H, W)``, normalised as for training, on its device.

    Attributes:
        topology: As given.
        images: As given.
        norms: The BatchNorms of each layer, the last one last; none of an identity.

    Raises:
        InputError: If the path is not one of the supernet's.
    """

    def __init__(self, classifier: nn.Module, topology, images: Tensor):
        self._classifier, self._supernet = classifier, classifier.backbone
        self.topology, self.images = topology, images
        self.norms: List[Tuple[nn.Module, ...]] = list(
            self._supernet.norms_of(topology).values())

    @property
    def gammas(self) -> List[float]:
        """Mean ``|gamma|`` of the last BatchNorm of each layer that has one."""
        return [norms[-1].weight.detach().abs().double().mean().item()
                for norms in self.norms if norms]

    @property
    def trained_norms(self) -> List[nn.Module]:
        """The BatchNorms on the path whose gamma and beta were trained."""
        return [norm for norms in self.norms for norm in norms
                if norm.weight.requires_grad]

    def logits(self, images: Tensor) -> Tensor:
        """Images to the classifier's ``(n, classes)``."""
        before = self._supernet.path
        self._supernet.use(self.topology)
        try:
            return self._classifier(images, mode='tensor')
        finally:
            self._supernet.use(before)

    @contextmanager
    def statistics_of(self, images: Tensor) -> Iterator[None]:
        """Within it every BatchNorm has the statistics of a batch on this path.

        Those a supernet keeps are of all paths mixed. Afterwards they are what they were,
        to the last bit.
        """
        norms = [norm for norm in self._classifier.modules()
                 if isinstance(norm, _BatchNorm)]
        kept = [(norm.momentum, [buffer.clone() for buffer in norm.buffers()])
                for norm in norms]
        try:
            for norm in norms:
                norm.train()
                norm.momentum = 1.
            with torch.no_grad():
                self.logits(images)
            for norm in norms:
                norm.eval()
            yield
        finally:
            for norm, (momentum, buffers) in zip(norms, kept):
                norm.eval()
                norm.momentum = momentum
                for buffer, value in zip(norm.buffers(), buffers):
                    buffer.copy_(value)


def mutual_information(logits: Tensor) -> float:
    """How much predictions of the same images differ, in nats.

    The entropy of the mean prediction less the mean entropy of the predictions, averaged
    over the images: 0 where all agree.

    Args:
        logits: ``(predictions, images, classes)``.
    """
    p = logits.double().softmax(dim=-1)

    def entropy(q: Tensor) -> Tensor:
        return torch.special.entr(q).sum(dim=-1)

    return (entropy(p.mean(dim=0)) - entropy(p).mean(dim=0)).mean().item()
