"""A space small enough to train in seconds: layers with three operators each."""
from dataclasses import dataclass
from typing import Callable, Dict, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.model import ModuleDict
from torch import Tensor, nn

from mmasvit.genotypes import Genotype
from mmasvit.random import Purpose, generator
from mmasvit.supernets import Supernet

LAYERS = 6
Operators = Dict[str, Callable[[int], nn.Module]]  # a name, and from channels to the part


@dataclass(frozen=True)
class SmallTopology:
    """An operator, by its number, for each layer."""
    SPACE = {f'layer{i}': (0, 1, 2) for i in range(1, LAYERS + 1)}
    operators: Tuple[int, ...]

    @classmethod
    def of_values(cls, values: Dict[str, int]) -> 'SmallTopology':
        """The inverse of :attr:`values`."""
        return cls(tuple(values[name] for name in cls.SPACE))

    @property
    def values(self) -> Dict[str, int]:
        """The operators by layer."""
        return dict(zip(self.SPACE, self.operators))

    @classmethod
    def parse(cls, text: str) -> 'SmallTopology':
        """The inverse of ``str``."""
        return cls(tuple(map(int, text.split('-'))))

    def __str__(self) -> str:
        return '-'.join(map(str, self.operators))

    def costs(self) -> Dict[str, int]:
        """Layers that are not operator 1, a skip connection."""
        layers = sum(number != 1 for number in self.operators)
        return dict(params=layers, macs=layers)


class ActivatedConv(nn.Sequential):
    """ReLU and a 3 x 3 convolution."""

    def __init__(self, channels: int):
        super().__init__(nn.ReLU(),
                         nn.Conv2d(channels, channels, 3, padding=1, bias=False))


DARTS_LIKE: Operators = dict(
    conv=ActivatedConv, skip=lambda channels: nn.Identity(),
    pool=lambda channels: nn.AvgPool2d(3, 1, 1))


class SmallSupernet(Supernet):
    """Six layers between a stem and a frozen classifier, halved in the middle.

    Args:
        operators: The three, in the order of their numbers.
        normed: Which of them have a BatchNorm. Defaults to all.
        residual: Whether each layer adds to what it gets. Defaults to False.
        channels: Channels of all layers. Defaults to 16.
        num_classes: Classes. Defaults to 8.
        seed: Which paths are drawn. Defaults to 0.
        kind: What paths are. Defaults to :class:`SmallTopology`.
    """

    def __init__(self, operators: Operators = DARTS_LIKE,
                 normed: Sequence[str] = tuple(DARTS_LIKE), residual: bool = False,
                 channels: int = 16, num_classes: int = 8, seed: int = 0,
                 kind: type = SmallTopology):
        super().__init__(kind, None, 'all', seed)
        self._residual = residual
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1, bias=False),
                                  nn.BatchNorm2d(channels))
        self.layers, self.norms = ModuleDict(), ModuleDict()
        for layer in self.space.choices:
            self.layers[layer], self.norms[layer] = ModuleDict(), ModuleDict()
            for number, (name, make) in enumerate(operators.items()):
                self.layers[layer][str(number)] = make(channels)
                norm = nn.BatchNorm2d(channels) if name in normed else nn.Identity()
                self.norms[layer][str(number)] = norm
        self.head = nn.Linear(channels, num_classes)
        nn.init.normal_(self.head.weight, std=channels**-0.5)
        self._freeze()

    def candidates(self) -> Dict[str, Dict[str, Tuple[nn.Module, ...]]]:
        """The norm of every operator of every layer that has one."""
        return {layer: {number: (norm, ) if isinstance(norm, nn.BatchNorm2d) else ()
                        for number, norm in norms.items()}
                for layer, norms in self.norms.items()}

    def candidates_of(self, topology: Genotype) -> Dict[str, str]:
        """The operator of each layer."""
        return {layer: str(number) for layer, number in topology.values.items()}

    def forward_path(self, x: Tensor, topology: Genotype) -> Tensor:
        """Images ``(N, 3, H, W)`` to logits."""
        x = self.stem(x)
        for i, (layer, number) in enumerate(self.candidates_of(topology).items()):
            if i == LAYERS // 2:
                x = F.avg_pool2d(x, 2)
            y = self.norms[layer][number](self.layers[layer][number](x))
            x = x + y if self._residual else y
        return self.head(F.relu(x).mean(dim=(2, 3)))

    def scores(self) -> Dict[str, list]:
        """Mean ``|gamma|`` of each operator of each layer; 0 of one without a norm."""
        return {layer: [norms[-1].weight.detach().abs().mean().item() if norms else 0.
                        for norms in candidates.values()]
                for layer, candidates in self.candidates().items()}


def train(supernet: Supernet, images: Tensor, labels: Tensor, steps: int,
          lr: float = 0.3, batch: int = 64) -> float:
    """Train what is not frozen, BN-NAS's way; the mean loss of the last tenth."""
    supernet.train()
    optimizer = torch.optim.SGD((p for p in supernet.parameters() if p.requires_grad), lr,
                                momentum=0.9)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1., 0.01, steps)
    draw, losses = generator(Purpose.IMAGES, supernet.seed, 1), []
    for step in range(steps):
        chosen = torch.randint(len(images), (batch, ), generator=draw)
        logits = supernet.forward_path(images[chosen], supernet.path_of_step(step))
        loss = F.cross_entropy(logits, labels[chosen])
        optimizer.zero_grad()
        if loss.requires_grad:  # a path may have nothing that trains
            loss.backward()
            torch.nn.utils.clip_grad_value_(supernet.parameters(), 5.)
            optimizer.step()
        schedule.step()
        losses.append(loss.item())
    last = losses[-max(1, steps // 10):]
    return sum(last) / len(last)


def gratings(count: int, size: int = 16, num_classes: int = 8, noise: float = 0.5,
             seed: int = 0) -> Tuple[Tensor, Tensor]:
    """Noisy stripes whose direction is their class: only a convolution sees it.

    Returns:
        Images ``(count, 3, size, size)`` and labels.
    """
    draw = generator(Purpose.NOISE, seed, 1)
    labels = torch.randint(num_classes, (count, ), generator=draw)
    angle = labels * torch.pi / num_classes
    phase = torch.rand(count, generator=draw) * 2 * torch.pi
    rows, columns = torch.meshgrid(*[torch.arange(float(size))] * 2, indexing='ij')
    waves = (angle.cos().view(-1, 1, 1) * columns + angle.sin().view(-1, 1, 1) * rows)
    stripes = torch.sin(1.2 * waves + phase.view(-1, 1, 1))[:, None].expand(-1, 3, -1, -1)
    return stripes + noise * torch.randn(count, 3, size, size, generator=draw), labels
