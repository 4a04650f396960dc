"""The kinds of architectures that can be searched, and what a search asks of one.

A kind is a frozen dataclass whose objects stand for networks. Space, limits, ledger,
histories and emitted configs know no more of it than what stands here.
"""
from typing import Dict, Protocol, Tuple, Type

from mmasvit.mobile_topology import MobileTopology
from mmasvit.topology import Topology


class Genotype(Protocol):
    """What every kind has."""
    SPACE: Dict[str, Tuple[int, ...]]  # values of each choice, by name

    @classmethod
    def of_values(cls, values: Dict[str, int]) -> 'Genotype':
        """The object with a value of each choice."""

    @property
    def values(self) -> Dict[str, int]:
        """The inverse of :meth:`of_values`, in the order of ``SPACE``."""

    @classmethod
    def parse(cls, text: str) -> 'Genotype':
        """The inverse of ``str``."""

    def costs(self) -> Dict[str, int]:
        """``params`` and ``macs`` of the kind's own reference network."""


KINDS: Dict[str, Type[Genotype]] = dict(asvit=Topology, mobilenet=MobileTopology)


def parse(text: str) -> Genotype:
    """An object of whichever kind a text is of.

    Raises:
        InputError: If it is of none.
    """
    is_mobile = isinstance(text, str) and text.lstrip().startswith('[')
    return (MobileTopology if is_mobile else Topology).parse(text)
