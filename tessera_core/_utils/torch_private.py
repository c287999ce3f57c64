"""What we use of torch that it does not promise to keep; nothing else of ours names it.

``torch._int_mm`` and the operators of oneDNN are private: they are asked for here, and whoever calls them asks before whether
they are there. ``tests/test_private_apis.py`` says by name what a new torch has taken away.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_NAMES = ("_linear_pointwise", "_reorder_linear_weight")
# Whether oneDNN's fused linear layers can be called.
HAS_ONEDNN = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in _NAMES)
_PROCESSOR = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def int8_product(left: Tensor, right: Tensor) -> Tensor:
    """int32 (M, N) of int8 (M, K) and int8 (K, N).

    Raises:
        AttributeError: this torch has no such product.
        RuntimeError: it has none for these shapes or this device.
    """
    return torch._int_mm(left, right)


def packed_weight(weight: Tensor) -> Any:
    """A weight (n, k) in the order that oneDNN likes best; for :func:`linear` only."""
    return torch.ops.mkldnn._reorder_linear_weight(weight, None)


def linear(x: Tensor, weight: Any, bias: Tensor | None, after: str = "none") -> Tensor:
    """``x W^T + b`` by oneDNN: (M, k) -> (M, n); ``after`` is ``"none"`` or ``"relu"``."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], "")


def linear_plus(x: Tensor, other: Tensor, weight: Any, bias: Tensor | None) -> Tensor:
    """``other + x W^T + b`` by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, bias, "add")


def native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself (AVX512-BF16 or AMX), as far as this torch can tell."""
    return any(getattr(torch.cpu, name)() for name in _PROCESSOR if hasattr(torch.cpu, name))
