"""What a search may choose from: Table 1 or any part of it."""
from math import log, prod
from typing import Dict, Optional, Sequence, Tuple

from mmasvit.arguments import known_keys
from mmasvit.errors import InputError
from mmasvit.topology import NUM_STAGES, SEARCH_SPACE, Topology

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
        choices = known_keys('space', choices, SEARCH_SPACE)
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
