"""Two views of every pixel: independent random subsets of its valid observations, lightly disturbed.

The draw is the method's (docs/spec/model.md section 5): k observations per modality without replacement where a pixel has that
many, cyclic repeats where it has fewer. What is added, each with its own setting and off at zero, makes a small model
survive what real tiles lack: an orbit, a modality, some months, exact radiometry. Everything is drawn for a whole batch at
once from one generator, so a step's views depend on its seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core.models.normalisation import Normalisation
from tessera_core.pretrain.pixels import PixelSet
from tessera_core.types import Floats

DB = 400.0  # stored Sentinel-1 units per decibel: (2 dB + 50) * 200

# Haze and thin cloud brighten short waves most; per band of S2_BANDS (B04 B02 B03 B08 B8A B05 B06 B07 B11 B12).
_HAZE = np.array([0.7, 1.0, 0.85, 0.4, 0.35, 0.6, 0.5, 0.45, 0.12, 0.06], np.float32)


@dataclass(frozen=True)
class Disturbance:
    """What is done to a view beyond choosing its dates; probabilities and standard deviations, 0 switches off.

    Attributes:
        drop_s1, drop_s2: probability that a view lacks a modality (never both).
        drop_orbit: probability that a view sees one orbit only.
        window: probability that a view sees only a window of the year, of ``window_days`` length.
        window_days: shortest and longest window in days.
        gain: relative standard deviation of a view's brightness, half of it common to the bands.
        haze: standard deviation of a view's haze in reflectance (half-normal, decreasing with wavelength).
        radar_db: standard deviation of a view's offset per polarisation in decibels.
    """

    drop_s1: float = 0.0
    drop_s2: float = 0.0
    drop_orbit: float = 0.0
    window: float = 0.0
    window_days: tuple[int, int] = (180, 330)
    gain: float = 0.0
    haze: float = 0.0
    radar_db: float = 0.0


class View(NamedTuple):
    """Encoder inputs: ``s2`` (N, k2, 11) and ``s1`` (N, k1, 3), normalised, day of year last."""

    s2: Floats
    s1: Floats


class RowDraws:
    """Random numbers for some ``rows`` of a batch of ``n``, the same ones whichever other rows are asked for.

    All rows' numbers are drawn, which is cheap, so that processes that share a batch see the views a single one would.
    """

    def __init__(self, rng: np.random.Generator, n: int, rows: NDArray[np.intp]) -> None:
        self.rng, self.n, self.rows = rng, n, rows

    def uniform(self, *shape: int) -> Floats:
        """float32 (rows, *shape) in [0, 1)."""
        return self.rng.random((self.n, *shape), dtype=np.float32)[self.rows]

    def normal(self, *shape: int) -> Floats:
        """float32 (rows, *shape), standard normal."""
        return self.rng.standard_normal((self.n, *shape), np.float32)[self.rows]

    def whole(self, low: int, high: int) -> NDArray[np.int64]:
        """(rows,) integers from low to high - 1."""
        return self.rng.integers(low, high, self.n)[self.rows]

    def lot(self) -> NDArray[np.float64]:
        """float64 (rows,) in [0, 1)."""
        return self.rng.random(self.n)[self.rows]


def draw_positions(allowed: NDArray[np.bool_], k: int, draws: np.random.Generator | RowDraws) -> NDArray[np.intp]:
    """k positions per row among the ``allowed`` (N, T) ones, sorted; -1 throughout where a row allows none.

    Without replacement where a row allows at least k; otherwise every allowed position once and random ones cyclically again.
    """
    n, dates = allowed.shape
    counts = allowed.sum(1)
    if isinstance(draws, np.random.Generator):
        draws = RowDraws(draws, n, np.arange(n))
    key = draws.uniform(dates)
    key[~allowed] = 2.0
    order = np.argsort(key, axis=1)
    slot = np.arange(k)[None] % np.maximum(counts, 1)[:, None]
    chosen = np.sort(np.take_along_axis(order, slot, 1), axis=1)
    chosen[counts == 0] = -1
    return chosen


def draw_view(
    pixels: PixelSet,
    k_s2: int,
    k_s1: int,
    normalisation: Normalisation,
    rng: np.random.Generator,
    disturbance: Disturbance | None = None,
    rows: NDArray[np.intp] | None = None,
) -> View:
    """One random view of every pixel; a modality without observations becomes normalised zeros with day of year 0.

    With ``rows`` only the views of these pixels, equal to what they would be among all.
    """
    d = disturbance or Disturbance()
    draws = RowDraws(rng, len(pixels), np.arange(len(pixels)) if rows is None else rows)
    if rows is not None:
        pixels = pixels.take(rows)
    position_s2, position_s1 = np.arange(pixels.s2.shape[1])[None], np.arange(pixels.s1.shape[1])[None]
    allowed_s2 = position_s2 < pixels.s2_count[:, None]
    allowed_s1 = position_s1 < pixels.s1_count[:, None]
    ascending = position_s1 < pixels.s1_ascending[:, None]
    if d.window:
        start = draws.whole(1, 367)[:, None]
        narrow, days = draws.lot() < d.window, draws.whole(d.window_days[0], d.window_days[1] + 1)
        length = np.where(narrow, days, 400)[:, None]
        allowed_s2 = _restrict(allowed_s2, (pixels.s2_doy.astype(np.int32) - start) % 366 < length)
        allowed_s1 = _restrict(allowed_s1, (pixels.s1_doy.astype(np.int32) - start) % 366 < length)
    if d.drop_orbit:
        keep = draws.lot()[:, None]
        only_ascending, only_descending = keep < d.drop_orbit / 2, keep > 1 - d.drop_orbit / 2
        allowed_s1 = _restrict(allowed_s1, ~(only_ascending & ~ascending) & ~(only_descending & ascending))
    if d.drop_s1 or d.drop_s2:
        lot = draws.lot()
        allowed_s1 &= ~((lot < d.drop_s1) & (pixels.s2_count > 0))[:, None]
        allowed_s2 &= ~((lot > 1 - d.drop_s2) & (pixels.s1_count > 0))[:, None]
    s2 = _optical(pixels, draw_positions(allowed_s2, k_s2, draws), normalisation, draws, d)
    s1 = _radar(pixels, draw_positions(allowed_s1, k_s1, draws), normalisation, draws, d)
    return View(s2, s1)


def _restrict(allowed: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``allowed & wanted``, but a row that would lose everything stays as it was."""
    both = allowed & wanted
    return np.where(both.any(1, keepdims=True), both, allowed)


