"""What all supernets share: paths, what trains, and the norms that tell of it."""
from typing import Dict, List, Optional, Sequence, Tuple, Type, Union

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmasvit.arguments import whole_number
from mmasvit.errors import InputError
from mmasvit.genotypes import Genotype
from mmasvit.random import Purpose, generator
from mmasvit.search.space import Space

Scope = Union[str, Sequence[str], None]


class Supernet(BaseModule):
    """A backbone with all candidates of a space, of which a step of training uses one path.

    What BN-NAS does: the weights stay at their initialisation, and only BatchNorms train.
    The freezing happens here, in the constructor: a wrapper for several processes looks
    at what trains when it is made, before any hook. The path of a step is drawn from
    (seed, iteration), uniformly, so it is the same in every process; parameters off it
    have no gradient at all, since one of zero would let momentum move them.

    A subclass builds its parts, keeps the norms of every candidate by :meth:`_add` and
    ends its constructor with :meth:`_freeze`.

    Args:
        kind: What paths are.
        space: As of :class:`~mmasvit.search.space.Space`.
        bn_scope: Which BatchNorms train: ``'all'``, ``'last'`` (of each candidate, as
            BN-NAS's code has it), or a list of layers, of which all do. None trains all
            parameters instead, as "Single Path One-Shot" does.
        seed: Which paths are drawn.
        init_cfg: Initialisation. Defaults to that of the parts.

    Attributes:
        space: The space.
        path: The path in use outside of training, or None for the last value of every
            choice; :meth:`use` sets it.

    Raises:
        InputError: If an argument is none of the above, or no BatchNorm is selected.
    """

    def __init__(self, kind: Type[Genotype], space: Optional[Dict[str, Sequence[int]]],
                 bn_scope: Scope, seed: int,
                 init_cfg: Union[dict, Sequence[dict], None] = None):
        super().__init__(init_cfg)
        self.space = Space(space, kind)
        self.bn_scope = bn_scope
        self.seed = whole_number(f'{type(self).__name__}: seed', seed, 0)
        self.path: Optional[Genotype] = None
        # by layer and candidate, the last norm last; they are modules of the subclass
        self._norms: Dict[str, Dict[str, Tuple[nn.Module, ...]]] = {}

    def candidates_of(self, topology: Genotype) -> Dict[str, str]:
        """The candidate of each layer that a path takes."""
        raise NotImplementedError

    def _add(self, layer: str, candidate: str, norms: Sequence[nn.Module]) -> None:
        self._norms.setdefault(layer, {})[candidate] = tuple(norms)

    def norms_of(self, topology: Genotype) -> Dict[str, Tuple[nn.Module, ...]]:
        """The norms of each layer on a path, the last one last; an identity may have none.

        Raises:
            InputError: If the path is not one of this supernet's.
        """
        self.check(topology)
        return {layer: self._norms[layer][candidate]
                for layer, candidate in self.candidates_of(topology).items()}

    def check(self, topology: Genotype) -> None:
        """Raise :class:`InputError` unless a path is one of this supernet's."""
        name = type(self).__name__
        if not isinstance(topology, self.space.kind):
            raise InputError(f'{topology} is no path of {name}, whose paths are of the '
                             f'kind {self.space.kind.__name__}')
        for choice, value in topology.values.items():
            if value not in self.space.choices[choice]:
                raise InputError(
                    f'{topology} is outside the space of {name}: {choice} is {value}, the '
                    f'supernet has {", ".join(map(str, self.space.choices[choice]))}')
        if topology != self.space.kind.of_values(topology.values):
            raise InputError(f'{topology} is outside the space of {name}: depths or width '
                             'are other than there')

    def use(self, topology: Optional[Genotype]) -> None:
        """Compute a path outside of training; None for the last value of every choice.

        Raises:
            InputError: If the path is not one of this supernet's.
        """
        if topology is not None:
            self.check(topology)
        self.path = topology

    def path_of_step(self, iteration: int) -> Genotype:
        """The path that a step of training uses, the same in every process."""
        draw = generator(Purpose.SUPERNET_PATH, self.seed, iteration)
        return self.space.topology(tuple(
            torch.randint(len(values), (), generator=draw).item()
            for values in self.space.choices.values()))

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Images ``(N, 3, H, W)`` to the maps of a path: of this step in training, and
        of :attr:`path` outside of it."""
        if self.training and self.path is None:
            iteration = MessageHub.get_current_instance().get_info('iter', 0)
            return self.forward_path(x, self.path_of_step(iteration))
        last = tuple(len(values) - 1 for values in self.space.choices.values())
        return self.forward_path(x, self.path or self.space.topology(last))

    def forward_path(self, x: Tensor, topology: Genotype) -> Tuple[Tensor, ...]:
        """Images to the maps of a path."""
        raise NotImplementedError

    def _freeze(self) -> None:
        """Let what is in scope train, and nothing else."""
        scope, name = self.bn_scope, type(self).__name__
        if scope is None:
            return
        layers = list(self._norms)
        if not isinstance(scope, str):
            layers = list(scope)
            unknown = [layer for layer in layers if layer not in self._norms]
        else:
            unknown = [] if scope in ('all', 'last') else [scope]
        chosen: List[nn.Module] = [
            norm for layer in layers if not unknown
            for norms in self._norms[layer].values()
            for norm in (norms[-1:] if scope == 'last' else norms)]
        if not chosen:
            raise InputError(
                f"{name}: bn_scope {scope!r} selects no BatchNorm; it must be 'all', "
                f"'last', or a list of layers out of {', '.join(self._norms)}")
        self.requires_grad_(False)
        for norm in chosen:
            norm.requires_grad_(True)
