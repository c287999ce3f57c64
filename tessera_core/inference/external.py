"""Encoders of others as sources of embeddings: a small protocol, pixels' years as they take them, and what comes out as int8.

Whoever has Presto, Galileo, OlmoEarth or a model of their own writes one class with ``name``, ``dim``, ``wants`` and ``embed``,
in a file or package of theirs; nobody's weights come with this program. What they return is stored, mapped and compared like
any other embeddings, under a dataset's name of its own.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tessera_core.dpixels.seasons import monthly_series
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, InputError
from tessera_core.gate import read_bytes
from tessera_core.models.quantise import quantise
from tessera_core.periods import calendar_year
from tessera_core.provenance import SOFTWARE, Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Cancel, Floats, Progress

# Pixels in one call of an encoder.
BATCH = 1024
Wants = Literal["dated", "monthly"]


@dataclass(frozen=True)
class PixelYears:
    """A year of N pixels, as an encoder of others takes it.

    Attributes:
        s2: float32 (N, T, 10), reflectance x 10000 in the order of :data:`.S2_BANDS`; NaN where not clear. Monthly: T = 12,
            medians with gaps filled.
        s2_doy: (T,) days of the year; monthly the middle of each twelfth.
        s1: float32 (N, T1, 2), VV and VH in decibels; NaN where there is none. Monthly: means over both orbits.
        s1_doy: (T1,).
        ascending: bool (T1,), which passes are ascending; monthly all false.
        lonlat: float64 (N, 2) degrees, NaN where the tile does not say where it lies.
        year: or None where that is not known.
    """

    s2: Floats
    s2_doy: NDArray[np.integer]
    s1: Floats
    s1_doy: NDArray[np.integer]
    ascending: NDArray[np.bool_]
    lonlat: NDArray[np.float64]
    year: int | None

    def __len__(self) -> int:
        return len(self.s2)


@runtime_checkable
class ExternalEncoder(Protocol):
    """An encoder of somebody's.

    Attributes:
        name: of the model, for people and as part of the dataset's name.
        dim: how many numbers it gives a pixel.
        wants: ``"dated"`` for every observation, ``"monthly"`` for twelve filled months.

    A fourth attribute, ``fingerprint`` (a text), may tell versions of its weights apart; without it the code's file does.

    Example:
        >>> class Greenness:
        ...     name, dim, wants = "greenness", 2, "monthly"
        ...     def embed(self, pixels):
        ...         ndvi = (pixels.s2[..., 3] - pixels.s2[..., 0]) / (pixels.s2[..., 3] + pixels.s2[..., 0])
        ...         return np.stack([ndvi.mean(1), ndvi.max(1)], axis=1)
        >>> isinstance(Greenness(), ExternalEncoder)
        True
    """

    name: str
    dim: int
    wants: Wants

    def embed(self, pixels: PixelYears) -> NDArray[Any]:
        """Vectors (N, dim) of N pixels; NaN where it cannot say."""
        ...


@dataclass(frozen=True)
class LoadedExternal:
    """An encoder with what names it.

    Attributes:
        encoder: the object.
        fingerprint: eight or more hexadecimal digits, of what it says of itself or of its file.
    """

    encoder: ExternalEncoder
    fingerprint: str

    @property
    def name(self) -> str:
        """Of the encoder."""
        return self.encoder.name


def load_external(where: str) -> LoadedExternal:
    """An encoder of one's own code, which is run.

    Args:
        where: ``FILE.py:NAME`` or ``package.module:NAME``; the name is of an encoder, or of a class or function that, called
            without arguments, gives one.

    Raises:
        InputError: there is no such thing, loading it fails, or it is no encoder.
    """
    place, _, name = where.rpartition(":")
    if not place or not name.isidentifier():
        raise InputError(f"{where!r} names no encoder; write FILE.py:NAME or package.module:NAME.")
    code = b""
    try:
        if place.endswith(".py"):
            code = read_bytes(Path(place))
            spec = importlib.util.spec_from_file_location(f"external_{Path(place).stem}", place)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        found = getattr(module, name)
        makes = isinstance(found, type) or (callable(found) and not hasattr(found, "embed"))
        made = found() if makes else found
    except InputError:
        raise
    except Exception as error:
        # Whatever code of somebody's raises is told with its place.
        raise InputError(f"The encoder {where} could not be loaded: {type(error).__name__}: {error}") from error
    return checked(made, where, code)


def checked(made: Any, where: str, code: bytes = b"") -> LoadedExternal:
    """The encoder with its fingerprint.

    Raises:
        InputError: it is no encoder.
    """
    if not isinstance(made, ExternalEncoder):
        raise InputError(f"{where} is no encoder: it needs name, dim, wants and embed(pixels).")
    if made.wants not in ("dated", "monthly") or type(made.dim) is not int or made.dim < 1 or not made.name:
        raise InputError(
            f'{where}: an encoder\'s wants is "dated" or "monthly", its dim a whole number, its name a text.'
        )
    told = str(getattr(made, "fingerprint", "")) or hashlib.sha256(code).hexdigest()
    digits = told if re.fullmatch(r"[0-9a-f]{8,}", told) else hashlib.sha256(told.encode()).hexdigest()
    return LoadedExternal(made, digits[:16])


def pixel_years(
    tile: DPixelTile,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    wants: Wants,
    lonlat: NDArray[np.float64] | None = None,
) -> PixelYears:
    """The years of some pixels (N,) of a tile; ``lonlat`` (N, 2) in degrees where the tile does not say where it lies."""
    year = None if tile.year is None else calendar_year(tile.year)
    if lonlat is None:
        georeferenced = tile.grid.crs is not None
        places: Any = tile.grid.pixel_to_lonlat(rows + 0.5, cols + 0.5) if georeferenced else (np.nan, np.nan)
        lonlat = np.stack([np.broadcast_to(np.asarray(one, np.float64), rows.shape) for one in places], axis=1)
    if wants == "monthly":
        s2, s1 = monthly_series(tile, rows, cols)
        middles = np.rint((np.arange(12) + 0.5) * 365.25 / 12).astype(np.int64)
        return PixelYears(s2, middles, s1, middles, np.zeros(12, bool), lonlat, year)
    bands = np.asarray(tile.bands[:, rows, cols]).astype(np.float32)
    bands[np.asarray(tile.masks[:, rows, cols]) == 0] = np.nan
    passes = [np.asarray(sar[:, rows, cols]).astype(np.float32) for sar in (tile.sar_asc, tile.sar_desc)]
    radar = np.concatenate(passes)
    radar = np.where(radar == 0, np.nan, (radar / 200 - 50) / 2).astype(np.float32)
    ascending = np.arange(len(radar)) < len(passes[0])
    days = np.concatenate([tile.doys_asc, tile.doys_desc])
    return PixelYears(
        bands.transpose(1, 0, 2), np.asarray(tile.doys), radar.transpose(1, 0, 2), days, ascending, lonlat, year
    )


def embed_pixels(
    loaded: LoadedExternal,
    tile: DPixelTile,
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    lonlat: NDArray[np.float64] | None = None,
) -> Floats:
    """Vectors float32 (N, dim) of pixels of a tile, NaN where the encoder cannot say or nothing was ever seen; ``lonlat``
    (N, 2) in degrees where the tile does not say where it lies.

    Raises:
        InputError: the encoder fails, or gives something else than ``dim`` numbers a pixel.
    """
    encoder, parts = loaded.encoder, [np.zeros((0, loaded.encoder.dim), np.float32)]
    for at in range(0, len(rows), BATCH):
        where = None if lonlat is None else lonlat[at : at + BATCH]
        some = pixel_years(tile, rows[at : at + BATCH], cols[at : at + BATCH], encoder.wants, where)
        try:
            values = np.asarray(encoder.embed(some), np.float32)
        except Exception as error:
            raise InputError(f"The encoder {encoder.name} failed: {type(error).__name__}: {error}") from error
        if values.shape != (len(some), encoder.dim):
            raise InputError(
                f"The encoder {encoder.name} gave an array of shape {values.shape} for {len(some)} pixels; it says that it gives "
                f"{encoder.dim} numbers a pixel."
            )
        unseen = ~(np.isfinite(some.s2).any((1, 2)) | np.isfinite(some.s1).any((1, 2)))
        values = np.where(np.isfinite(values).all(1, keepdims=True) & ~unseen[:, None], values, np.nan)
        parts.append(values.astype(np.float32))
    return np.concatenate(parts)


def external_raster(
    loaded: LoadedExternal,
    tile: DPixelTile,
    folder: str | Path,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Write the embeddings of a tile by an encoder of somebody's, int8 with one scale a pixel, as any raster.

    Raises:
        InputError: the encoder fails.
        ExportError: the folder cannot be written.
        Cancelled: ``cancelled`` said so.
    """
    height, width = tile.shape
    provenance = Provenance(
        model="external",
        version=loaded.name,
        variant=loaded.fingerprint,
        dim=loaded.encoder.dim,
        year=tile.year,
        source="generated",
        software=SOFTWARE,
        details={"wants": loaded.encoder.wants, "tile": tile.name},
    )
    codes, scales = np.zeros((height, width, loaded.encoder.dim), np.int8), np.full(tile.shape, np.nan, np.float32)
    for rows in _strips(height, max(1, 4 * BATCH // width)):
        if cancelled is not None and cancelled():
            raise Cancelled
        r, c = (one.ravel() for one in np.mgrid[rows, :width])
        found = quantise(embed_pixels(loaded, tile, r, c), "v2")
        codes[rows], scales[rows] = found[0].reshape(-1, width, loaded.encoder.dim), found[1].reshape(-1, width)
        if progress is not None:
            progress(rows.stop, height, loaded.name)
    if tile.roi is not None:
        scales[~np.asarray(tile.roi)] = np.nan
    return EmbeddingRaster.open(EmbeddingRaster(codes, scales, tile.grid, provenance).save(folder))


def _strips(height: int, step: int) -> Iterator[slice]:
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
