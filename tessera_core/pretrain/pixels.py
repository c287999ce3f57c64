"""Packed pixel time series: what pretraining reads, shuffles and draws views from.

A pixel's valid observations lie at the front of its row, in time order (Sentinel-1: ascending passes, then descending), so
that a batch of pixels from anywhere is a handful of plain integer arrays. Owns packing, and reading and writing such sets as
folders of ``.npy`` files. Knows nothing of normalisation, views or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import FolderKind, atomic_path
from tessera_core._utils.npy import load_npy
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import TileError


@dataclass(frozen=True)
class PixelSet:
    """N pixels with at most T2 Sentinel-2 and T1 Sentinel-1 observations each.

    Attributes:
        s2: uint16 (N, T2, 10), reflectance x 10000; the first ``s2_count`` rows of a pixel are valid.
        s2_doy: uint16 (N, T2), day of year, 0 beyond the count.
        s2_count: uint16 (N,).
        s1: int16 (N, T1, 2), [VV, VH] as stored in tiles; ascending passes first.
        s1_doy: uint16 (N, T1).
        s1_count: uint16 (N,).
        s1_ascending: uint16 (N,), how many of the passes are ascending.
        label: uint8 (N,), class where known (simulated worlds; only the monitor looks at it), 0 = unknown.
        place: int32 (N, 3): number of the tile, row, column; or number of the simulated world, parcel, pixel.
    """

    s2: NDArray[np.uint16]
    s2_doy: NDArray[np.uint16]
    s2_count: NDArray[np.uint16]
    s1: NDArray[np.int16]
    s1_doy: NDArray[np.uint16]
    s1_count: NDArray[np.uint16]
    s1_ascending: NDArray[np.uint16]
    label: NDArray[np.uint8]
    place: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.s2_count)

    def take(self, rows: NDArray[Any] | slice) -> PixelSet:
        """The pixels at ``rows``."""
        return PixelSet(*(np.asarray(getattr(self, f.name)[rows]) for f in fields(self)))

    @classmethod
    def concatenate(cls, parts: Sequence[PixelSet]) -> PixelSet:
        """All pixels of ``parts``, which must have the same T2 and T1."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def save(self, folder: str | Path) -> None:
        """Write as a folder of ``.npy`` files that appears when it is whole.

        Raises:
            ExportError: the folder cannot be written or the disk is full.
        """
        names = tuple(f"{f.name}.npy" for f in fields(self))
        with atomic_path(folder, directory=True, replaces=FolderKind("a shard", names[0], names)) as part:
            for f in fields(self):
                np.save(part / f"{f.name}.npy", getattr(self, f.name))

    @classmethod
    def open(cls, folder: str | Path) -> PixelSet:
        """Open a folder written by :meth:`save`, memory-mapped.

        Raises:
            TileError: a file is missing, damaged or disagrees with the others.
        """
        folder = Path(folder)
        arrays = [load_npy(folder / f"{f.name}.npy", TileError) for f in fields(cls)]
        pixels = cls(*arrays)
        n, t2, t1 = len(pixels), pixels.s2.shape[1], pixels.s1.shape[1]
        expected = [(n, t2, 10), (n, t2), (n,), (n, t1, 2), (n, t1), (n,), (n,), (n,), (n, 3)]
        for f, array, shape in zip(fields(cls), arrays, expected, strict=True):
            if array.shape != shape:
                raise TileError(
                    f"{f.name}.npy in {folder} has the shape {array.shape} instead of {shape}; delete the folder, it is "
                    "prepared again."
                )
        return pixels


