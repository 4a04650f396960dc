"""What other programs do to the backbone's modules, and in which mode they run it.

The fast paths read the weights of layers instead of calling the layers, and choose by the
size of the input. Where somebody relies on the calls, or records the operators for inputs
of other sizes, the paths that are written out take over by themselves.
"""
from typing import Tuple, Type

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


def is_plain(module: nn.Module, *types: Type[nn.Module]) -> bool:
    """Whether a layer computes what its class and its weights say, and nobody watches.

    It is not where a layer is wrapped (FSDP, LoRA), replaced (quantisation), has hooks
    (pruning, observers, Grad-CAM) or weights that are no ordinary tensors (DTensor).

    Args:
        module: The layer.
        *types: Classes whose computation is known; subclasses are not.
    """
    hooks = (module._forward_pre_hooks, module._forward_hooks,
             module._backward_pre_hooks, module._backward_hooks)
    weights = (module.weight, module.bias) if type(module) in types else (None, )
    return type(module) in types and not any(hooks) and not any(
        is_traceable_wrapper_subclass(weight) for weight in weights)


def is_recorded() -> bool:
    """Whether operators are recorded (compiled, exported, traced), to be run later on
    batches of other sizes."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_transformed() -> bool:
    """Whether ``torch.func`` transforms what runs, perhaps more than once: then only what
    is written out has every derivative."""
    return not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active())


def carries_tangent(x: Tensor) -> bool:
    """Whether a tensor carries a forward-mode derivative."""
    if torch.compiler.is_compiling():
        return False
    return forward_ad.unpack_dual(x).tangent is not None


def is_symbolic(*sides) -> bool:
    """Whether sizes stand for any number (``torch.export`` with dynamic shapes)."""
    return any(isinstance(side, torch.SymInt) for side in sides)


def sizes(x: Tensor, *dims: int) -> Tuple[int, ...]:
    """Sizes of a tensor. A trace keeps those of its example, as numbers."""
    found = tuple(x.shape[dim] for dim in dims)
    return tuple(map(int, found)) if torch.jit.is_tracing() else found
