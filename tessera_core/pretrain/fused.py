"""A fused teacher: what encoders and plain seasonal statistics say of a pixel, in one vector that a student learns to foretell.

Joining an embedding with the seasonal statistics of the same pixels gains on most ground (docs/heads.md), at the price of a
second raster. Here the joined vector is reduced to the width of an embedding, once and for all places, and becomes what a
student is taught; ``tools/fused_nano.py`` does it. Knows packed pixels and arrays; refuses to know how the student is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.seasons import WINDOW_DAYS, interpolate, optical_numbers, radar_numbers
from tessera_core.models.normalisation import Normalisation
from tessera_core.pretrain.pixels import PixelSet
from tessera_core.types import Floats

# Most observations of a sensor in a month; both orbits of Sentinel-1 make eleven.
_DATES = 12
# Pixels in one go.
_PIXELS = 4096
# What an overlooked cloud may do at most to a number of an even block, in deviations.
_MOST = 5.0


class Block(NamedTuple):
    """One part of the fused vector.

    Attributes:
        values: float (N, F); a row with NaN says nothing of its pixel.
        share: its total variance in the fused vector.
        even: whether all numbers weigh the same; else they keep their proportions, as those of an embedding should.
    """

    values: Floats
    share: float = 1.0
    even: bool = False


class _Scaled(NamedTuple):
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    most: NDArray[np.float64]

    def __call__(self, values: Floats) -> NDArray[np.float64]:
        known = np.isfinite(values).all(axis=1, keepdims=True)
        moved = np.where(known, values, self.mean) - self.mean
        return np.clip(moved * self.scale, -self.most, self.most)


@dataclass(frozen=True)
class FusedTarget:
    """Fused vectors in the principal axes of a pool of pixels: first what varies most, so that prefixes hold it.

    Attributes:
        blocks: how each block is scaled.
        centre, axes: float64 (sum of F,) and (sum of F, D).
        offset: float32 (D,), added before each vector is scaled to the length that the last layer of an encoder gives its
            vectors, so that the length of the fused vector is not lost with it.
    """

    blocks: tuple[_Scaled, ...]
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    offset: NDArray[np.float32]

    @classmethod
    def fit(cls, blocks: Sequence[Block], weight: NDArray[np.float64], dim: int, constant: float = 1.0) -> FusedTarget:
        """The axes that a pool of pixels asks for.

        Args:
            blocks: what is fused, of the same N pixels.
            weight: (N,) of each pixel; they need not add up to 1.
            dim: width of the target, even.
            constant: size of the offset, in root mean squares of the vectors' numbers.

        Example:
            >>> x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
            >>> FusedTarget.fit([Block(x)], np.ones(50), 2)([x]).shape
            (50, 2)
        """
        weight = weight / weight.sum()
        scaled = tuple(_scaled(one, weight) for one in blocks)
        joined = np.concatenate([how(one.values) for how, one in zip(scaled, blocks, strict=True)], axis=1)
        centre = weight @ joined
        joined -= centre
        variances, axes = np.linalg.eigh((joined * weight[:, None]).T @ joined)
        order = np.argsort(-variances, kind="stable")[:dim]
        axes = axes[:, order]
        # Signs that do not depend on the library.
        axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(dim)])
        size = constant * np.sqrt(variances[order].sum() / dim)
        signs = np.random.default_rng(0).permutation(np.resize([1.0, -1.0], dim))
        return cls(scaled, centre, axes, (size * signs).astype(np.float32))

    def __call__(self, values: Sequence[Floats]) -> Floats:
        """Targets float32 (N, D), each of mean 0 and variance 1, from the values of the blocks."""
        joined = np.concatenate([how(one) for how, one in zip(self.blocks, values, strict=True)], axis=1)
        turned = (joined - self.centre) @ self.axes + self.offset
        turned -= turned.mean(1, keepdims=True)
        return (turned / np.maximum(turned.std(1, keepdims=True), 1e-6)).astype(np.float32)


def _scaled(block: Block, weight: NDArray[np.float64]) -> _Scaled:
    values, share, even = block
    known = np.isfinite(values).all(axis=1)
    own = weight[known] / max(weight[known].sum(), 1e-12)
    mean = own @ values[known].astype(np.float64)
    variance = np.maximum(own @ np.square(values[known] - mean), 1e-12)
    if not even:
        scale = np.full(len(mean), np.sqrt(share / variance.sum()))
        return _Scaled(mean, scale, np.full(len(mean), np.inf))
    each = np.sqrt(share / len(mean))
    return _Scaled(mean, each / np.sqrt(variance), np.full(len(mean), _MOST * each))


def packed_seasons(pixels: PixelSet, normalisation: Normalisation) -> tuple[Floats, Floats]:
    """The seasonal statistics of packed pixels: those of optics as :func:`.seasonal_statistics` has them, those of radar over
    the passes of both orbits, each normalised as the encoder takes it.

    Args:
        pixels: N of them.
        normalisation: of radar.

    Returns:
        float32 (N, 135) and (N, 27), NaN where a sensor never saw the pixel.
    """
    months = np.arange(12, dtype=np.float32)
    parts = []
    for start in range(0, max(len(pixels), 1), _PIXELS):
        some = pixels.take(slice(start, start + _PIXELS))
        optical = optical_numbers(np.nan_to_num(_months(some.s2, some.s2_doy, some.s2_count, True)), months)
        optical[some.s2_count == 0] = np.nan
        position = np.arange(some.s1.shape[1])[None]
        ascending = (position < some.s1_ascending[:, None])[..., None]
        passes = np.where(ascending, normalisation.ascending(some.s1), normalisation.descending(some.s1))
        days = np.where(position < some.s1_count[:, None], some.s1_doy.astype(int), 999)
        # Ascending passes lie before descending ones.
        order = np.argsort(days, axis=1, kind="stable")
        passes, days = np.take_along_axis(passes, order[..., None], 1), np.take_along_axis(days, order, 1)
        radar = radar_numbers(np.nan_to_num(_months(passes, days, some.s1_count, False)))
        radar[some.s1_count == 0] = np.nan
        parts.append((optical, radar))
    both = [np.concatenate(one).astype(np.float32) for one in zip(*parts, strict=True)]
    return both[0], both[1]


def _months(values: NDArray, days: NDArray, count: NDArray, median: bool) -> Floats:
    """Medians or means of (N, T, C) in order of time, a month each, gaps filled: (12, N, C); NaN where there is nothing."""
    pixels, dates, channels = values.shape
    number = np.floor((days.astype(float) - 0.5) / WINDOW_DAYS).astype(int)
    number[np.arange(dates)[None] >= count[:, None]] = 99
    rows, slot = np.arange(pixels), np.arange(_DATES)[None]
    out = np.full((12, pixels, channels), np.nan, np.float32)
    for month in range(12):
        found = np.minimum((number == month).sum(1), _DATES)
        at = np.minimum((number < month).sum(1)[:, None] + slot, dates - 1)
        seen = np.where((slot < found[:, None])[..., None], values[rows[:, None], at].astype(np.float32), np.nan)
        if median:
            seen.sort(axis=1)
            middle = np.maximum(found, 1)
            told = (seen[rows, (middle - 1) // 2] + seen[rows, middle // 2]) / 2
        else:
            told = np.nansum(seen, axis=1) / np.maximum(found, 1)[:, None]
        out[month] = np.where(found[:, None] > 0, told, np.nan)
    return interpolate(out, np.arange(12, dtype=np.float32))
