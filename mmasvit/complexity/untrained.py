"""One network at one initialisation, and what the measures look at it with."""
from functools import cached_property
from typing import Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

from mmasvit.complexity.curve import circle_basis, curve_derivatives, even_angles
from mmasvit.complexity.features import PooledFeatures, pooled_features
from mmasvit.complexity.setting import Setting
from mmasvit.errors import InputError
from mmasvit.geometry import lay_windows, token_grids
from mmasvit.models.as_vit import AsViT
from mmasvit.random import Purpose, generator
from mmasvit.topology import Topology

# Attention scores in one second-order pass; each takes about 100 bytes there.
SECOND_ORDER_SCORES = 2**25


def noise_images(num_images: int, image_size: int, seed: int) -> Tensor:
    """Standard normal images ``(num_images, 3, image_size, image_size)``."""
    return torch.randn(num_images, 3, image_size, image_size,
                       generator=generator(Purpose.NOISE, seed, 0))


class UntrainedNetwork:
    """A topology's network at one initialisation, with its circle and images.

    Everything is drawn on the CPU from (setting.seed, repeat) alone, so that a
    measurement depends neither on what was measured before nor on the device; torch's
    global generators are left alone.

    Args:
        topology: What to measure.
        setting: How.
        repeat: Which initialisation, from 0.
        images: ``(n, 3, H, W)`` of the setting's size, normalised as for training.
            Defaults to standard normal noise.
        device: Where to compute. Defaults to the CPU.
        dtype: Precision of the network. Defaults to float32.

    Raises:
        InputError: If the images are not of the setting's size and number, or the
            topology is of another kind.
    """

    def __init__(self, topology: Topology, setting: Setting, repeat: int = 0,
                 images: Optional[Tensor] = None, device: str = 'cpu',
                 dtype: torch.dtype = torch.float32):
        if not isinstance(topology, Topology):
            raise InputError(f'{topology} is no As-ViT, and only these are measured '
                             'untrained; bn_gamma and its like are for any kind')
        self.topology = topology
        self.setting = setting
        self.repeat = repeat
        self._placed = dict(device=device, dtype=dtype)
        self._given = images
        if images is not None and images.shape != (setting.num_images, *self._shape):
            raise InputError(f'images must be {(setting.num_images, *self._shape)}, got '
                             f'{tuple(images.shape)}')

    @property
    def _shape(self) -> Tuple[int, int, int]:
        return 3, self.setting.image_size, self.setting.image_size

    @cached_property
    def backbone(self) -> AsViT:
        """The network without position embedding, initialised."""
        with torch.random.fork_rng(devices=[]):
            backbone = AsViT(self.topology, out_indices=(3, ), use_abs_pos_embed=False,
                             pretrain_img_size=self.setting.window_img_size)
        seed, repeat = self.setting.seed, self.repeat
        shared = self.setting.rules.shared_tokenizer
        initialise(
            backbone,
            generator(Purpose.CONVOLUTIONS, seed, 0 if shared else repeat),
            generator(Purpose.LINEARS, seed, repeat))
        return backbone.to(**self._placed)

    @cached_property
    def basis(self) -> Tensor:
        """Directions of the circle ``(2, 3, H, W)``; one circle per repeat."""
        draw = generator(Purpose.CIRCLE, self.setting.seed, self.repeat)
        return circle_basis(self._shape, draw).to(**self._placed)

    @cached_property
    def images(self) -> Tensor:
        """Images ``(n, 3, H, W)``, the same for all topologies and repeats."""
        images = self._given
        if images is None:
            images = noise_images(self.setting.num_images, self.setting.image_size,
                                  self.setting.seed)
        return images.to(**self._placed)

    @cached_property
    def features(self) -> PooledFeatures:
        """The network's features with its norms."""
        return pooled_features(self.backbone, pyramid=self._pyramid)

    @cached_property
    def velocity(self) -> Tensor:
        """``v`` along the circle, ``(angles, D)``, the end point left out."""
        return curve_derivatives(self._curve, self.basis, self._angles,
                                 self.setting.radius, order=1)

    @cached_property
    def derivatives(self) -> Tuple[Tensor, Tensor]:
        """``v`` and ``a`` along the circle, each ``(angles, D)``."""
        chunk = max(1, SECOND_ORDER_SCORES // self._most_scores())
        return curve_derivatives(self._curve, self.basis, self._angles,
                                 self.setting.radius, order=2, chunk_size=chunk)

    def integrate(self, integral: Tensor, integrand_at_start: Tensor) -> float:
        """An integral over the circle in the units of the protocol.

        The released code adds up the integrand at ``num_angles`` angles of which the
        last is the first again; measured once, it counts twice.

        Args:
            integral: ``2 pi`` times the mean of the integrand.
            integrand_at_start: The integrand at angle 0.
        """
        if not self.setting.rules.closed_sum:
            return integral.item()
        total = integral.double() * (len(self._angles) / (2 * np.pi))
        return (total + integrand_at_start).item()

    @property
    def _curve(self) -> PooledFeatures:
        if self.setting.rules.identity_norms:
            return pooled_features(self.backbone, identity_norms=True,
                                   pyramid=self._pyramid)
        return self.features

    @property
    def _pyramid(self) -> bool:
        return self.setting.features == 'pyramid'

    @property
    def _angles(self) -> Tensor:
        setting = self.setting
        return even_angles(setting.num_angles - setting.rules.closed_sum)

    def _most_scores(self) -> int:
        """Attention scores of one image in the stage that has most."""
        size, splits_at = self.setting.image_size, self.setting.window_img_size
        scores = []
        for grid, heads, splits in zip(token_grids((size, size)), self.topology.heads,
                                       self.topology.splits):
            edge, count = lay_windows(grid[0], size, splits, splits_at)
            scores.append(heads * (count * edge**2)**2)
        return max(scores)


@torch.no_grad()
def initialise(network: nn.Module, convolutions: torch.Generator,
               linears: torch.Generator) -> None:
    """Draw a network's weights as the released code does.

    Args:
        network: Linear layers get a truncated normal of deviation 0.02 and no bias,
            convolutions torch's default, norms one and zero.
        convolutions: Generator for the convolutions.
        linears: Generator for the linear layers.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=.02, generator=linears)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5, generator=convolutions)
            if module.bias is not None:
                bound = module.weight[0].numel()**-0.5
                nn.init.uniform_(module.bias, -bound, bound, generator=convolutions)
