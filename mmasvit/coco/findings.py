"""What is wrong with a data set: each kind once."""
from dataclasses import asdict, dataclass
from typing import Sequence

from mmasvit.errors import printable


@dataclass(frozen=True)
class Finding:
    """One kind of fault.

    Args:
        kind: Its name, such as ``'boxes-outside'``.
        refuse: Whether training or scoring would be wrong or fail; otherwise something
            is only lost, or was mended.
        count: How many are concerned.
        total: Of how many.
        text: One line for a person: numbers, an example, and what would be right.
    """
    kind: str
    refuse: bool
    count: int
    total: int
    text: str

    def __post_init__(self):
        object.__setattr__(self, 'text', printable(self.text))

    def to_json(self) -> dict:
        return asdict(self)


def shown(values: Sequence, most: int = 5) -> str:
    """The first of some values for a message, ``(a, b, ...)``."""
    values = list(values)
    more = ', ...' if len(values) > most else ''
    return f'({", ".join(printable(value)[:60] for value in values[:most])}{more})'
