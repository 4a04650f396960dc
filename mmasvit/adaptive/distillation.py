"""What coarse tokens learn from fine ones."""
from dataclasses import dataclass
from typing import Dict, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from mmasvit.arguments import number
from mmasvit.errors import InputError

Output = Union[Tensor, Sequence[Tensor]]


@dataclass(frozen=True)
class Distillation:
    """How a stride learns from the finest one.

    Logits ``(N, classes)`` by their divergence, maps ``(N, C, H, W)`` by their squared
    difference over the mean square of the finest's, so that the weight means the same
    whatever a neck's scale.

    Args:
        weight: Share of distillation, from 0 to 1; the rest is the task's.
        temperature: Of logits.

    Raises:
        InputError: If one is out of range.
    """
    weight: float = 0.5
    temperature: float = 1.

    def __post_init__(self):
        number('temperature', self.temperature, above=0)
        number('weight', self.weight)
        if not 0 <= self.weight <= 1:
            raise InputError(f'weight must be from 0 to 1, got {self.weight!r}')

    @staticmethod
    def detached(output: Output) -> Tuple[Tensor, ...]:
        """The finest stride's output as a target: no gradient reaches it."""
        return tuple(part.detach() for part in _parts(output))

    def loss(self, output: Output, target: Sequence[Tensor]) -> Tensor:
        """How far an output is from a target, a number."""
        terms = [self._logits(own, fine) if own.ndim == 2 else _maps(own, fine)
                 for own, fine in zip(_parts(output), target)]
        return torch.stack(terms).mean()

    def mixed(self, losses: Dict[str, object], output: Output,
              target: Sequence[Tensor]) -> Dict[str, object]:
        """A stride's losses with the share of the task, and that of distillation."""
        share = 1 - self.weight
        mixed = {}
        for name, value in losses.items():
            if 'loss' in name:  # which mmengine sums; anything else is only logged
                value = ([part * share for part in value]
                         if isinstance(value, (list, tuple)) else value * share)
            mixed[name] = value
        return {**mixed, 'loss_distill': self.weight * self.loss(output, target)}

    def _logits(self, own: Tensor, fine: Tensor) -> Tensor:
        own, fine = (F.log_softmax(x.float() / self.temperature, dim=1)
                     for x in (own, fine))
        return F.kl_div(own, fine, reduction='batchmean', log_target=True
                        ) * self.temperature**2


def _parts(output: Output) -> Sequence[Tensor]:
    return (output, ) if isinstance(output, Tensor) else output


def _maps(own: Tensor, fine: Tensor) -> Tensor:
    own, fine = own.float(), fine.float()
    return F.mse_loss(own, fine) / fine.square().mean().clamp(min=1e-12)
