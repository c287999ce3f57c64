"""AlphaEarth annual embeddings: 64 dimensions A00..A63 of unit length, as their public COGs store them.

A code v of int8 stands for ``sign(v) * (|v| / 127.5)^2``, -128 for no data in that pixel (docs/spec/formats.md "Published embedding
layouts"). The codes are not linear in the value, so they cannot be used as our codes; they are decoded here and quantised again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DIM = 64
NODATA = -128
BANDS = tuple(f"A{n:02d}" for n in range(DIM))

_CODES = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32)
_VALUES = np.where(_CODES == NODATA, np.float32(np.nan), np.sign(_CODES) * (np.abs(_CODES) / 127.5) ** 2).astype(
    np.float32
)


def decode(codes: NDArray[np.int8]) -> NDArray[np.float32]:
    """Values: float32 (..., 64) of int8 (..., 64); NaN in every dimension where any has no data."""
    values = _VALUES[np.ascontiguousarray(codes).view(np.uint8)]
    values[np.isnan(values).any(axis=-1)] = np.nan
    return values


def encode(values: NDArray[np.floating]) -> NDArray[np.int8]:
    """The nearest codes: the inverse of :func:`decode`."""
    roots = np.sign(values) * np.sqrt(np.abs(values)) * 127.5
    codes = np.clip(np.rint(np.nan_to_num(roots)), -127, 127).astype(np.int8)
    codes[~np.isfinite(values).all(axis=-1)] = NODATA
    return codes


def holds(dataset: Any) -> bool:
    """Whether an open rasterio dataset has AlphaEarth codes: 64 int8 bands."""
    return int(dataset.count) == DIM and all(kind == "int8" for kind in dataset.dtypes)


def named(dataset: Any) -> bool:
    """Whether an open rasterio dataset says by its bands' names that it holds AlphaEarth embeddings."""
    return tuple(dataset.descriptions or ()) == BANDS
