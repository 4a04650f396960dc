"""Members of a grown family: their size, the ones wanted, and other families' sizes."""
import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from mmasvit.complexity import Summary
from mmasvit.errors import InputError
from mmasvit.search.space import Constraint, table_costs
from mmasvit.topology import NUM_STAGES, Topology


class Extent(NamedTuple):
    """What figure 3 of the paper draws.

    Attributes:
        depth: Number of blocks.
        width: Sum of the blocks' output channels.
    """
    depth: int
    width: int

    @classmethod
    def of(cls, depths: Sequence[int], widths: Sequence[int]) -> 'Extent':
        """Of a network's stages."""
        return cls(sum(depths), sum(d * w for d, w in zip(depths, widths)))


class Member(NamedTuple):
    """A member of a family.

    Attributes:
        step: The step that made it; 0 for the seed.
        topology: The member.
        summaries: Its measures; None if they are not known.
    """
    step: int
    topology: Topology
    summaries: Optional[Dict[str, Summary]] = None

    @property
    def costs(self) -> Dict[str, int]:
        """See :func:`~mmasvit.search.space.table_costs`."""
        return table_costs(self.topology)

    @property
    def extent(self) -> Extent:
        """Total depth and width."""
        return Extent.of(self.topology.depths, self.topology.widths)


def _doubling(width: int) -> Tuple[int, ...]:
    return tuple(width * 2**stage for stage in range(NUM_STAGES))


# Scaling rules that others published, as figure 3 draws them: blocks of attention of Swin
# (Liu et al., 2021, section 3.3: T, S, B, L), bottlenecks of ResNet (He et al., 2016, table
# 1: 50, 101, 152 layers; each puts out 256 to 2048 channels).
PUBLISHED_RULES: Dict[str, Dict[str, Extent]] = {
    'Swin': {
        'T': Extent.of((2, 2, 6, 2), _doubling(96)),
        'S': Extent.of((2, 2, 18, 2), _doubling(96)),
        'B': Extent.of((2, 2, 18, 2), _doubling(128)),
        'L': Extent.of((2, 2, 18, 2), _doubling(192)),
    },
    'ResNet': {
        '50': Extent.of((3, 4, 6, 3), _doubling(256)),
        '101': Extent.of((3, 4, 23, 3), _doubling(256)),
        '152': Extent.of((3, 8, 36, 3), _doubling(256)),
    },
}


class Target(NamedTuple):
    """A size that a member is wanted for.

    Attributes:
        cost: ``'params'`` or ``'macs'``.
        size: At most so much.
    """
    cost: str
    size: float

    @property
    def name(self) -> str:
        """Short, for file names: ``29m`` parameters, ``5_3g`` multiply-accumulates."""
        scale, letter = dict(params=(1e6, 'm'), macs=(1e9, 'g'))[self.cost]
        return f'{self.size / scale:g}{letter}'.replace('.', '_')


def check_targets(targets: Dict[str, Sequence[float]], seed: Topology, stop: Constraint,
                  constraint: Constraint) -> List[Target]:
    """Targets from ``dict(params=[...], macs=[...])``.

    Raises:
        InputError: If there are none, they are out of order, or outside what is grown.
    """
    if (not isinstance(targets, dict) or set(targets) - {'params', 'macs'}
            or not any(targets.values())):
        raise InputError('targets must list sizes by params, macs or both, as in '
                         f'dict(params=[29e6, 53e6, 88e6]), got {targets!r}')
    checked = []
    for cost, sizes in targets.items():
        if not isinstance(sizes, (list, tuple)) or not all(
                isinstance(size, (int, float)) and not isinstance(size, bool)
                and 0 < size < math.inf for size in sizes):
            raise InputError(f'targets.{cost} must be a list of sizes, got {sizes!r}')
        if sorted(set(sizes)) != list(sizes):
            raise InputError(f'targets.{cost} must ascend, got {list(sizes)}')
        least = table_costs(seed)[cost]
        for size in sizes:
            if size < least:
                raise InputError(f'targets.{cost}={size:.4g} is below the seed topology, '
                                 f'which has {least:.4g}')
            for word, limits in (('stop', stop), ('constraint', constraint)):
                limit = getattr(limits, cost)
                if limit is not None and size > limit:
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
