"""What a search may choose from: Table 1 or any part of it, and limits on the cost."""
from dataclasses import dataclass
from math import inf, log, prod
from typing import Dict, Optional, Sequence, Tuple

from mmasvit.errors import InputError
from mmasvit.topology import NUM_STAGES, PRETRAIN_IMG_SIZE, SEARCH_SPACE, Topology

NUM_CLASSES = 1000  # the tables of the paper count the classifier on ImageNet-1k

Choice = Tuple[int, ...]  # one index per choice of the space, in its order


class Space:
    """The choices of a search and the topologies they make, all of depth 1 and C = 32.

    Args:
        choices: Values by name, as in :data:`~mmasvit.topology.SEARCH_SPACE`; a name
            that is left out keeps Table 1's values. Values outside Table 1 are allowed.

    Attributes:
        choices: Values of all twelve names, in Table 1's order.

    Raises:
        InputError: If a name is unknown, a choice is empty or has a value twice, or a
            value makes no topology.

    Examples:
        >>> space = Space(dict(K1=(4, 8), heads=(32, )))
        >>> str(space.topology((1, ) + 11 * (0, )))
        '8,2,2,1|2,1,2,1|2,1,2,1|2,1,2,1|32,32'
    """

    def __init__(self, choices: Optional[Dict[str, Sequence[int]]] = None):
        if not isinstance(choices, (dict, type(None))):
            raise InputError(f'space must be a dict of lists of values, got {choices!r}')
        choices = dict(choices or {})
        unknown = [name for name in choices if name not in SEARCH_SPACE]
        if unknown:
            raise InputError(f'space: unknown choice {", ".join(map(str, unknown))}; '
                             f'expected some of {", ".join(SEARCH_SPACE)}')
        self.choices: Dict[str, Tuple[int, ...]] = {}
        for name, standard in SEARCH_SPACE.items():
            values = choices.get(name, standard)
            if not isinstance(values, (list, tuple)):
                raise InputError(f'space: {name} must be a list of values, got {values!r}')
            if not values:
                raise InputError(f'space: {name} has no values to choose from')
            if any(values.count(value) > 1 for value in values):
                raise InputError(f'space: {name} has a value twice: {list(values)}')
            self.choices[name] = tuple(values)
        for position, values in enumerate(self.choices.values()):
            for index in range(len(values)):  # each value makes a topology, or raises
                self.topology(tuple(index if i == position else 0
                                    for i in range(len(self.choices))))

    @property
    def size(self) -> int:
        """Number of topologies."""
        return prod(map(len, self.choices.values()))

    @property
    def entropy(self) -> float:
        """Entropy in nats of the uniform distribution (15.33 for Table 1)."""
        return log(self.size)

    def topology(self, choice: Choice) -> Topology:
        """The topology that a choice stands for."""
        value = {name: values[index] for (name, values), index
                 in zip(self.choices.items(), choice)}
        value['S4'] = 1
        kernels, splits, expansions = (
            tuple(value[f'{letter}{stage + 1}'] for stage in range(NUM_STAGES))
            for letter in 'KSE')
        return Topology(kernels, splits, expansions, value['heads'])

    def choice(self, topology: Topology) -> Choice:
        """The inverse of :meth:`topology`."""
        value = values_of(topology)
        return tuple(values.index(value[name]) for name, values in self.choices.items())


def values_of(topology: Topology) -> Dict[str, int]:
    """A topology's values by the names of Table 1."""
    value = {'heads': topology.num_heads}
    for letter, values in (('K', topology.kernels), ('S', topology.splits),
                           ('E', topology.expansions)):
        value.update({f'{letter}{i + 1}': number for i, number in enumerate(values)})
    return {name: value[name] for name in SEARCH_SPACE}


def table_costs(topology: Topology) -> Dict[str, int]:
    """Parameters and multiply-accumulates as tables 4, 5 and 7 count them.

    The classifier with 1000 classes and position embedding on one image of 224 px.
    """
    return dict(params=topology.count_params(NUM_CLASSES),
                macs=topology.count_macs((PRETRAIN_IMG_SIZE, ) * 2, NUM_CLASSES))


@dataclass(frozen=True)
class Constraint:
    """Limits that a topology must keep; see :func:`table_costs` for what counts.

    Args:
        macs: Most multiply-accumulates. Defaults to no limit.
        params: Most parameters. Defaults to no limit.

    Raises:
        InputError: If a limit is not a positive number.
    """
    macs: Optional[float] = None
    params: Optional[float] = None

    def __post_init__(self):
        for name, limit in vars(self).items():
            if limit is not None and (not isinstance(limit, (int, float))
                                      or isinstance(limit, bool)
                                      or not 0 < limit < inf):
                raise InputError(f'{name} must be a positive number, got {limit!r}')

    @property
    def is_free(self) -> bool:
        """Whether there is no limit."""
        return self.macs is None and self.params is None

    def allows(self, topology: Topology) -> bool:
        """Whether a topology keeps the limits."""
        if self.is_free:
            return True
        costs = table_costs(topology)
        return all(limit is None or costs[name] <= limit
                   for name, limit in vars(self).items())

    def check(self, space: Space) -> None:
        """Raise :class:`InputError` if no topology of a space keeps the limits.

        Kernels and expansions cost both more the larger they are, splits change the
        multiply-accumulates of their own stage alone; so for each number of heads one
        member is the cheapest in both respects.
        """
        if self.is_free:
            return
        cheapest = [_cheapest(space, heads) for heads in space.choices['heads']]
        if not any(map(self.allows, cheapest)):
            costs = [table_costs(topology) for topology in cheapest]
            least = {name: min(cost[name] for cost in costs) for name in costs[0]}
            raise InputError(
                'constraint: no topology of the space has at most '
                + ' and '.join(f'{limit:.4g} {name}' for name, limit in vars(self).items()
                               if limit is not None)
                + f'; the least are {least["macs"]:.4g} macs, {least["params"]:.4g} params')


def _cheapest(space: Space, heads: int) -> Topology:
    """The member with so many heads that costs least, in both respects."""
    value = {name: min(values) for name, values in space.choices.items()}
    value['heads'] = heads

    def topology() -> Topology:
        return space.topology(tuple(values.index(value[name])
                                    for name, values in space.choices.items()))

    for name in ('S1', 'S2', 'S3'):
        macs = {}
        for value[name] in space.choices[name]:
            macs[value[name]] = table_costs(topology())['macs']
        value[name] = min(macs, key=macs.get)
    return topology()
