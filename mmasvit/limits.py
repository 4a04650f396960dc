"""What a topology may cost."""
from dataclasses import asdict, dataclass
from typing import Dict, Optional

from mmasvit.arguments import number
from mmasvit.errors import InputError
from mmasvit.genotypes import Genotype


@dataclass(frozen=True)
class Constraint:
    """Sizes that a topology must keep, or must reach; see its ``costs()``.

    Args:
        macs: Multiply-accumulates. Defaults to no limit.
        params: Parameters. Defaults to no limit.

    Raises:
        InputError: If a limit is not a positive number.
    """
    macs: Optional[float] = None
    params: Optional[float] = None

    def __post_init__(self):
        for name, limit in self.given.items():
            number(name, limit, above=0)

    @property
    def given(self) -> Dict[str, float]:
        """The limits that there are, by cost."""
        return {name: limit for name, limit in asdict(self).items() if limit is not None}

    @property
    def is_free(self) -> bool:
        """Whether there is no limit."""
        return not self.given

    def allows(self, topology: Genotype) -> bool:
        """Whether a topology is not above any of the limits."""
        costs = {} if self.is_free else topology.costs()
        return all(costs[name] <= limit for name, limit in self.given.items())

    def reached(self, topology: Genotype) -> bool:
        """Whether a topology has reached one of the limits."""
        costs = {} if self.is_free else topology.costs()
        return any(costs[name] >= limit for name, limit in self.given.items())

    def check_above(self, topology: Genotype, word: str) -> None:
        """Raise :class:`InputError` unless every limit is above what a topology costs.

        Args:
            topology: The topology.
            word: What the config calls the limits.
        """
        costs = topology.costs()
        for name, limit in self.given.items():
            if limit <= costs[name]:
                raise InputError(f'{word}.{name}={limit:.4g} is not above the seed '
                                 f'topology, which has {costs[name]:.4g}')