def pack(
    values: NDArray[Any], valid: NDArray[np.bool_], doys: NDArray[Any], capacity: int, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.intp]]:
    """Move each pixel's valid observations to the front; beyond ``capacity`` a random subset is kept, still in order.

    Args:
        values: (N, T, C).
        valid: bool (N, T).
        doys: (T,) or (N, T).
        capacity: length of the packed time axis.
        rng: draws the subsets.

    Returns:
        values (N, capacity, C), doys uint16 (N, capacity), counts uint16 (N,), source positions (N, capacity), -1 = none.
    """
    dates = valid.shape[1]
    if dates < capacity:
        extra = capacity - dates
        valid = np.pad(valid, ((0, 0), (0, extra)))
        values = np.pad(values, ((0, 0), (0, extra), (0, 0)))
        doys = np.pad(np.asarray(doys), [(0, 0)] * (np.ndim(doys) - 1) + [(0, extra)])
        dates = capacity
    counts = valid.sum(1)
    key = np.where(valid, np.float32(0), np.float32(2))
    crowded = counts > capacity
    if crowded.any():
        key[crowded] += rng.random((int(crowded.sum()), dates), dtype=np.float32)
    chosen = np.argsort(key, axis=1, kind="stable")[:, :capacity]
    taken = np.take_along_axis(valid, chosen, 1)
    chosen = np.sort(np.where(taken, chosen, dates), axis=1)
    kept = chosen < dates
    safe = np.where(kept, chosen, 0)
    packed = np.where(kept[..., None], np.take_along_axis(values, safe[..., None], 1), 0).astype(values.dtype)
    days = np.broadcast_to(np.asarray(doys), valid.shape)
    packed_doys = np.where(kept, np.take_along_axis(days, safe, 1), 0).astype(np.uint16)
    return packed, packed_doys, kept.sum(1).astype(np.uint16), np.where(kept, chosen, -1)


class Series(NamedTuple):
    """Measurements of pixels on dates: values (N, T, B) and days of the year (T,) or (N, T); which are ``valid``, bool (N, T), by
    default those of which a value is non-zero."""

    values: NDArray[Any]
    doys: NDArray[Any]
    valid: NDArray[np.bool_] | None = None


def pack_pixels(
    s2: Series,
    ascending: Series,
    descending: Series,
    *,
    max_s2: int,
    max_s1: int,
    seed: int,
    label: NDArray[Any] | None = None,
    place: NDArray[Any] | None = None,
) -> PixelSet:
    """Pack pixel-major raw series.

    Args:
        s2: digital numbers of ten bands.
        ascending, descending: VV and VH; a pass is valid where one of them is non-zero.
        max_s2, max_s1: most observations kept per pixel.
        seed: for the random subset of crowded pixels.
        label: (N,) uint8; ``place``: (N, 3).
    """
    rng = np.random.default_rng(seed)
    n = len(s2.values)
    valid = (s2.values != 0).any(-1) if s2.valid is None else s2.valid
    optical, optical_doy, optical_count, _ = pack(s2.values.astype(np.uint16, copy=False), valid, s2.doys, max_s2, rng)
    passes = (ascending, descending)
    both = np.concatenate([one.values for one in passes], axis=1).astype(np.int16, copy=False)
    days = np.concatenate([np.broadcast_to(one.doys, one.values.shape[:2]) for one in passes], axis=1)
    radar, radar_doy, radar_count, source = pack(both, (both != 0).any(-1), days, max_s1, rng)
    n_ascending = ((source >= 0) & (source < ascending.values.shape[1])).sum(1).astype(np.uint16)
    return PixelSet(
        optical,
        optical_doy,
        optical_count,
        radar,
        radar_doy,
        radar_count,
        n_ascending,
        np.zeros(n, np.uint8) if label is None else np.asarray(label, np.uint8),
        np.zeros((n, 3), np.int32) if place is None else np.asarray(place, np.int32),
    )


def pack_tile(
    tile: DPixelTile,
    rows: NDArray[Any],
    cols: NDArray[Any],
    *,
    max_s2: int,
    max_s1: int,
    seed: int,
    number: int = 0,
    label: NDArray[Any] | None = None,
) -> PixelSet:
    """Pack the pixels ``(rows, cols)`` of a tile; ``number`` becomes the first column of ``place``."""

    def pixels_first(array: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(np.asarray(array[:, rows, cols]), 0, 1)

    s2 = pixels_first(tile.bands)
    # A valid date whose ten values are all zero carries no measurement (padding outside the swath).
    valid = (pixels_first(tile.masks) != 0) & (s2 != 0).any(-1)
    place = np.stack([np.full(len(rows), number), rows, cols], axis=1)
    return pack_pixels(
        Series(s2, tile.doys, valid),
        Series(pixels_first(tile.sar_asc), tile.doys_asc),
        Series(pixels_first(tile.sar_desc), tile.doys_desc),
        max_s2=max_s2,
        max_s1=max_s1,
        seed=seed,
        label=label,
        place=place,
    )
