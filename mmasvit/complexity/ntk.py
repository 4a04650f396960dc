"""The neural tangent kernel's Gram matrix at initialisation (section 3.2, equation 5)."""
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

STRETCH = 1024  # products that are summed before float64 takes over


def ntk_gram(model: nn.Module, features: Callable[[Tensor], Tensor],
             images: Tensor) -> Tensor:
    """Inner products of the images' gradients of the summed features.

    The gradients are those over every parameter whose name ends in ``weight``, as in
    the released code.

    One backward pass over the whole batch serves all images if ``features`` declares by
    an attribute ``images_lead`` that each layer keeps the images in the leading
    dimension: a layer's gradient for image i is then a product of what went in and what
    came back for image i. Any other callable costs a backward pass per image.

    Args:
        model: Names the parameters. It is not changed.
        features: Runs the model's modules, images to ``(n, D)``.
        images: ``(n, 3, H, W)``, in the network's dtype and on its device.

    Returns:
        ``(n, n)`` float64 on the CPU.
    """
    weights = [parameter for name, parameter in model.named_parameters()
               if name.rpartition('.')[2] == 'weight']
    learnable = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_()
        with torch.enable_grad():
            gram = None
            if getattr(features, 'images_lead', False):
                gram = _gram_of_one_pass(weights, features, images)
            return _gram_by_image(weights, features, images) if gram is None else gram
    finally:
        for weight, value in zip(weights, learnable):
            weight.requires_grad_(value)


def bn_gram(norms: Sequence[nn.Module], features: Callable[[Tensor], Tensor],
            images: Tensor) -> Tensor:
    """Inner products of the images' gradients over gamma and beta of BatchNorms alone.

    The norms use statistics that are given, so that no image depends on another. One
    backward pass serves all images: that of beta is what comes back to a norm's output,
    that of gamma its product with the normalised input.

    Args:
        norms: BatchNorms in evaluation mode, each used once, on maps ``(n, C, ...)`` or
            on tokens ``(n * tokens, C)`` in the order of the images.
        features: Runs them, images to ``(n, D)``, which is summed.
        images: ``(n, 3, H, W)``.

    Returns:
        ``(n, n)`` float64 on the CPU.
    """
    seen: List[Tuple[nn.Module, Tensor, Tensor]] = []

    def keep(norm: nn.Module, inputs: Tuple[Tensor], output: Tensor) -> Tensor:
        output = output if output.requires_grad else output.detach().requires_grad_()
        seen.append((norm, inputs[0].detach(), output))
        return output.clone()  # an activation may work in place

    handles = [norm.register_forward_hook(keep) for norm in norms]
    try:
        with torch.enable_grad():
            total = features(images).sum()
            gradients = torch.autograd.grad(total, [output for _, _, output in seen])
    finally:
        for handle in handles:
            handle.remove()
    n = len(images)
    gram = torch.zeros(n, n, dtype=torch.float64)
    for (norm, x, _), gradient in zip(seen, gradients):
        shape = (1, -1) + (1, ) * (x.ndim - 2)
        mean, var = norm.running_mean.view(shape), norm.running_var.view(shape)
        normalised = (x - mean) * (var + norm.eps).rsqrt()
        for own in (gradient * normalised, gradient):
            gram += _gram(own.movedim(1, -1).reshape(n, -1, x.shape[1]).sum(dim=1))
    return gram


def _gram_by_image(weights: List[Tensor], features: Callable[[Tensor], Tensor],
                   images: Tensor) -> Tensor:
    rows = []
    for image in images.split(1):
        grads = torch.autograd.grad(features(image).sum(), weights, allow_unused=True)
        rows.append([None if grad is None else grad.flatten() for grad in grads])
    gram = torch.zeros(len(images), len(images), dtype=torch.float64)
    for column in zip(*rows):
        if column[0] is not None:
            gram += _gram(torch.stack(column))
    return gram


def _gram(gradients: Tensor) -> Tensor:
    """``(n, ...)`` to ``(n, n)`` float64.

    Products are summed in the gradients' own precision over short stretches, which adds
    no more than the rounding the gradients have already, and in float64 from there on;
    converting all gradients first would take as long as the rest.
    """
    gradients = gradients.flatten(1)
    n, total = gradients.shape
    whole = total // STRETCH * STRETCH
    parts = gradients[:, :whole].unflatten(1, (-1, STRETCH)).transpose(0, 1)
    gram = (parts @ parts.transpose(1, 2)).double().sum(dim=0)
    rest = gradients[:, whole:].double()
    return (gram + rest @ rest.T).cpu()


