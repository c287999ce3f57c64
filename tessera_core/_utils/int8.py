"""Products of int8 codes with real weights, exact to float32 and without a float copy of the codes.

Our own C kernels (``codes.c``) do them, sixteen pixels side by side. Where the processor has int8 dot products (AVX512-VNNI),
a weight column is written as ``step * (65536 a + 256 b + c)`` with int8 digits a, b, c: the sums are exact, and what is rounded is
the weight, to 1 part in 8 million of its column's largest. Other processors multiply in float32, in the widest vectors they have.
Without a compiler NumPy does, over small blocks. Which is taken is decided once (:func:`kernels`), and which was tried, and
what each takes, stands in docs/performance.md.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils import native
from tessera_core._utils.softmax import largest_of

# Pixels in one go: codes (2 MB) and the logits of 8 classes stay in the second-level caches of two cores.
BLOCK = 16_384
# Pixels that NumPy turns into float32 at once (1 MB at 128 dimensions).
_FLOATS = 2_048
# Larger class numbers do not fit a byte.
_MAX_LARGEST = 256
# The forms of the kernels in the order of ``tessera_codes_form``, which names the last one that this processor has.
_FORMS = ("plain", "avx2", "avx512", "vnni")


class CodeProduct:
    """The map ``codes -> weights.T @ codes.T`` for int8 codes.

    Args:
        weights: (D, K) real numbers.
        digits: int8 digits for each weight, 1 to 3 (see the module's docstring), for kernels that use them; fewer are faster
            and coarser.
        kernel: one of :func:`kernels`; None for the quickest.

    Example:
        >>> codes = np.array([[1, 2], [3, 4], [-5, 6]], np.int8)
        >>> CodeProduct(np.array([[1.0], [0.5]]))(codes).round(3).tolist()
        [[2.0, 5.0, -2.0]]
    """

    def __init__(self, weights: NDArray[np.floating], digits: int = 3, kernel: str | None = None) -> None:
        self.dim, self.columns = weights.shape
        dim = self.dim
        library = _library()
        fits = library is not None and 0 < dim <= library.tessera_codes_max_dim() and self.columns > 0
        self.kernel = (kernel or kernels()[-1]) if fits else "numpy"
        self._weights = np.ascontiguousarray(weights.T, np.float32)
        self._library = None if self.kernel == "numpy" else library
        if self._library is not None:
            self._pack(weights, digits)

    def _pack(self, weights: NDArray[np.floating], digits: int) -> None:
        dim, k = weights.shape
        words = -(-dim // 4)
        planes = offsets = steps = floats = None
        if self.kernel == "vnni":
            split, steps64 = split_digits(weights, digits)
            planes = np.zeros((k, words, digits, 4), np.int8)
            for i, plane in enumerate(split):
                padded = np.zeros((k, 4 * words), np.int8)
                padded[:, :dim] = plane.T
                planes[:, :, i] = padded.reshape(k, words, 4)
            offsets = -128 * planes.sum(axis=(1, 3), dtype=np.int32)
            steps = steps64.astype(np.float32)
        else:
            digits = 0
            floats = np.zeros((k, 4 * words), np.float32)
            floats[:, :dim] = self._weights
        # The addresses are handed to the kernel; the arrays live as long as this.
        self._packed = (floats, planes, offsets, steps)
        head = (_FORMS.index(self.kernel), dim, k, digits)
        self._head = (*map(ctypes.c_int, head), *map(_address, self._packed))

    def __call__(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.floating] | None = None,
        added: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float32]:
        """Products float32 (K, N) of codes int8 (N, D); N should be about :data:`BLOCK`.

        Args:
            codes: of pixels, with as many columns as the weights have rows.
            scales: float32 (N,) that each pixel's products are multiplied with; None for 1.
            added: float32 (K,) added afterwards, to each column; None for nothing.

        Raises:
            ValueError: an array has another shape.
        """
        self._require(codes, scales, added)
        out = np.empty((self.columns, len(codes)), np.float32)
        if self._library is None:
            self._by_numpy(codes, scales, added, out)
        elif len(codes):
            self._call(codes, scales, added, out)
        return out

    def largest(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.floating] | None,
        added: NDArray[np.floating] | None,
        classes: NDArray[np.uint8],
        confidence: NDArray[np.uint8] | None = None,
        top: NDArray[np.float32] | None = None,
        names: NDArray[np.uint8] | None = None,
        temperature: float = 1.0,
    ) -> None:
        """Which column is the largest of each pixel, without the products ever being in memory.

        Args:
            codes, scales, added: see :meth:`__call__`.
            classes: uint8 (N,), filled with the first column that is the largest, or its name.
            confidence: uint8 (N,), filled with that column's soft-max in percent; None to leave it away.
            top: float32 (N,), filled with its value; None to leave it away.
            names: uint8 (K,) of the columns; None for 0, 1, 2, ...
            temperature: products are divided by it for the soft-max, and for nothing else: no tie is made or broken.

        Raises:
            ValueError: an array has another shape.
        """
        self._require(codes, scales, added, names, classes, confidence, top)
        if names is None:
            names = np.arange(self.columns, dtype=np.uint8)
        if self._library is not None and self.columns <= _MAX_LARGEST:
            if len(codes):
                self._call(codes, scales, added, None, names, classes, confidence, top, temperature=temperature)
            return
        index, best, percent = largest_of(self(codes, scales, added), confidence is not None, temperature)
        classes[...] = names[index]
        if confidence is not None and percent is not None:
            confidence[...] = percent
        if top is not None:
            top[...] = best

    def _require(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[Any] | None,
        added: NDArray[Any] | None,
        names: NDArray[Any] | None = None,
        *filled: NDArray[Any] | None,
    ) -> None:
        # A kernel is told addresses only: it would read, and write, beyond what is too short.
        n = len(codes)
        if codes.dtype != np.int8 or codes.shape != (n, self.dim) or (scales is not None and scales.shape != (n,)):
            raise ValueError(
                f"Codes have to be int8 (N, {self.dim}) with N scales; these are {codes.dtype} {codes.shape}."
            )
        if any(a is not None and a.shape != (self.columns,) for a in (added, names)) or any(
            a is not None and a.shape != (n,) for a in filled
        ):
            raise ValueError(f"There have to be as many values as columns ({self.columns}), or as pixels ({n}).")

    def _call(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.floating] | None,
        added: NDArray[np.floating] | None,
        out: NDArray[np.float32] | None,
        *largest: NDArray[np.uint8] | NDArray[np.float32] | None,
        temperature: float = 1.0,
    ) -> None:
        codes = np.ascontiguousarray(codes)
        given = [
            None if a is None else np.ascontiguousarray(a, np.float32)  # as the kernel reads them
            for a in (scales, added)
        ]
        filled = [*largest, *[None] * (4 - len(largest))]
        # Slices of whole arrays are; the kernel writes runs of memory.
        assert all(array is None or array.flags.c_contiguous for array in (out, *filled))
        assert self._library is not None
        refused = self._library.tessera_codes_product(
            *self._head,
            _address(codes),
            ctypes.c_int64(len(codes)),
            *(_address(a) for a in given),
            _address(out),
            *(_address(a) for a in filled),
            ctypes.c_float(1 / temperature),
        )
        assert not refused

    def _by_numpy(
        self,
        codes: NDArray[np.int8],
        scales: NDArray[np.floating] | None,
        added: NDArray[np.floating] | None,
        out: NDArray[np.float32],
    ) -> None:
        for start in range(0, len(codes), _FLOATS):
            part = slice(start, start + _FLOATS)
            values = np.dot(self._weights, codes[part].astype(np.float32).T)
            if scales is not None:
                values *= scales[part]
            if added is not None:
                values += added[:, None]
            out[:, part] = values


def code_squares(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Squared lengths float32 (N,) of int8 codes (N, D); N should be about :data:`BLOCK`.

    Raises:
        ValueError: they are no such codes.
    """
    if codes.dtype != np.int8 or codes.ndim != 2:
        raise ValueError(f"Codes have to be int8 (N, D); these are {codes.dtype} {codes.shape}.")
    out = np.empty(len(codes), np.float32)
    library = _library()
    if library is not None:
        codes = np.ascontiguousarray(codes)
        library.tessera_codes_squares(
            ctypes.c_int(_form(library)),
            _address(codes),
            ctypes.c_int64(len(codes)),
            ctypes.c_int(codes.shape[1]),
            _address(out),
        )
        return out
    for start in range(0, len(codes), _FLOATS):
        values = codes[start : start + _FLOATS].astype(np.float32)
        np.einsum("nd,nd->n", values, values, out=out[start : start + _FLOATS])
    return out


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


def kernels() -> tuple[str, ...]:
    """What can do products here, the slowest first: ``"numpy"``, and, where the C file could be compiled, its forms."""
    library = _library()
    return ("numpy",) if library is None else ("numpy", *_FORMS[: _form(library) + 1])


def _library() -> ctypes.CDLL | None:
    return native.library(native.PORTABLE[0])


@lru_cache(maxsize=2)
def _form(library: ctypes.CDLL) -> int:
    return int(library.tessera_codes_form())


def _address(array: NDArray | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)
