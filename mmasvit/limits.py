"""What a topology may cost."""
from dataclasses import dataclass, field, replace
from typing import Callable, Collection, Dict, Optional

from mmasvit.arguments import number
from mmasvit.errors import InputError
from mmasvit.genotypes import Genotype

Costs = Callable[[Genotype], Dict[str, float]]
OWN_COSTS = ('params', 'macs')  # of every kind of topology


def own_costs(topology: Genotype) -> Dict[str, float]:
    """What every kind of topology says of itself."""
    return topology.costs()


def check_cost(word: str, name: str, known: Collection[str]) -> None:
    """Raise :class:`InputError` unless a cost is one that is known.

    Args:
        word: What the config calls it.
        name: The cost.
        known: Those that something tells of.
    """
    if name not in known:
        part = 'profile=FILE' if name == 'latency' else 'detector=CONFIG'
        raise InputError(f'{word}: nothing tells of it; name it by '
                         f"measure=dict(type='DetectorMeasures', {part})")


@dataclass(frozen=True)
class Constraint:
    """Sizes that a topology must keep, or must reach.

    Args:
        macs: Multiply-accumulates. Defaults to no limit.
        params: Parameters. Defaults to no limit.
        latency: Milliseconds of an image through the backbone, by a device's profile.
            Defaults to no limit.
        detector_macs: Multiply-accumulates of the detector around it. Defaults to no
            limit.
        detector_params: Parameters of that. Defaults to no limit.

    Attributes:
        costs: What a topology costs, by these names: its own ``costs()``, which tells of
            the first two, unless :meth:`counted_by` says something else.

    Raises:
        InputError: If a limit is not a positive number.
    """
    macs: Optional[float] = None
    params: Optional[float] = None
    latency: Optional[float] = None
    detector_macs: Optional[float] = None
    detector_params: Optional[float] = None
    costs: Costs = field(default_factory=lambda: own_costs, init=False, compare=False,
                         repr=False)

    def __post_init__(self):
        for name, limit in self.given.items():
            number(name, limit, above=0)

    def to_dict(self) -> Dict[str, Optional[float]]:
        """What a config would give, for results."""
        return dict(macs=self.macs, params=self.params, **{
            name: limit for name, limit in self.given.items()
            if name not in ('macs', 'params')})

    def counted_by(self, costs: Costs, known: Collection[str], word: str) -> 'Constraint':
        """The same limits, on other costs.

        Args:
            costs: What a topology costs.
            known: What that tells of.
            word: What the config calls the limits.

        Raises:
            InputError: If there is a limit on anything else.
        """
        for name in self.given:
            check_cost(f'{word}.{name}', name, known)
        copy = replace(self)
        object.__setattr__(copy, 'costs', costs)
        return copy

    @property
    def given(self) -> Dict[str, float]:
        """The limits that there are, by cost."""
        return {name: limit for name in LIMITS
                if (limit := getattr(self, name)) is not None}

    @property
    def is_free(self) -> bool:
        """Whether there is no limit."""
        return not self.given

    def allows(self, topology: Genotype) -> bool:
        """Whether a topology is not above any of the limits."""
        costs = {} if self.is_free else self.costs(topology)
        return all(costs[name] <= limit for name, limit in self.given.items())

    def reached(self, topology: Genotype) -> bool:
        """Whether a topology has reached one of the limits."""
        costs = {} if self.is_free else self.costs(topology)
        return any(costs[name] >= limit for name, limit in self.given.items())

    def check_above(self, topology: Genotype, word: str) -> None:
        """Raise :class:`InputError` unless every limit is above what a topology costs.

        Args:
            topology: The topology.
            word: What the config calls the limits.
        """
        costs = self.costs(topology)
        for name, limit in self.given.items():
            if limit <= costs[name]:
                raise InputError(f'{word}.{name}={limit:.4g} is not above the seed '
                                 f'topology, which has {costs[name]:.4g}')


LIMITS = tuple(name for name in Constraint.__dataclass_fields__ if name != 'costs')
