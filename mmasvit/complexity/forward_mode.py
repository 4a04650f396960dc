"""Operators whose forward-mode derivatives torch has slowly, not at all, or wrongly.

:class:`ForwardModeOperators` puts ours in their place while somebody else's code runs, so
that any network can be differentiated along a curve as it is.
"""
from typing import Optional, Sequence, Tuple

import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

# Scores of one block of attention: these and their derivatives stay in a core's cache.
BLOCK_SCORES = 2**18


class ForwardModeOperators(TorchFunctionMode):
    """While active, these functions of torch are differentiated our way.

    * ``scaled_dot_product_attention``: at order 1 value and derivative of dual tensors
      come out of one pass over blocks of the scores (:func:`attention_jvp`); at order 2
      it is written out. torch itself has forward mode for its slowest kernel only.
    * ``layer_norm``, ``group_norm``, ``batch_norm``: written out. torch's second
      forward-mode derivative of its fused kernels is wrong without any error (measured
      with 2.11: an acceleration off by 4 to 32 %).

    Args:
        order: 1 for dual tensors of ``torch.autograd.forward_ad`` without reverse mode,
            2 for nested ``torch.func.jvp``.
    """

    def __init__(self, order: int):
        super().__init__()
        attention = _dual_attention if order == 1 else _attention
        self._ours = {**_NORMS, F.scaled_dot_product_attention: attention}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return self._ours.get(func, func)(*args, **(kwargs or {}))


