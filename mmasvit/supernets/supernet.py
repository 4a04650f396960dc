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
    """A backbone with all candidates of a space; a step of training uses one path of it.

    What BN-NAS does: the weights stay at their initialisation, and only BatchNorms train.
    The freezing happens here, in the constructor: a wrapper for several processes looks
    at what trains when it is made, before any hook. The path of a step is drawn from
    (seed, iteration), uniformly, so it is the same in every process; parameters off it
    have no gradient at all, since one of zero would let momentum move them.

    A subclass builds its parts, says by :meth:`candidates` which norms they have, and
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
        path: The path in use, which :meth:`use` sets. None is that of the step in
            training, and the last value of every choice otherwise.

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

    def candidates(self) -> Dict[str, Dict[str, Tuple[nn.Module, ...]]]:
        """The norms of every candidate of every layer, the last one last."""
        raise NotImplementedError

    def candidates_of(self, topology: Genotype) -> Dict[str, str]:
        """The candidate of each layer that a path takes."""
        raise NotImplementedError

    def norms_of(self, topology: Genotype) -> Dict[str, Tuple[nn.Module, ...]]:
        """The norms of each layer on a path; an identity may have none.

        Raises:
            InputError: If the path is not one of this supernet's.
        """
        self.check(topology)
        candidates = self.candidates()
        return {layer: candidates[layer][candidate]
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
                    f'{topology} is outside the space of {name}: {choice} is {value}, '
                    f'the supernet has {", ".join(map(str, self.space.choices[choice]))}')
        if topology != self.space.kind.of_values(topology.values):
            raise InputError(f'{topology} is outside the space of {name}: depths or '
                             'width are other than there')

    def use(self, topology: Optional[Genotype]) -> None:
        """Compute a path from now on; see :attr:`path`.

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
        """Images ``(N, 3, H, W)`` to the maps of a path; see :attr:`path`."""
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
        candidates = self.candidates()
        layers = list(candidates) if scope in ('all', 'last') else scope
        known = isinstance(layers, (list, tuple)) and set(layers) <= set(candidates)
        chosen: List[nn.Module] = [
            norm for layer in layers if known for norms in candidates[layer].values()
            for norm in (norms[-1:] if scope == 'last' else norms)]
        if not chosen:
            raise InputError(
                f"{name}: bn_scope {scope!r} selects no BatchNorm; it must be 'all', "
                f"'last', or a list of layers out of {', '.join(candidates)}")
        self.requires_grad_(False)
        for norm in chosen:
            norm.requires_grad_(True)
