"""Raw Sentinel-1/2 time series of pixels to the exact tensors each published encoder takes.

Owns validity, the sampling rules of spec 2.4 to 2.6, orbit order, and the missing-modality rules. Knows arrays, not tile
folders; batching and devices are the engine's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import TileError
from tessera_core.models.config import Days, EncoderConfig, Sampling
from tessera_core.models.normalisation import NORMALISATIONS, S1_CHANNELS, S2_CHANNELS, Normalisation
from tessera_core.types import Ints

__all__ = [
    "NORMALISATIONS",
    "Bucket",
    "Normalisation",
    "PixelSeries",
    "choose_positions",
    "distinct_positions",
    "draw_positions",
    "prepare",
    "runnable",
    "sequence_length",
]

_DUMMY_DOY = 180


class Tile(Protocol):
    """What a d-pixel tile offers; see :class:`tessera_core.dpixels.tile.DPixelTile`."""

    @property
    def bands(self) -> NDArray[Any]:
        """(T, H, W, 10)."""

    @property
    def masks(self) -> NDArray[Any]:
        """(T, H, W)."""

    @property
    def doys(self) -> NDArray[Any]:
        """(T,)."""

    @property
    def sar_asc(self) -> NDArray[Any]:
        """(Ta, H, W, 2)."""

    @property
    def doys_asc(self) -> NDArray[Any]:
        """(Ta,)."""

    @property
    def sar_desc(self) -> NDArray[Any]:
        """(Td, H, W, 2)."""

    @property
    def doys_desc(self) -> NDArray[Any]:
        """(Td,)."""


@dataclass(frozen=True)
class PixelSeries:
    """Raw time series of N pixels on common dates, time first.

    Attributes:
        bands: integer (T, N, 10), S2 digital numbers in the published channel order.
        s2_valid: bool (T, N).
        doys: float32 (T,).
        sar: integer (Ta + Td, N, 2), [VV, VH]; ascending passes, then descending ones, never sorted by date.
        s1_valid: bool (Ta + Td, N): VV or VH is not a raw zero.
        doys_sar: float32 (Ta + Td,).
        ascending: how many of the passes are ascending (Ta).
    """

    bands: NDArray[Any]
    s2_valid: NDArray[np.bool_]
    doys: NDArray[np.float32]
    sar: NDArray[Any]
    s1_valid: NDArray[np.bool_]
    doys_sar: NDArray[np.float32]
    ascending: int

    @classmethod
    def of_arrays(
        cls,
        bands: NDArray[Any],
        masks: NDArray[Any] | None,
        doys: NDArray[Any],
        sar_asc: NDArray[Any],
        doys_asc: NDArray[Any],
        sar_desc: NDArray[Any],
        doys_desc: NDArray[Any],
    ) -> PixelSeries:
        """From arrays (T, ..., C) whose middle axes are pixels; ``masks`` None means that every S2 date is valid.

        The spatial shape of a SAR array without dates is ignored (some stackers write a wrong one).

        Raises:
            TileError: the arrays do not belong together.
        """
        pixels = int(np.prod(bands.shape[1:-1], dtype=np.int64))
        flat = bands.reshape(bands.shape[0], pixels, bands.shape[-1])
        valid = np.ones(flat.shape[:2], bool) if masks is None else np.asarray(masks != 0).reshape(-1, pixels)
        orbits = []
        for sar, days, name in ((sar_asc, doys_asc, "ascending"), (sar_desc, doys_desc, "descending")):
            if len(days) != sar.shape[0]:
                raise TileError(f"The {name} SAR passes have {len(days)} days of year for {sar.shape[0]} dates.")
            orbits.append(sar.reshape(sar.shape[0], pixels, S1_CHANNELS) if len(days) else _no_passes(pixels))
        if flat.shape[2] != S2_CHANNELS or valid.shape != flat.shape[:2] or len(doys) != flat.shape[0]:
            raise TileError(
                f"Bands {bands.shape}, masks {valid.shape} and {len(doys)} days of year do not belong to one time series."
            )
        merged = np.concatenate(orbits) if all(len(orbit) for orbit in orbits) else max(orbits, key=len)
        days_sar = np.concatenate([np.asarray(doys_asc, np.float32), np.asarray(doys_desc, np.float32)])
        return cls(
            flat, valid, np.asarray(doys, np.float32), merged, (merged != 0).any(-1), days_sar, ascending=len(doys_asc)
        )

    @classmethod
    def of_tile(cls, tile: Tile, rows: slice = slice(None)) -> PixelSeries:
        """From a d-pixel tile, or some of its rows; pixels are row-major."""
        return cls.of_arrays(
            tile.bands[:, rows],
            tile.masks[:, rows],
            tile.doys,
            tile.sar_asc[:, rows] if len(tile.doys_asc) else tile.sar_asc,
            tile.doys_asc,
            tile.sar_desc[:, rows] if len(tile.doys_desc) else tile.sar_desc,
            tile.doys_desc,
        )

    @property
    def pixels(self) -> int:
        """N."""
        return self.bands.shape[1]

    def with_dummy_passes(self) -> PixelSeries:
        """With one invalid all-zero pass on day 180 in place of each orbit that has none, as v1.0 QAT does."""
        descending = len(self.doys_sar) - self.ascending
        if self.ascending and descending:
            return self
        parts = [self.sar[: self.ascending], self.sar[self.ascending :]]
        days = [self.doys_sar[: self.ascending], self.doys_sar[self.ascending :]]
        for i, count in enumerate((self.ascending, descending)):
            if not count:
                parts[i] = np.zeros((1, self.pixels, S1_CHANNELS), self.sar.dtype)
                days[i] = np.array([_DUMMY_DOY], np.float32)
        sar = np.concatenate(parts)
        return PixelSeries(
            self.bands, self.s2_valid, self.doys, sar, (sar != 0).any(-1), np.concatenate(days), max(self.ascending, 1)
        )

    def for_days(self, days: Days) -> PixelSeries:
        """With days of the year as an encoder takes them; ``"bf16"`` rounds them to bfloat16, ties to even."""
        if days == "exact":
            return self
        return replace(self, doys=_bfloat16(self.doys), doys_sar=_bfloat16(self.doys_sar))

    def gather_s2(self, pixels: Ints, positions: Ints, normalisation: Normalisation) -> NDArray[np.float32]:
        """Encoder rows (P, L, 11) of dates ``positions`` (P, L) of ``pixels`` (P,): normalised bands, then the day of year."""
        out = np.empty((*positions.shape, S2_CHANNELS + 1), np.float32)
        out[..., :-1] = normalisation.s2(self.bands[positions, pixels[:, None]])
        out[..., -1] = self.doys[positions]
        return out

    def gather_s1(self, pixels: Ints, positions: Ints, normalisation: Normalisation) -> NDArray[np.float32]:
        """Encoder rows (P, L, 3), each pass normalised with the statistics of its orbit."""
        raw = self.sar[positions, pixels[:, None]]
        asc = positions < self.ascending
        out = np.empty((*positions.shape, S1_CHANNELS + 1), np.float32)
        out[..., :-1] = np.where(asc[..., None], normalisation.ascending(raw), normalisation.descending(raw))
        out[..., -1] = self.doys_sar[positions]
        return out


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest numbers that bfloat16 has, as float32; ties to even. Finite values only."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).astype(np.uint32).view(np.float32)


@dataclass(frozen=True)
class Bucket:
    """Model inputs of pixels whose sequences have equal lengths.

    Attributes:
        pixels: int64 (P,), indices into the series, ascending.
        s2: float32 (P, T2, 11).
        s1: float32 (P, T1, 3).
        s2_positions, s1_positions: int64 (P, T), which dates (passes) the rows are; -1 for the zero rows of a missing sensor.
        weight: share of these rows in the pixel's embedding; below 1 where several random draws are averaged.
    """

    pixels: Ints
    s2: NDArray[np.float32]
    s1: NDArray[np.float32]
    s2_positions: Ints
    s1_positions: Ints
    weight: float = 1.0


def sequence_length(n: int, sampling: Sampling) -> int:
    """Length of the sequence that ``n`` valid observations become under rule ``"v1.1"`` or ``"v2"``.

    Nothing observed is a block of the smallest bin in v1.1 and a single row in v2; more than the largest bin is thinned to it.
    """
    if n == 0 and sampling.rule == "v2":
        return 1
    return next((b for b in sampling.bins if b >= n), sampling.bins[-1])


def choose_positions(n: int, sampling: Sampling, length: int | None = None) -> Ints:
    """Which of ``n`` valid observations fill a sequence, in order, with repetitions (spec 2.5 and 2.6).

    Args:
        n: how many valid observations there are; 0 gives an empty array.
        sampling: of rule ``"v1.1"`` or ``"v2"``; v1.0 draws at random instead, see :func:`draw_positions`.
        length: of the sequence; None means :func:`sequence_length`.

    Returns:
        int64 (length,) ordinals 0..n-1 among the valid observations.
    """
    if sampling.rule == "v1.0":
        raise ValueError("the sampling rule v1.0 has no fixed positions")
    if n == 0:
        return np.zeros(0, np.int64)
    length = sequence_length(n, sampling) if length is None else length
    extra = length - n
    everything = np.arange(n, dtype=np.int64)
    if sampling.rule == "v1.1":
        if extra <= 0:
            return everything if extra == 0 else _chunk_middles(n, length)
        inner = np.linspace(0, n - 1, extra + 2)[1:-1]
        return np.concatenate([everything, np.clip(np.rint(inner).astype(np.int64), 0, n - 1)])
    if extra <= 0:
        # The product of float64 step and index falls just below an integer for some n; so it did in training.
        return np.linspace(0, n - 1, length, dtype=np.int64)
    if extra <= n:
        return np.concatenate([everything, _chunk_middles(n, extra)])
    return np.arange(length, dtype=np.int64) % n


def _chunk_middles(n: int, chunks: int) -> Ints:
    """Middle elements of 0..n-1 cut into consecutive chunks, the first ``n % chunks`` of them one longer."""
    small, longer = divmod(n, chunks)
    sizes = np.full(chunks, small, np.int64)
    sizes[:longer] += 1
    return np.cumsum(sizes) - sizes + sizes // 2


@lru_cache(maxsize=4096)
def distinct_positions(n: int, sampling: Sampling) -> tuple[Ints, Ints]:
    """The distinct ones of :func:`choose_positions`, ascending, and how often each occurs; read-only.

    With log(multiplicity) as key bias they are exact for encoders whose pooling is not recurrent (spec 7.6).
    """
    ordinals, counts = np.unique(choose_positions(n, sampling), return_counts=True)
    ordinals.setflags(write=False)
    counts.setflags(write=False)
    return ordinals, counts


def draw_positions(valid: NDArray[np.bool_], draws: int, rng: np.random.RandomState | np.random.Generator) -> Ints:
    """The random dates of v1.0 for one pixel and sensor: ``draws`` of the valid ones, sorted (spec 2.4).

    Without replacement where there are enough; where nothing is valid, every date may be drawn.

    Args:
        valid: bool (T,), T > 0.
        draws: length of the result.
        rng: the reference's stream is a ``RandomState``'s.

    Returns:
        int64 (draws,) positions in ``valid``.
    """
    eligible = np.flatnonzero(valid)
    if not len(eligible):
        eligible = np.arange(len(valid))
    return np.sort(rng.choice(eligible, size=draws, replace=len(eligible) < draws))


def runnable(series: PixelSeries, config: EncoderConfig) -> NDArray[np.bool_]:
    """Which pixels (N,) the encoder is run for; the others have no embedding.

    v1.0: pixels with some non-zero S2 value and at least ``sampling.min_valid`` valid steps of each sensor. v1.1: those with at
    least ``sampling.min_optical`` valid optical dates, which is all unless said otherwise. v2: those with any valid observation.

    Raises:
        TileError: v1.0 fp32 without a single S1 date, which it cannot handle.
    """
    sampling = config.sampling
    if sampling.rule == "v1.1":
        return np.asarray(series.s2_valid.sum(0) >= sampling.min_optical)
    s2, s1 = series.s2_valid.sum(0), series.s1_valid.sum(0)
    if sampling.rule == "v2":
        return (s2 > 0) | (s1 > 0)
    no_radar = len(series.doys_sar) == 0
    if no_radar and not sampling.dummy_sar:
        raise TileError(
            "TESSERA v1.0 fp32 needs at least one Sentinel-1 date, and this tile has none; use another model."
        )
    seen = (series.bands != 0).any(axis=(0, 2)) & (s2 >= sampling.min_valid)
    return seen if no_radar else seen & (s1 >= sampling.min_valid)


def prepare(
    series: PixelSeries,
    config: EncoderConfig,
    *,
    seed: int | np.random.RandomState = 0,
    repeats: int = 1,
    batch_size: int = 512,
) -> Iterator[Bucket]:
    """Model inputs of all pixels that are run, as the reference code makes them.

    v1.1 and v2 yield one bucket for each pair of sequence lengths, sorted. v1.0 yields one for each ``batch_size`` pixels and
    repetition; the embedding is the sum of outputs times ``weight``.

    Args:
        series: the pixels.
        config: sampling rule and normalisation.
        seed: v1.0 only: seed of NumPy's legacy generator, whose stream the reference uses, or the generator itself.
        repeats: v1.0 only: how many random draws to average.
        batch_size: v1.0 only: in which portions pixels are drawn; part of what a seed means.

    Raises:
        TileError: see :func:`runnable`.
    """
    run = runnable(series, config)
    series = series.for_days(config.days)
    if config.sampling.rule == "v1.0":
        rng = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
        yield from _draw(series, config, np.flatnonzero(run), rng, repeats, batch_size)
        return
    s2, s1 = _Ordered.of(series.s2_valid, config), _Ordered.of(series.s1_valid, config)
    keys = np.stack([s2.lengths, s1.lengths], axis=1)
    for length_s2, length_s1 in np.unique(keys[run], axis=0):
        pixels = np.flatnonzero(run & (s2.lengths == length_s2) & (s1.lengths == length_s1))
        at_s2, at_s1 = s2.positions(pixels, int(length_s2)), s1.positions(pixels, int(length_s1))
        yield Bucket(
            pixels,
            _rows(series.gather_s2, pixels, at_s2, S2_CHANNELS, config.normalisation),
            _rows(series.gather_s1, pixels, at_s1, S1_CHANNELS, config.normalisation),
            at_s2,
            at_s1,
        )


@dataclass(frozen=True)
class _Ordered:
    """One sensor's valid dates of each pixel, moved to the front."""

    order: Ints  # (T, N): valid positions first, in time order
    counts: Ints  # (N,)
    lengths: Ints  # (N,)
    sampling: Sampling

    @classmethod
    def of(cls, valid: NDArray[np.bool_], config: EncoderConfig) -> _Ordered:
        counts = valid.sum(0)
        table = np.array([sequence_length(n, config.sampling) for n in range(valid.shape[0] + 1)], np.int64)
        return cls(np.argsort(~valid, axis=0, kind="stable"), counts, table[counts], config.sampling)

    def positions(self, pixels: Ints, length: int) -> Ints:
        """Dates (P, length) that fill the sequences of ``pixels``; -1 where nothing is valid."""
        out = np.full((len(pixels), length), -1, np.int64)
        counts = self.counts[pixels]
        for n in np.unique(counts[counts > 0]):
            rows = np.flatnonzero(counts == n)
            ordinals = choose_positions(int(n), self.sampling, length)
            out[rows] = self.order[ordinals[None, :], pixels[rows, None]]
        return out


