"""How a network bends a circle of its input space (section 3.2 of the paper).

The circle ``h(theta) = r (u0 cos theta + u1 sin theta)`` lies in a plane of the input
space; the network ``f`` maps it to a curve of its features with velocity
``v = d f(h(theta)) / d theta`` and acceleration ``a = dv / d theta``. Derivatives are
exact and in forward mode: one differentiated pass for all angles.

The integrals over the circle are ``2 pi`` times the mean over evenly spaced angles
without the end point, which for a smooth closed curve converges exponentially fast.
"""
import math
from typing import Callable, Optional, Tuple, Union

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from mmasvit.complexity.forward_mode import ForwardModeOperators
from mmasvit.errors import InputError

Features = Callable[[Tensor], Tensor]


def circle_basis(shape: Tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Two random orthonormal directions of an input space, ``(2, *shape)`` float64.

    Args:
        shape: Shape of one input, for instance ``(3, H, W)``.
        generator: Source of randomness, on the CPU.
    """
    plane = torch.randn(math.prod(shape), 2, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(plane).Q.T.reshape(2, *shape).contiguous()


def even_angles(count: int, closed: bool = False) -> Tensor:
    """``count`` evenly spaced angles from 0 to 2 pi, ``(count,)`` float64.

    Args:
        count: How many.
        closed: Whether the end point, the same as the first, is among them, as in the
            released code. Defaults to False.
    """
    steps = count - 1 if closed else count
    return torch.arange(count, dtype=torch.float64) * (2 * math.pi / max(steps, 1))


def curve_derivatives(features: Features, basis: Tensor, theta: Tensor,
                      radius: float = 1.0, order: int = 2,
                      chunk_size: Optional[int] = None
                      ) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Velocity and acceleration of the circle's image.

    Args:
        features: The network, ``(n, *shape)`` to ``(n, D)``, each input for itself. If
            it has a method ``split_linear`` that takes height and width of the inputs and
            returns ``first_map`` (linear) and ``rest`` with
            ``features(x) == rest(first_map(x))``, the first is run on the basis only:
            the circle's image under it is again a circle.
        basis: Orthonormal ``u0`` and ``u1``, ``(2, *shape)``, in the network's dtype
            and on its device.
        theta: Angles in radians ``(n,)``.
        radius: Radius r of the circle. Defaults to 1.
        order: 1 for the velocity, 2 for the acceleration as well. Defaults to 2.
        chunk_size: Angles per pass; the result does not depend on it. Defaults to all.

    Returns:
        ``v`` ``(n, D)`` for order 1, ``(v, a)`` for order 2.

    Raises:
        InputError: If shapes or ``order`` are none of the above.
    """
    if order not in (1, 2):
        raise InputError(f'order must be 1 or 2, got {order}')
    if basis.shape[0] != 2 or theta.ndim != 1 or not len(theta):
        raise InputError('basis must be two directions (2, ...) and theta a list of '
                         f'angles (n,), got {tuple(basis.shape)} and '
                         f'{tuple(theta.shape)}')
    differentiate = _velocity if order == 1 else _velocity_and_acceleration
    theta = theta.to(basis)
    with torch.no_grad(), ForwardModeOperators(order):
        plane = radius * basis
        if hasattr(features, 'split_linear'):
            first_map, features = features.split_linear(plane.shape[-2:])
            plane = first_map(plane)
        parts = [differentiate(features, plane, part)
                 for part in theta.split(chunk_size or len(theta))]
    results = [torch.cat(part) for part in zip(*parts)]
    return results[0] if order == 1 else tuple(results)


def _velocity(features: Features, plane: Tensor, theta: Tensor) -> Tuple[Tensor]:
    cos, sin = (_along(values, plane) for values in (theta.cos(), theta.sin()))
    with forward_ad.dual_level():
        points = forward_ad.make_dual(cos * plane[0] + sin * plane[1],
                                      cos * plane[1] - sin * plane[0])
        return (forward_ad.unpack_dual(features(points)).tangent, )


def _velocity_and_acceleration(features: Features, plane: Tensor,
                               theta: Tensor) -> Tuple[Tensor, Tensor]:
    def image(angles: Tensor) -> Tensor:
        return features(_along(angles.cos(), plane) * plane[0]
                        + _along(angles.sin(), plane) * plane[1])

    def velocity(angles: Tensor) -> Tensor:
        return torch.func.jvp(image, (angles, ), (ones, ))[1]

    ones = torch.ones_like(theta)
    return torch.func.jvp(velocity, (theta, ), (ones, ))


def _along(angles: Tensor, plane: Tensor) -> Tensor:
    """``(n,)`` to ``(n, 1, ...)``, to be multiplied with one direction of the plane."""
    return angles.reshape(-1, *[1] * (plane.ndim - 1))


def length_distortion(v: Tensor) -> Tensor:
    """Length of the curve, the integral of ``|v|`` (equation 3).

    The paper prints a square root over the norm; its code, like every definition of a
    length, has none.

    Args:
        v: Velocities ``(n, D)`` at evenly spaced angles without the end point.

    Returns:
        0-dim tensor.
    """
    return 2 * math.pi * v.norm(dim=-1).mean()


def curvature(v: Tensor, a: Tensor) -> Tensor:
    """Integral of ``|v|^-3 sqrt(|v|^2 |a|^2 - (v.a)^2)`` (equation 1).

    Args:
        v: Velocities ``(n, D)`` at evenly spaced angles without the end point.
        a: Accelerations ``(n, D)``.

    Returns:
        0-dim tensor; for a circle of radius r it is ``2 pi / r``.
    """
    # |v| |a_perp| is the same root, without the difference of two large numbers
    return 2 * math.pi * (_turn(v, a).norm(dim=-1) / v.norm(dim=-1)).mean()


def length_distortion_curvature(v: Tensor, a: Tensor) -> Tensor:
    """Length of the curve of unit velocities, the integral of ``|d(v/|v|)|`` (equation 4).

    The derivative acts on the norm too, which the released code forgets.

    Args:
        v: Velocities ``(n, D)`` at evenly spaced angles without the end point.
        a: Accelerations ``(n, D)``.

    Returns:
        0-dim tensor; for any convex plane curve it is ``2 pi``.
    """
    return 2 * math.pi * _turn(v, a).norm(dim=-1).mean()


def _turn(v: Tensor, a: Tensor) -> Tensor:
    """``d(v/|v|)/dtheta``: the part of ``a`` across ``v``, over ``|v|``."""
    speed = v.norm(dim=-1, keepdim=True)
    unit = v / speed
    return (a - (a * unit).sum(dim=-1, keepdim=True) * unit) / speed
