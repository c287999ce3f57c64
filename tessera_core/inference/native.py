"""Kernels of ``native.c``, compiled by the system's C compiler on first use; everything works without them.

Owns building, caching and calling them. Where there is no compiler, the build fails or ``TESSERA_NATIVE=0`` is set,
:func:`available` is false and :mod:`tessera_core.inference.kernels` uses torch. The calls release Python's lock, so batches run
side by side on several cores.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera_core._utils.atomic import atomic_path, write_text
from tessera_core._utils.paths import cache_home
from tessera_core._utils.private import is_private, private_folder
from tessera_core.errors import ExportError

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("native.c")
# -march=native: the result is cached per processor and never shipped.
FLAGS = ("-O3", "-march=native", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math")
MAX_WIDTH = 4096
MAX_HEAD_DIM = 512
_DTYPES = (torch.float32, torch.bfloat16)


def available() -> bool:
    """Whether the compiled kernels can be used here; builds them if need be (a few seconds, once per machine)."""
    return _library() is not None


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL | None:
    if os.environ.get("TESSERA_NATIVE", "1") == "0":
        return None
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        log.info("no C compiler found; the engine uses torch's own operations")
        return None
    try:
        library = ctypes.CDLL(str(_build(compiler)))
    except (OSError, ExportError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        log.info("the native kernels cannot be built (%s); the engine uses torch's own operations", str(detail)[:500])
        return None
    library.tessera_attention.restype = ctypes.c_int
    for name in ("layer_norm", "pool", "gru_gates", "gru_update", "embed"):
        getattr(library, f"tessera_{name}").restype = None
    return library


def _build(compiler: str) -> Path:
    source = SOURCE.read_bytes()
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=20, check=True).stdout
    machine = f"{platform.machine()} {platform.system()} {_processor()}"
    key = hashlib.sha256(b"\0".join((source, version, " ".join(FLAGS).encode(), machine.encode()))).hexdigest()[:24]
    target = private_folder(cache_home() / "native") / f"kernels-{key}.so"
    if not _is_ours(target):
        with atomic_path(target) as part:
            command = [compiler, *FLAGS, "-o", str(part), str(SOURCE), "-lm"]
            subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
            part.chmod(0o700)
            built = hashlib.sha256(part.read_bytes()).hexdigest()
        write_text(target.with_suffix(".sha256"), built)
    return target


def _is_ours(library: Path) -> bool:
    """Whether a built library is as it was built, and nobody else could have put it there."""
    note = library.with_suffix(".sha256")
    if not (is_private(library) and is_private(note)):
        return False
    return hashlib.sha256(library.read_bytes()).hexdigest() == note.read_text("ascii", "replace").strip()


def _processor() -> str:
    """What distinguishes processors for ``-march=native``: a cache folder may be shared between machines."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()


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
