"""The policy of the topology search: one categorical per choice (section 3.3)."""
import heapq
from typing import Dict, Iterator, List, Optional, Sequence

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.distributions import Categorical

from mmasvit.arguments import one_of
from mmasvit.genotypes import KINDS
from mmasvit.search.space import Choice, Space


@MODELS.register_module(force=True)
class TopologyPolicy(BaseModel):
    """A joint categorical distribution over the choices of a space, uniform at first.

    As a Runner's model it is trained on ``dict(choices=..., advantages=...)``.

    Args:
        space: Choices; see :class:`~mmasvit.search.space.Space`. Defaults to
            all of the kind's.
        kind: ``'asvit'``, whose space is Table 1, or ``'mobilenet'``, BN-NAS's. Defaults
            to ``'asvit'``.

    Raises:
        InputError: As :class:`~mmasvit.search.space.Space`, or if there is no such kind.
    """

    def __init__(self, space: Optional[Dict[str, Sequence[int]]] = None,
                 kind: str = 'asvit'):
        super().__init__()
        self.space = Space(space, KINDS[one_of('model.kind', kind, KINDS)])
        self.logits = nn.ParameterDict({
            name: nn.Parameter(torch.zeros(len(values)))
            for name, values in self.space.choices.items()})

    def distributions(self) -> List[Categorical]:
        """The distribution of each choice, in the order of the space."""
        return [Categorical(logits=self.logits[name]) for name in self.space.choices]

    def probabilities(self) -> Dict[str, List[float]]:
        """Probability of each value of each choice."""
        return {name: choice.probs.tolist() for name, choice
                in zip(self.space.choices, self.distributions())}

    def log_prob(self, choices: Tensor) -> Tensor:
        """Log-probability ``(n, )`` of choices ``(n, number of choices)``, integers."""
        return sum(choice.log_prob(column) for choice, column
                   in zip(self.distributions(), choices.unbind(1)))

    def entropy(self) -> Tensor:
        """Entropy in nats, a 0-dim tensor."""
        return sum(choice.entropy() for choice in self.distributions())

    def samples(self, draw: torch.Generator) -> Iterator[Choice]:
        """Draw choices with a generator of the CPU, of the policy as it is now."""
        shares = [choice.probs.detach().cpu() for choice in self.distributions()]
        while True:
            yield tuple(torch.multinomial(share, 1, generator=draw).item()
                        for share in shares)

    def sample(self, draw: torch.Generator) -> Choice:
        """Draw one choice."""
        return next(self.samples(draw))

    def most_likely(self) -> Iterator[Choice]:
        """All choices, the most likely first; ties go to the values named first.

        The first is the most likely value of each choice, which the search returns.
        """
        losses, order = [], []
        for choice in self.distributions():
            log_probs = choice.logits.tolist()
            order.append(sorted(range(len(log_probs)), key=lambda i: -log_probs[i]))
            losses.append([log_probs[order[-1][0]] - log_probs[i] for i in order[-1]])
        start = (0, ) * len(order)
        queue, known = [(0., start)], {start}
        while queue:
            _, ranks = heapq.heappop(queue)
            yield tuple(values[rank] for values, rank in zip(order, ranks))
            for i, rank in enumerate(ranks):
                following = (*ranks[:i], rank + 1, *ranks[i + 1:])
                if rank + 1 < len(order[i]) and following not in known:
                    known.add(following)
                    loss = sum(row[r] for row, r in zip(losses, following))
                    heapq.heappush(queue, (loss, following))

    def forward(self, choices: Tensor, advantages: Tensor, mode: str = 'loss'):
        """The loss whose gradient is REINFORCE's (Williams, 1992).

        Args:
            choices: ``(n, number of choices)`` integers that were drawn.
            advantages: ``(n, )`` rewards less the baseline.
            mode: ``'loss'`` for a dict, ``'tensor'`` for the log-probabilities.
        """
        log_prob = self.log_prob(choices)
        if mode == 'tensor':
            return log_prob
        return dict(loss=-(advantages * log_prob).mean())
