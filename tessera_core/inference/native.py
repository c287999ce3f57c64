"""Kernels of ``native.c``, compiled by the system's C compiler on first use; everything works without them.

Owns calling them (:mod:`tessera_core._utils.native` builds and keeps them). Where that cannot be done, :func:`available` is false
and :mod:`tessera_core.inference.kernels` uses torch. The calls release Python's lock, so batches run side by side on several
cores.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_core._utils import native

SOURCE = Path(__file__).with_name("native.c")
MAX_WIDTH = 4096
MAX_HEAD_DIM = 512
_DTYPES = (torch.float32, torch.bfloat16)


def available() -> bool:
    """Whether the compiled kernels can be used here; builds them if need be (a few seconds, once per machine)."""
    return _library() is not None


def _library() -> ctypes.CDLL | None:
    library = native.library(SOURCE)
    if library is not None:
        library.tessera_attention.restype = ctypes.c_int
        for name in ("layer_norm", "pool", "gru_gates", "gru_update", "gru_after", "embed"):
            getattr(library, f"tessera_{name}").restype = None
    return library


def _pointer(tensor: Tensor | NDArray | None) -> ctypes.c_void_p:
    if tensor is None:
        return ctypes.c_void_p(None)
    return ctypes.c_void_p(tensor.data_ptr() if isinstance(tensor, Tensor) else tensor.ctypes.data)


def _is_bf16(tensor: Tensor) -> ctypes.c_int:
    return ctypes.c_int(tensor.dtype == torch.bfloat16)


def usable(tensor: Tensor, width: int) -> bool:
    """Whether the row-wise kernels take this tensor."""
    return tensor.device.type == "cpu" and tensor.dtype in _DTYPES and width <= MAX_WIDTH and available()


def attention_usable(qkv: Tensor, head_dim: int) -> bool:
    """Whether :func:`attention` takes this tensor."""
    return qkv.device.type == "cpu" and qkv.dtype in _DTYPES and head_dim <= MAX_HEAD_DIM and available()


def attention(qkv: Tensor, offsets: NDArray[np.int32], bias: NDArray[np.float32] | None, heads: int) -> Tensor:
    """Self-attention inside each pixel: qkv (M, 3 d) -> (M, d); see :func:`tessera_core.inference.kernels.attention`."""
    library = _library()
    assert library is not None
    qkv = qkv.contiguous()
    width = qkv.shape[1] // 3
    out = torch.empty(qkv.shape[0], width, dtype=qkv.dtype)
    pixels, head_dim = ctypes.c_int(len(offsets) - 1), ctypes.c_int(width // heads)
    failed = library.tessera_attention(
        _pointer(qkv),
        _pointer(out),
        _pointer(offsets),
        _pointer(bias),
        pixels,
        ctypes.c_int(heads),
        head_dim,
        _is_bf16(qkv),
    )
    if failed:
        raise MemoryError("no memory left for attention")
    return out


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor, out: Tensor) -> Tensor:
    """LayerNorm of the rows of x (M, d) into ``out`` (may be x); gain and bias float32 (d,)."""
    library = _library()
    assert library is not None
    library.tessera_layer_norm(
        _pointer(x),
        _pointer(out),
        _pointer(gain),
        _pointer(bias),
        ctypes.c_int64(x.shape[0]),
        ctypes.c_int(x.shape[1]),
        _is_bf16(x),
    )
    return out


def pool(x: Tensor, query: Tensor, offsets: NDArray[np.int32], bias: NDArray[np.float32] | None) -> Tensor:
    """Softmax pooling of the rows of each pixel: x (M, d), query float32 (d,) -> float32 (P, d)."""
    library = _library()
    assert library is not None
    out = torch.empty(len(offsets) - 1, x.shape[1])
    library.tessera_pool(
        _pointer(x),
        _pointer(out),
        _pointer(query),
        _pointer(offsets),
        _pointer(bias),
        ctypes.c_int(len(offsets) - 1),
        ctypes.c_int(x.shape[1]),
        _is_bf16(x),
    )
    return out


def embed(x: Tensor, weight: Tensor, bias: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """``relu(x W + b)`` for few inputs: x float32 (M, k), weight float32 (k, padded width), bias (padded width,)."""
    library = _library()
    assert library is not None
    out = torch.empty(x.shape[0], width, dtype=dtype)
    library.tessera_embed(
        _pointer(x),
        _pointer(weight),
        _pointer(bias),
        _pointer(out),
        ctypes.c_int64(x.shape[0]),
        ctypes.c_int(x.shape[1]),
        ctypes.c_int(width),
        _is_bf16(out),
    )
    return out


def gru_gates(product: Tensor, given: Tensor, state: Tensor, z: Tensor, reset: Tensor) -> None:
    """First half of a recurrent step; see ``native.c``. ``given`` (B, 3 d) may be strided over rows."""
    library = _library()
    assert library is not None
    library.tessera_gru_gates(
        _pointer(product),
        _pointer(given),
        ctypes.c_int64(given.stride(0)),
        _pointer(state),
        _pointer(z),
        _pointer(reset),
        ctypes.c_int(state.shape[0]),
        ctypes.c_int(state.shape[1]),
        _is_bf16(reset),
    )


def gru_update(
    product: Tensor,
    given: Tensor,
    state: Tensor,
    z: Tensor,
    rounded: Tensor,
    folded: Tensor,
    total: float,
    logits: Tensor,
) -> None:
    """Second half of a recurrent step, with the pooling logit of the new state into ``logits`` (B,), which may be strided."""
    library = _library()
    assert library is not None
    library.tessera_gru_update(
        _pointer(product),
        _pointer(given),
        ctypes.c_int64(given.stride(0)),
        _pointer(state),
        _pointer(z),
        _pointer(rounded),
        _pointer(folded),
        ctypes.c_float(total),
        _pointer(logits),
        ctypes.c_int64(logits.stride(0)),
        ctypes.c_int(state.shape[0]),
        ctypes.c_int(state.shape[1]),
        _is_bf16(rounded),
    )


def gru_after(
    product: Tensor, given: Tensor, state: Tensor, rounded: Tensor, folded: Tensor, total: float, logits: Tensor
) -> None:
    """A recurrent step whose reset gate acts on the candidate's product (B, 3 d: r, z, n); else as :func:`gru_update`."""
    library = _library()
    assert library is not None
    library.tessera_gru_after(
        _pointer(product),
        _pointer(given),
        ctypes.c_int64(given.stride(0)),
        _pointer(state),
        _pointer(rounded),
        _pointer(folded),
        ctypes.c_float(total),
        _pointer(logits),
        ctypes.c_int64(logits.stride(0)),
        ctypes.c_int(state.shape[0]),
        ctypes.c_int(state.shape[1]),
        _is_bf16(rounded),
    )
