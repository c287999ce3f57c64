"""Products of int8 codes with real weights, exact to float32 and without a float copy of the codes.

A weight column is written as ``step * (65536 a + 256 b + c)`` with int8 digits a, b, c, so a product with int8 codes
becomes three integer products that the processor's int8 dot-product instructions (VNNI and the like) do at the speed of
memory. The sums are exact; what is rounded is the weight, to 1 part in 8 million of its column's largest. Where the
processor or this build of torch is slow or saturates, a float32 product of blocks in cache takes over; which, is found
out by trying both once (`int8_products_work`).

Measured on 2 cores with AVX512-VNNI, 1,000,000 x 128 codes and 8 classes: 8 ms here, 52 ms with float32 blocks, 15 ms
from a bf16 working copy (of 256 MB, and with logits rounded to 8 bits), docs/performance.md.
"""

from __future__ import annotations

import time
import warnings
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from tessera_core._utils.torch_private import int8_product

# Pixels in one go: codes (2 MB) and the logits of 8 classes stay in the second-level caches of two cores.
BLOCK = 16_384
# Larger sums of the two lower digits would overflow int32: D * 127 * 128 * 257 < 2**31.
MAX_DIM = 512

with warnings.catch_warnings():
    # torch warns once in a process that a read-only array could be written through a tensor; nothing here writes codes.
    warnings.simplefilter("ignore")
    _read_only = np.zeros(1, np.int8)
    _read_only.flags.writeable = False
    torch.from_numpy(_read_only)


class CodeProduct:
    """The map ``codes -> weights.T @ codes.T`` for int8 codes.

    Args:
        weights: (D, K) real numbers.
        digits: int8 digits for each weight, 1 to 3 (see the module's docstring); fewer are faster and coarser.
        integer: force the integer (True) or the float32 kernel (False); None lets the machine choose.
    """

    def __init__(self, weights: NDArray[np.floating], digits: int = 3, integer: bool | None = None) -> None:
        dim, self.columns = weights.shape
        self.integer = (int8_products_work() and dim <= MAX_DIM) if integer is None else integer
        self.weights = torch.from_numpy(np.ascontiguousarray(weights, np.float32))
        self.digits = digits
        if self.integer:
            planes, steps = split_digits(weights, digits)
            self._planes = torch.from_numpy(np.concatenate([plane.T for plane in planes]))
            self._steps = torch.from_numpy(steps.astype(np.float32))[:, None]

    def __call__(self, codes: torch.Tensor) -> torch.Tensor:
        """float32 (K, N) from int8 codes (N, D); N should be about :data:`BLOCK`."""
        if not self.integer:
            return (codes.float() @ self.weights).T.contiguous()
        if len(codes) <= 16:  # torch's integer product wants more rows than 16 on some devices
            codes, n = torch.nn.functional.pad(codes, (0, 0, 0, 32 - len(codes))), len(codes)
            return self(codes)[:, :n]
        sums = int8_product(self._planes, codes.T)
        k = self.columns
        out = sums[-k:]
        if self.digits > 1:
            out = torch.add(out, sums[-2 * k : -k], alpha=256)
        out = out.float()
        if self.digits > 2:
            out.add_(sums[:k].float(), alpha=65536)
        return out.mul_(self._steps)


def split_digits(weights: NDArray[np.floating], digits: int) -> tuple[list[NDArray[np.int8]], NDArray[np.float64]]:
    """Write each column as ``step * sum(256**(n-1-i) * plane[i])``.

    Returns:
        ``digits`` planes int8 (D, K), the most significant first, and the steps (K,).
    """
    weights = np.asarray(weights, np.float64)
    # The largest magnitude whose balanced base-256 digits all lie in -128..127.
    largest = sum(127 * 256**i for i in range(digits))
    top = np.abs(weights).max(axis=0)
    steps = np.where(top > 0, top, 1.0) / largest
    rest = np.rint(weights / steps).astype(np.int64)
    planes: list[NDArray[np.int8]] = []
    for _ in range(digits):
        low = (rest + 128) % 256 - 128
        planes.insert(0, low.astype(np.int8))
        rest = (rest - low) // 256
    return planes, steps


@lru_cache(maxsize=1)
def int8_products_work() -> bool:
    """Whether integer products are exact on this machine and faster than float32 ones; tried once, about 20 ms."""
    # All-extreme codes: kernels without true int8 dot products saturate on these.
    codes = torch.full((BLOCK, 128), -127, dtype=torch.int8)
    codes[::2] = 127
    weights = torch.full((24, 128), -128, dtype=torch.int8)
    weights[::2] = 127
    try:
        exact = torch.equal(int8_product(weights, codes.T), weights.int() @ codes.T.int())
    except (RuntimeError, AttributeError):
        return False
    real = torch.randn(128, 8)
    return exact and _best_time(lambda: int8_product(weights, codes.T)) < _best_time(lambda: codes.float() @ real)


def _best_time(work) -> float:  # type: ignore[no-untyped-def]
    times = []
    for _ in range(12):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
