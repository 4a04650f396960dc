"""Members of a grown family: their size, and the ones wanted."""
import math
from typing import Dict, List, NamedTuple, Optional, Sequence

from mmasvit.arguments import number
from mmasvit.complexity import Summary
from mmasvit.errors import InputError
from mmasvit.limits import LIMITS, Constraint, Costs, check_cost, own_costs
from mmasvit.paper import Extent
from mmasvit.topology import Topology


# In what unit of each cost targets are told in names.
UNITS = dict(params=(1e6, 'm'), macs=(1e9, 'g'), latency=(1, 'ms'))


class Member(NamedTuple):
    """A member of a family.

    Attributes:
        step: The step that made it; 0 for the seed.
        topology: The member.
        summaries: Its measures; None if they are not known.
        count: What tells its costs. Defaults to :meth:`Topology.costs`.
    """
    step: int
    topology: Topology
    summaries: Optional[Dict[str, Summary]] = None
    count: Costs = own_costs

    @property
    def costs(self) -> Dict[str, float]:
        """What it costs, by name."""
        return self.count(self.topology)

    @property
    def extent(self) -> Extent:
        """Total depth and width."""
        return Extent.of(self.topology.depths, self.topology.widths)


class Target(NamedTuple):
    """A size that a member is wanted for.

    Attributes:
        cost: ``'params'``, ``'macs'`` or another that limits know.
        size: At most so much.
    """
    cost: str
    size: float

    @property
    def name(self) -> str:
        """Short, for file names: ``29m`` parameters, ``5_3g`` multiply-accumulates,
        ``40ms``; those of a whole detector begin with ``detector_``."""
        scale, letter = UNITS[self.cost.removeprefix('detector_')]
        prefix = 'detector_' if self.cost.startswith('detector_') else ''
        return f'{prefix}{self.size / scale:g}{letter}'.replace('.', '_')


def check_targets(targets: Dict[str, Sequence[float]], seed: Topology, stop: Constraint,
                  constraint: Constraint) -> List[Target]:
    """Targets from ``dict(params=[...], macs=[...])``, or other costs.

    Args:
        targets: As given.
        seed: Where the scaling starts.
        stop: Where it ends.
        constraint: What it keeps; it has the costs.

    Raises:
        InputError: If there are none, they are out of order, or outside what is grown.
    """
    if (not isinstance(targets, dict) or set(targets) - set(LIMITS)
            or not any(targets.values())):
        raise InputError(f'targets must list sizes by {", ".join(LIMITS)}, as in '
                         f'dict(params=[29e6, 53e6, 88e6]), got {targets!r}')
    checked = []
    costs = constraint.costs(seed)
    for cost, sizes in targets.items():
        check_cost(f'targets.{cost}', cost, costs)
        if not isinstance(sizes, (list, tuple)):
            raise InputError(f'targets.{cost} must be a list of sizes, got {sizes!r}')
        for size in sizes:
            number(f'each of targets.{cost}', size, above=0)
        if sorted(set(sizes)) != list(sizes):
            raise InputError(f'targets.{cost} must ascend, got {list(sizes)}')
        least = costs[cost]
        for size in sizes:
            if size < least:
                raise InputError(f'targets.{cost}={size:.4g} is below the seed topology, '
                                 f'which has {least:.4g}')
            for word, limits in (('stop', stop), ('constraint', constraint)):
                limit = limits.given.get(cost, math.inf)
                if size > limit:
                    raise InputError(f'targets.{cost}={size:.4g} is above '
                                     f'{word}.{cost}={limit:.4g}')
            checked.append(Target(cost, size))
    names = [target.name for target in checked]
    for target in checked:
        if names.count(target.name) > 1:
            raise InputError(f'targets.{target.cost}: two targets would be called '
                             f'{target.name}; they are too close')
    return checked


def nearest_below(members: Sequence[Member], target: Target) -> Member:
    """The largest member that is not above a target."""
    below = [member for member in members if member.costs[target.cost] <= target.size]
    return max(below, key=lambda member: (member.costs[target.cost], -member.step))


def at_size(members: Sequence[Member], name: str, target: Target) -> Optional[float]:
    """A measure at a size between two members, linear in the logarithm of the size.

    Args:
        members: A family with its measures.
        name: The measure.
        target: The size.

    Returns:
        The measure, or None where the family does not reach the size.
    """
    ordered = sorted(members, key=lambda member: member.costs[target.cost])
    for low, high in zip(ordered, ordered[1:]):
        left, right = (member.costs[target.cost] for member in (low, high))
        if left <= target.size <= right and left < right:
            share = math.log(target.size / left) / math.log(right / left)
            return sum(weight * member.summaries[name].mean for weight, member
                       in ((1 - share, low), (share, high)) if weight)
    return None
