"""Where a scaling starts, as a Runner's model."""
from typing import Union

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import nn

from mmasvit.topology import Topology


@MODELS.register_module(force=True)
class SeedTopology(BaseModel):
    """A topology, and a parameter that nothing trains, since a Runner asks for one.

    Args:
        arch: Name of a family member, genotype text, or dict of its fields.

    Attributes:
        topology: The topology.

    Raises:
        InputError: If ``arch`` is none of these.
    """

    def __init__(self, arch: Union[str, dict]):
        super().__init__()
        self.topology = Topology.of(arch)
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, *args, **kwargs):
        """Nothing is computed by it."""
        raise NotImplementedError('a scaling measures; it runs no model')
