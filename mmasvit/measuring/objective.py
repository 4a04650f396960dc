"""What is looked for: measures, which way each is better, and how much it weighs."""
from dataclasses import dataclass
from typing import Dict, Iterable, Tuple

from mmasvit.arguments import number
from mmasvit.errors import InputError

Values = Dict[str, float]  # measures of one topology, means over the repeats


@dataclass(frozen=True)
class Objective:
    """Measures by name with weights; negative where less is better.

    Every measure is put on a scale of its own (its range so far, or its rank), so that
    weights compare them whatever their units.

    Args:
        weights: Defaults to the paper's, length distortion minus condition number.

    Raises:
        InputError: If there is no measure, or a weight is no number or 0.

    Examples:
        >>> Objective(dict(params=-1)).names
        ('params',)
    """
    weights: Tuple[Tuple[str, float], ...] = (('length_distortion', 1),
                                              ('ntk_condition_number', -1))

    def __post_init__(self):
        given = self.weights
        if not isinstance(given, (dict, tuple)) or not given:
            raise InputError('objective must be a dict of weights by measure, as in '
                             'dict(length_distortion=1, ntk_condition_number=-1), got '
                             f'{given!r}')
        weights = dict(given)
        for name, weight in weights.items():
            if number(f'objective.{name}', weight) == 0:
                raise InputError(f'objective.{name} must not be 0; leave the measure out')
        object.__setattr__(self, 'weights', tuple(weights.items()))

    @property
    def names(self) -> Tuple[str, ...]:
        """The measures."""
        return tuple(name for name, _ in self.weights)

    def columns(self, others: Iterable[str]) -> Tuple[str, ...]:
        """Names of other columns of a table, but for those that a measure takes."""
        return tuple(name for name in others if name not in self.names)

    @property
    def parts(self) -> Tuple[Tuple[str, int, float], ...]:
        """For each measure its name, its sign and the size of its weight."""
        return tuple((name, 1 if weight > 0 else -1, abs(weight))
                     for name, weight in self.weights)
