"""What is looked for: measures, which way each is better, and how much it weighs."""
from dataclasses import dataclass
from typing import Dict, Iterable, Tuple

from mmasvit.arguments import number, one_of
from mmasvit.errors import InputError

Values = Dict[str, float]  # measures of one topology, means over the repeats


@dataclass(frozen=True)
class Objective:
    """Measures by name with weights; negative where less is better.

    Every measure is put on a scale of its own (its range so far, or its rank), so that
    weights compare them whatever their units.

    Args:
        weights: Defaults to the paper's, length distortion minus condition number. As a
            dict it may hold ``by``.
        by: What a search compares topologies by: the ``'range'`` of each measure over
            all it has seen, or the ``'rank'`` there. Defaults to ``'range'``.

    Raises:
        InputError: If there is no measure, a weight is no number or 0, or ``by`` is
            neither.

    Examples:
        >>> Objective(dict(params=-1)).names
        ('params',)
    """
    weights: Tuple[Tuple[str, float], ...] = (('length_distortion', 1),
                                              ('ntk_condition_number', -1))
    by: str = 'range'

    def __post_init__(self):
        given = self.weights
        if isinstance(given, dict) and 'by' in given:
            given = dict(given)
            object.__setattr__(self, 'by', given.pop('by'))
        one_of('objective.by', self.by, ('range', 'rank'))
        if not isinstance(given, (dict, tuple)) or not given:
            raise InputError('objective must be a dict of weights by measure, as in '
                             'dict(length_distortion=1, ntk_condition_number=-1), got '
                             f'{given!r}')
        weights = dict(given)
        for name, weight in weights.items():
            if number(f'objective.{name}', weight) == 0:
                raise InputError(f'objective.{name} must not be 0; leave the measure out')
        object.__setattr__(self, 'weights', tuple(weights.items()))

    def to_dict(self) -> Dict[str, object]:
        """What a config would give, for results."""
        return dict(self.weights, **(dict(by=self.by) if self.by != 'range' else {}))

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