def _rows(
    gather: Any, pixels: Ints, positions: Ints, channels: int, normalisation: Normalisation
) -> NDArray[np.float32]:
    """Gathered rows; where a sensor saw nothing, zeros in normalised space with day 0."""
    out = np.zeros((*positions.shape, channels + 1), np.float32)
    seen = np.flatnonzero(positions[:, 0] >= 0)
    if len(seen):
        out[seen] = gather(pixels[seen], positions[seen], normalisation)
    return out


def _draw(
    series: PixelSeries, config: EncoderConfig, pixels: Ints, rng: Any, repeats: int, batch_size: int
) -> Iterator[Bucket]:
    """The random sequences of v1.0: all S2 draws of a batch, then all its S1 draws, then the next repetition."""
    if config.sampling.dummy_sar:
        series = series.with_dummy_passes()
    draws = config.sampling.draws
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        for _ in range(repeats):
            at_s2 = np.stack([draw_positions(series.s2_valid[:, pixel], draws, rng) for pixel in batch])
            at_s1 = np.stack([draw_positions(series.s1_valid[:, pixel], draws, rng) for pixel in batch])
            yield Bucket(
                batch,
                series.gather_s2(batch, at_s2, config.normalisation),
                series.gather_s1(batch, at_s1, config.normalisation),
                at_s2,
                at_s1,
                1 / repeats,
            )


def _no_passes(pixels: int) -> NDArray[np.int16]:
    return np.zeros((0, pixels, S1_CHANNELS), np.int16)
