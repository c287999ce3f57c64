"""Faster matrix products and attention while training on a processor; on a GPU torch's own are the fast ones.

Two facts measured by ``tessera bench pretrain``: on AMD processors MKL's float32 product, torch's default, reaches less than
half of oneDNN's rate; and torch's bfloat16 attention for processors is many times slower backward than its float32 one. Both
are met without touching the model: inside :class:`QuickProducts` the functions that the model calls are exchanged.
Knows torch's functions only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from tessera_core._utils import torch_private

# Below this many rows the detour costs more than it saves.
_FEWEST_ROWS = 64
_NARROW = 96


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch_private.linear(x, weight, bias)


def _outer(gradient: Tensor, x: Tensor) -> Tensor:
    """``gradient^T x``; oneDNN falls back to a slow kernel where one of the widths is small."""
    if min(gradient.shape[1], x.shape[1]) < _NARROW:
        return gradient.t() @ x
    return _product(gradient.t(), x.t(), None)


class _Linear(torch.autograd.Function):
    """``x W^T + b`` by oneDNN, forward and backward, all in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(flat, weight)
        ctx.shape, ctx.biased = x.shape, bias is not None
        return _product(flat, weight, bias).view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        flat, weight = ctx.saved_tensors
        g = gradient.reshape(-1, gradient.shape[-1])
        of_x = _product(g, weight.t().contiguous(), None).view(ctx.shape) if ctx.needs_input_grad[0] else None
        of_weight = _outer(g, flat) if ctx.needs_input_grad[1] else None
        of_bias = g.sum(0) if ctx.biased and ctx.needs_input_grad[2] else None
        return of_x, of_weight, of_bias


class QuickProducts(TorchFunctionMode):
    """While active, linear layers and attention of tensors in main memory take the quicker way; results differ by rounding."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if func is F.linear and not given and args[0].device.type == "cpu":
            return _linear(args[0], args[1], args[2] if len(args) > 2 else None)
        if func is F.scaled_dot_product_attention and args[0].device.type == "cpu" and args[0].dtype == torch.bfloat16:
            mask = given.pop("attn_mask", None)
            wide = [x.float() for x in args[:3]]
            with torch.autocast("cpu", enabled=False):
                out = func(*wide, attn_mask=None if mask is None else mask.float(), **given)
            return out.to(torch.bfloat16)
        return func(*args, **given)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = x.numel() // max(1, x.shape[-1])
    plain = (
        not torch_private.HAS_ONEDNN
        or torch.is_autocast_enabled("cpu")
        or x.dtype != torch.float32
        or weight.dtype != torch.float32
        or rows < _FEWEST_ROWS
        or min(weight.shape) < 2
    )
    if plain:
        return F.linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)
