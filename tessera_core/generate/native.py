"""Optional compiled kernels (not built yet)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def attention_supported(dtype: torch.dtype, head_dim: int) -> bool:
    """Whether the compiled attention exists for this dtype and head width."""
    return False


def attention(qkv: Tensor, offsets: NDArray[np.int32], bias: NDArray[np.float32] | None, heads: int) -> Tensor:
    """Attention inside each pixel."""
    raise NotImplementedError