def attention_jvp(query: Tensor, key: Tensor, value: Tensor, d_query: Tensor,
                  d_key: Tensor, d_value: Tensor, scale: float,
                  block_scores: int = BLOCK_SCORES) -> Tuple[Tensor, Tensor]:
    """Softmax attention and its directional derivative, in one pass.

    With ``P = softmax(S)``, ``S = scale Q K'`` and ``R = P * dS`` (elementwise), the
    output is ``O = P V`` and its derivative ``P dV + R V - (R 1) O``. Neither scores nor
    probabilities are ever held for more than a block of rows.

    Args:
        query: ``(..., T, d)``.
        key: ``(..., T', d)``.
        value: ``(..., T', d')``.
        d_query: Derivative of ``query``, like it.
        d_key: Derivative of ``key``.
        d_value: Derivative of ``value``.
        scale: Factor of the scores.
        block_scores: Scores in a block; the result does not depend on it but for
            rounding.

    Returns:
        Output and derivative, each ``(..., T, d')``.
    """
    lead, (tokens, dims) = query.shape[:-2], query.shape[-2:]
    targets, out_dims = value.shape[-2:]
    # [q] [k]' = S and [dq q] [k dk]' = dS: the parts of the latter hold the former
    queries = torch.cat((d_query, query), -1).reshape(-1, tokens, 2 * dims) * scale
    keys = torch.cat((key, d_key), -1).reshape(-1, targets, 2 * dims).transpose(1, 2)
    values = torch.cat((d_value, value, torch.ones_like(value[..., :1])), -1)
    values = values.reshape(-1, targets, 2 * out_dims + 1)
    batch = queries.shape[0]
    rows = max(1, min(tokens, block_scores // targets))
    step = max(1, block_scores // (rows * targets)) if rows == tokens else 1
    out = query.new_empty(batch, tokens, out_dims)
    d_out = torch.empty_like(out)
    scores = query.new_empty(min(step, batch), rows, targets)
    d_scores = torch.empty_like(scores)
    for i in range(0, batch, step):
        for j in range(0, tokens, rows):
            q, k, v = queries[i:i + step, j:j + rows], keys[i:i + step], values[i:i + step]
            s, ds = scores[:q.shape[0], :q.shape[1]], d_scores[:q.shape[0], :q.shape[1]]
            torch.bmm(q[..., dims:], k[:, :dims], out=s)
            torch.bmm(q, k, out=ds)
            torch.softmax(s, -1, out=s)
            ds.mul_(s)
            pv = s @ v[..., :2 * out_dims]
            rv = ds @ v[..., out_dims:]
            o = pv[..., out_dims:]
            out[i:i + step, j:j + rows] = o
            d_out[i:i + step, j:j + rows] = (
                pv[..., :out_dims] + rv[..., :-1] - rv[..., -1:] * o)
    return (out.reshape(*lead, tokens, out_dims), d_out.reshape(*lead, tokens, out_dims))


def _attention(query: Tensor, key: Tensor, value: Tensor,
               attn_mask: Optional[Tensor] = None, dropout_p: float = 0.,
               is_causal: bool = False, scale: Optional[float] = None,
               enable_gqa: bool = False) -> Tensor:
    """``scaled_dot_product_attention`` in operators that have forward mode."""
    if attn_mask is not None or dropout_p or is_causal or enable_gqa:
        with sdpa_kernel(SDPBackend.MATH):  # slow, and torch's own affair
            return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p,
                                                  is_causal, scale=scale,
                                                  enable_gqa=enable_gqa)
    scores = (query * _scale_of(query, scale)) @ key.transpose(-2, -1)
    return scores.softmax(dim=-1) @ value


def _dual_attention(query: Tensor, key: Tensor, value: Tensor,
                    attn_mask: Optional[Tensor] = None, dropout_p: float = 0.,
                    is_causal: bool = False, scale: Optional[float] = None,
                    enable_gqa: bool = False) -> Tensor:
    """:func:`_attention` of dual tensors in one pass."""
    unusual = attn_mask is not None or dropout_p or is_causal or enable_gqa
    primals, tangents = zip(*map(forward_ad.unpack_dual, (query, key, value)))
    if unusual or all(tangent is None for tangent in tangents):
        return _attention(query, key, value, attn_mask, dropout_p, is_causal, scale,
                          enable_gqa)
    tangents = [torch.zeros_like(primal) if tangent is None else tangent
                for primal, tangent in zip(primals, tangents)]
    return forward_ad.make_dual(
        *attention_jvp(*primals, *tangents, _scale_of(query, scale)))


def _scale_of(query: Tensor, scale: Optional[float]) -> float:
    return query.shape[-1]**-0.5 if scale is None else scale


def _normalise(x: Tensor, dims: Sequence[int], eps: float) -> Tensor:
    centred = x - x.mean(dim=dims, keepdim=True)
    return centred * (centred.square().mean(dim=dims, keepdim=True) + eps).rsqrt()


def _layer_norm(x: Tensor, normalized_shape: Sequence[int],
                weight: Optional[Tensor] = None, bias: Optional[Tensor] = None,
                eps: float = 1e-5, cudnn_enable: bool = True) -> Tensor:
    y = _normalise(x, tuple(range(-len(normalized_shape), 0)), eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _group_norm(x: Tensor, num_groups: int, weight: Optional[Tensor] = None,
                bias: Optional[Tensor] = None, eps: float = 1e-5,
                cudnn_enabled: bool = True) -> Tensor:
    y = _normalise(x.reshape(x.shape[0], num_groups, -1), (-1, ), eps).reshape(x.shape)
    return _scale_channels(y, weight, bias)


def _batch_norm(x: Tensor, running_mean: Optional[Tensor], running_var: Optional[Tensor],
                weight: Optional[Tensor] = None, bias: Optional[Tensor] = None,
                training: bool = False, momentum: float = 0.1,
                eps: float = 1e-5) -> Tensor:
    if training:
        y = _normalise(x, (0, *range(2, x.ndim)), eps)
    else:
        y = _scale_channels(x - _per_channel(running_mean, x),
                            (running_var + eps).rsqrt(), None)
    return _scale_channels(y, weight, bias)


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (x.ndim - 2))


def _scale_channels(x: Tensor, weight: Optional[Tensor],
                    bias: Optional[Tensor]) -> Tensor:
    x = x if weight is None else x * _per_channel(weight, x)
    return x if bias is None else x + _per_channel(bias, x)


_NORMS = {
    F.layer_norm: _layer_norm, torch.layer_norm: _layer_norm,
    F.group_norm: _group_norm, F.batch_norm: _batch_norm,
}