def _optical(
    pixels: PixelSet, chosen: NDArray[np.intp], normalisation: Normalisation, draws: RowDraws, d: Disturbance
) -> Floats:
    n, k = chosen.shape
    safe = np.maximum(chosen, 0)
    out = np.empty((n, k, 11), np.float32)
    values = pixels.s2[np.arange(n)[:, None], safe].astype(np.float32)
    if d.gain:
        common, own = draws.normal(1, 1), draws.normal(1, 10)
        values *= 1 + d.gain * np.float32(0.5**0.5) * (common + own)
    if d.haze:
        values += 1e4 * d.haze * np.abs(draws.normal(1, 1)) * _HAZE
    out[..., :10] = normalisation.s2(values)
    out[..., 10] = np.take_along_axis(pixels.s2_doy, safe, 1)
    out[chosen[:, 0] < 0] = 0
    return out


def _radar(
    pixels: PixelSet, chosen: NDArray[np.intp], normalisation: Normalisation, draws: RowDraws, d: Disturbance
) -> Floats:
    n, k = chosen.shape
    safe = np.maximum(chosen, 0)
    out = np.empty((n, k, 3), np.float32)
    values = pixels.s1[np.arange(n)[:, None], safe].astype(np.float32)
    if d.radar_db:
        # A missing polarisation (raw zero) stays the raw zero that the model knows.
        shift = DB * d.radar_db * draws.normal(1, 2)
        values = np.where(values == 0, values, values + shift).astype(np.float32)
    ascending = (safe < pixels.s1_ascending[:, None])[..., None]
    out[..., :2] = np.where(ascending, normalisation.ascending(values), normalisation.descending(values))
    out[..., 2] = np.take_along_axis(pixels.s1_doy, safe, 1)
    out[chosen[:, 0] < 0] = 0
    return out