def _gram_of_one_pass(weights: List[Tensor], features: Callable[[Tensor], Tensor],
                      images: Tensor) -> Optional[Tensor]:
    """As :func:`ntk_gram`, or None if a weight is used in a way that has no rule."""
    taps = _GradientTaps(weights, images)
    with taps:
        total = features(images).sum()
    others = torch.autograd.grad(total, taps.entrances + weights, allow_unused=True)
    missed = any(grad is not None for grad in others[len(taps.entrances):])
    return None if missed or taps.waiting else taps.gram


class _GradientTaps(TorchFunctionMode):
    """Hide the weights from autograd and take their gradients image by image instead.

    An operator with a weight runs on the detached weight; a hook on its output, which
    sees what comes back, adds to the Gram matrix. The weight's gradient for the whole
    batch is never computed.
    """

    def __init__(self, weights: List[Tensor], images: Tensor):
        super().__init__()
        n = len(images)
        self.gram = torch.zeros(n, n, dtype=torch.float64)
        self.entrances: List[Tensor] = []  # where gradients need not go further back
        self._weights = {id(weight) for weight in weights}
        self._uses: Dict[int, int] = {}
        self._sums: Dict[int, Tensor] = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tap = _RULES.get(func)
        if tap is None or not any(id(value) in self._weights
                                  for value in (*args, *kwargs.values())):
            return func(*args, **kwargs)
        return tap(self, *args, **kwargs)

    @property
    def waiting(self) -> bool:
        """Whether an operator with a weight has not seen its gradient."""
        return any(self._uses.values())

    def watch(self, x: Tensor, out: Tensor, weight: Tensor,
              per_image: Callable[[Tensor], Tensor]) -> Tensor:
        """Have ``per_image(gradient of out)``, ``(n, ...)``, added up for a weight."""
        if not x.requires_grad:
            if not out.requires_grad:
                out.requires_grad_()
            self.entrances.append(out)
        self._uses[id(weight)] = self._uses.get(id(weight), 0) + 1

        def hook(grad: Tensor) -> None:
            with torch.no_grad():
                gradients = per_image(grad).flatten(1)
            if id(weight) in self._sums:
                gradients += self._sums.pop(id(weight))
            self._uses[id(weight)] -= 1
            if self._uses[id(weight)]:
                self._sums[id(weight)] = gradients
            else:
                self.gram += _gram(gradients)

        out.register_hook(hook)
        return out


def _linear(taps: _GradientTaps, x: Tensor, weight: Tensor,
            bias: Optional[Tensor] = None) -> Tensor:
    out = F.linear(x, weight.detach(), bias)
    n, known = x.shape[0], x.detach()
    return taps.watch(x, out, weight, lambda grad: torch.bmm(
        grad.reshape(n, -1, grad.shape[-1]).transpose(1, 2),
        known.reshape(n, -1, x.shape[-1])))


def _conv2d(taps: _GradientTaps, x: Tensor, weight: Tensor,
            bias: Optional[Tensor] = None, stride=1, padding=0, dilation=1,
            groups: int = 1) -> Tensor:
    if groups != 1 or isinstance(padding, str):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    out = F.conv2d(x, weight.detach(), bias, stride, padding, dilation)
    known = x.detach()

    def per_image(grad: Tensor) -> Tensor:
        patches = F.unfold(known, weight.shape[-2:], dilation, padding, stride)
        return torch.bmm(grad.flatten(2), patches.transpose(1, 2))

    return taps.watch(x, out, weight, per_image)


def _layer_norm(taps: _GradientTaps, x: Tensor, normalized_shape, weight: Tensor,
                bias: Optional[Tensor] = None, eps: float = 1e-5) -> Tensor:
    out = F.layer_norm(x, normalized_shape, weight.detach(), bias, eps)
    known = x.detach()

    def per_image(grad: Tensor) -> Tensor:
        scaled = grad * F.layer_norm(known, normalized_shape, eps=eps)
        return scaled.reshape(len(x), -1, weight.numel()).sum(dim=1)

    return taps.watch(x, out, weight, per_image)


_RULES = {F.linear: _linear, F.conv2d: _conv2d, F.layer_norm: _layer_norm}


def condition_number(gram: Tensor) -> Tensor:
    """Largest over smallest eigenvalue of a Gram matrix (equation 5).

    Args:
        gram: Symmetric ``(n, n)``.

    Returns:
        0-dim float64 tensor; infinity, the worst value, if the matrix is not finite or,
        to its precision, not positive definite.
    """
    gram = gram.double()
    if not gram.isfinite().all():
        return gram.new_tensor(torch.inf)
    values = torch.linalg.eigvalsh(gram)
    resolved = len(gram) * torch.finfo(gram.dtype).eps * values[-1].abs()
    if values[0] <= resolved:
        return gram.new_tensor(torch.inf)
    return values[-1] / values[0]
