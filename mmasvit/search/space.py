"""What a search may choose from: a kind's space, Table 1 for one, or any part of it."""
from math import log, prod
from typing import Dict, List, Optional, Sequence, Tuple, Type

from mmasvit.arguments import known_keys
from mmasvit.errors import InputError
from mmasvit.genotypes import Genotype
from mmasvit.limits import Constraint
from mmasvit.topology import Topology

Choice = Tuple[int, ...]  # one index per choice of the space, in its order


class Space:
    """The choices of a search and the topologies they make.

    Args:
        choices: Values by name, as in the kind's ``SPACE``; a name that is left out keeps
            the values there. Others are allowed, as far as the kind has them.
        kind: What the choices make. Defaults to :class:`Topology`, whose space is Table 1
            and its topologies of depth 1 and C = 32.

    Attributes:
        choices: Values of all names, in the order of the kind's space.
        kind: As given.

    Raises:
        InputError: If a name is unknown, a choice is empty or has a value twice, or a
            value makes no topology.

    Examples:
        >>> space = Space(dict(K1=(4, 8), heads=(32, )))
        >>> str(space.topology((1, ) + 11 * (0, )))
        '8,2,2,1|2,1,2,1|2,1,2,1|2,1,2,1|32,32'
    """

    def __init__(self, choices: Optional[Dict[str, Sequence[int]]] = None,
                 kind: Type[Genotype] = Topology):
        self.kind = kind
        choices = known_keys('space', choices, kind.SPACE)
        self.choices: Dict[str, Tuple[int, ...]] = {}
        for name, standard in kind.SPACE.items():
            values = choices.get(name, standard)
            if not isinstance(values, (list, tuple)):
                raise InputError(f'space: {name} must be a list of values, got {values!r}')
            if not values:
                raise InputError(f'space: {name} has no values to choose from')
            if any(values.count(value) > 1 for value in values):
                raise InputError(f'space: {name} has a value twice: {list(values)}')
            self.choices[name] = tuple(values)
        self.each_value()  # makes a topology, or raises

    @property
    def size(self) -> int:
        """Number of topologies."""
        return prod(map(len, self.choices.values()))

    @property
    def entropy(self) -> float:
        """Entropy in nats of the uniform distribution (15.33 for Table 1)."""
        return log(self.size)

    def topology(self, choice: Choice) -> Genotype:
        """The topology that a choice stands for."""
        return self.kind.of_values({name: values[index] for (name, values), index
                                    in zip(self.choices.items(), choice)})

    def choice(self, topology: Genotype) -> Choice:
        """The inverse of :meth:`topology`."""
        value = topology.values
        return tuple(values.index(value[name]) for name, values in self.choices.items())

    def cheapest(self, constraint: Constraint, name: str) -> Tuple[Genotype, float]:
        """The topology that costs least, if choices add up to a cost.

        So they do for an As-ViT of given heads.

        Args:
            constraint: Has the costs.
            name: The cost.
        """
        best = None
        for heads in self.choices['heads']:
            values = dict({key: given[0] for key, given in self.choices.items()},
                          heads=heads)
            for key, given in self.choices.items():
                if key != 'heads':
                    values[key] = min(given, key=lambda value: constraint.costs(
                        self.kind.of_values({**values, key: value}))[name])
            topology = self.kind.of_values(values)
            cost = constraint.costs(topology)[name]
            if best is None or cost < best[1]:
                best = topology, cost
        return best

    def check_reachable(self, constraint: Constraint) -> None:
        """Raise :class:`InputError` if a limit is below the cheapest topology there is."""
        if 'heads' not in self.choices:
            return
        for name, limit in constraint.given.items():
            topology, cost = self.cheapest(constraint, name)
            if cost > limit:
                raise InputError(f'constraint.{name}={limit:.4g} is below the least of the '
                                 f'space, {topology}, which has {cost:.4g}')

    def each_value(self) -> List[Genotype]:
        """Few topologies in which every value of every choice occurs."""
        return [self.topology(tuple(index if i == position else 0
                                    for i in range(len(self.choices))))
                for position, values in enumerate(self.choices.values())
                for index in range(len(values))]
