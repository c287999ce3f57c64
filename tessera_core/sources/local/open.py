"""Open embeddings from local files, whatever the layout; see :func:`open_embeddings` for what is known."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.folders import Place, entries
from tessera_core._utils.partial import Failure
from tessera_core.errors import Hint, InputError, RasterError
from tessera_core.gate import contained, told
from tessera_core.hosting import hosted
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.sources.local.geotiff import TiffReader
from tessera_core.sources.local.mosaic import mosaic
from tessera_core.sources.local.npy import NpyReader
from tessera_core.sources.local.reader import Piece, Reader, registered
from tessera_core.sources.local.saved import SavedReader
from tessera_core.sources.local.zarr import ZarrReader
from tessera_core.types import Cancel, Progress

ABSURD = 50
_HASHED_BYTES = 64 << 20
_LEFT_OUT = "left_out"
_DEPTH = 4
# Scales looked at at a time.
_LOOKED_AT = 1 << 18
_OURS: tuple[Reader, ...] = (SavedReader(), NpyReader(), TiffReader(), ZarrReader())


def readers() -> list[Reader]:
    """The formats that are known here, those added by others first; see :mod:`tessera_core.sources.local.reader`."""
    return [*registered(), *_OURS]


def open_embeddings(
    path: str | Path,
    *,
    year: int | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Open embeddings, memory-mapped.

    Known are: our own saved folder; a Zarr store of UTM zones, or one zone's group in it; ``NAME.npy`` int8 (H, W, D) with
    ``NAME_scales.npy`` (H, W) or (H, W, D), also as ``NAME_emb128_int8.npy`` with ``NAME_emb128_scales.npy``; float
    ``NAME.npy`` (H, W, D); GeoTIFF with a float band per dimension. Grid and provenance come from ``NAME.json`` of
    ``tessera generate``, the file's own tags, or the land mask ``NAME.tiff``; without any of these the grid is local. A
    folder may hold one raster, or tiles of one dataset in one CRS,
    which become one raster. What looks wrong but can be read is told in ``provenance.details["warnings"]``; so is a tile of many
    that cannot be read, which is left out (:func:`left_out`).

    Args:
        path: a file or a folder.
        year: which year to open where a folder holds several.
        progress, cancelled: for layouts that are converted first (floats, mosaics).

    Raises:
        RasterError: nothing readable is there, a file is damaged, or there are several years and none is chosen.
        MixedDatasetsError: the folder holds several datasets.
        Cancelled: ``cancelled`` returned true.
    """
    path = Path(path)
    if hosted() and path.name != "raster.json" and not (path / "raster.json").is_file():
        # It may be a stranger's; calls between processes are not worth their while for what takes two minutes at most.
        return replace(_opened_apart(path, year))
    return _opened(path, year, progress, cancelled)


@contained
def _opened_apart(path: Path, year: int | None) -> EmbeddingRaster:
    return _opened(path, year, None, None)


def _opened(path: Path, year: int | None, progress: Progress | None, cancelled: Cancel | None) -> EmbeddingRaster:
    pieces, problems = find_pieces(path)
    if not pieces:
        raise RasterError(problems[0].why) if problems else _nothing(path)
    by_year = _by_year(pieces, problems)
    if year is not None and year in by_year:
        pieces = by_year[year]
    elif len(by_year) > 1:
        known = ", ".join(str(y or "no year") for y in sorted(by_year, key=lambda y: y or 0))
        wanted = "Choose one of them" if year is None else f"There is no {year}"
        raise RasterError(
            f"{path} holds embeddings of several years ({known}). {wanted}, e.g. by opening that year's folder."
        )
    else:
        (pieces,) = by_year.values()
    opened: list[tuple[Piece, EmbeddingRaster]] = []
    for piece in pieces:
        try:
            opened.append((piece, piece.open(progress=progress, cancelled=cancelled)))
        except InputError as error:
            if len(pieces) == 1:
                raise
            problems.append(Failure(piece.name, str(error)))
    if not opened:
        raise RasterError(problems[0].why)
    tiles = [(piece.name, raster) for piece, raster in opened]
    raster = mosaic(tiles, [piece.source for piece, _ in opened], progress=progress, cancelled=cancelled)
    return _examined(raster, problems)


def left_out(raster: EmbeddingRaster) -> list[dict[str, str]]:
    """The tiles that could not be read and are not in a raster of many, as ``{"what", "why"}``; empty where all are in it."""
    return list(raster.provenance.details.get(_LEFT_OUT, []))


@contained
def find_years(path: str | Path) -> list[int | None]:
    """The years of the embeddings below ``path``, ascending, None last; nothing is converted.

    Raises:
        RasterError: nothing readable is there.
    """
    path = Path(path)
    pieces, problems = find_pieces(path)
    if not pieces:
        raise RasterError(problems[0].why) if problems else _nothing(path)
    return sorted(_by_year(pieces, problems), key=lambda year: (year is None, year or 0))


@told(RasterError)
def find_pieces(path: str | Path) -> tuple[list[Piece], list[Failure]]:
    """The rasters at or below ``path`` (four levels deep, links followed), by name, and what is damaged; headers only."""
    path = Path(path)
    if not path.exists():
        return [], [Failure(path.name, f"{path} does not exist; check the spelling.")]
    pieces: dict[Piece, None] = {}
    problems: list[Failure] = []
    known = readers()
    for candidate, reader in _candidates(path, known, problems):
        try:
            pieces |= dict.fromkeys(reader.find(candidate, problems))
        except InputError as error:
            problems.append(Failure(candidate.name, str(error)))
    return list(pieces), problems


def _candidates(path: Path, known: Sequence[Reader], problems: list[Failure]) -> Iterator[tuple[Path, Reader]]:
    """What readers should look at, with the reader of each."""
    if path.is_file():
        for reader in known:
            if reader.claims(meant := reader.resolve(path)):
                yield meant, reader
                return
        return
    unreadable: list[str] = []
    yield from _walk(path, known, _DEPTH, set(), unreadable)
    problems += [Failure(path.name, sentence) for sentence in unreadable]


def _walk(
    folder: Path, known: Sequence[Reader], depth: int, seen: set[Place], unreadable: list[str]
) -> Iterator[tuple[Path, Reader]]:
    if reader := _reader_of(folder, known):
        yield folder, reader
        return
    if _is_tile(folder):
        return
    for entry in entries(folder, seen, unreadable):
        if entry.is_dir():
            if depth:
                yield from _walk(entry, known, depth - 1, seen, unreadable)
        elif reader := _reader_of(entry, known):
            yield entry, reader


def _reader_of(path: Path, known: Sequence[Reader]) -> Reader | None:
    return next((reader for reader in known if reader.claims(path)), None)


def _is_tile(folder: Path) -> bool:
    return (folder / "bands.npy").exists() or (folder / "doys.npy").exists()


def _by_year(pieces: Sequence[Piece], problems: list[Failure]) -> dict[int | None, list[Piece]]:
    """Pieces by year; one that does not tell its year for damage is left out while there are others."""
    years: dict[int | None, list[Piece]] = {}
    for piece in pieces:
        try:
            years.setdefault(piece.year, []).append(piece)
        except InputError as error:
            if len(pieces) == 1:
                raise
            problems.append(Failure(piece.name, str(error)))
    if not years:
        raise RasterError(problems[0].why)
    return years


def _looked_for() -> str:
    *others, last = [reader.wanted for reader in readers()]
    return f"{', '.join(others)} or {last}"


def _nothing(path: Path) -> RasterError:
    if path.is_file():
        return RasterError(f"{path.name} is not a layout of embeddings that is read here. Known are: {_looked_for()}.")
    if _is_tile(path) or any(_is_tile(folder) for folder in path.iterdir() if folder.is_dir()):
        return RasterError(
            f"{path} holds a time series (d-pixel) tile, not embeddings; make embeddings of it first (on the command line with "
            f"'tessera generate').",
            hint=Hint.GENERATE,
        )
    return RasterError(f"Nothing in {path} can be read as embeddings. Looked for: {_looked_for()}.")


def _examined(raster: EmbeddingRaster, problems: list[Failure]) -> EmbeddingRaster:
    """The raster with a warning for what looks wrong, and a checksum where computing one is cheap."""
    provenance = raster.provenance
    warnings = list(provenance.details.get("warnings", []))
    warnings += [f"Left out: {failure.why}" for failure in problems] + scale_warnings(raster)
    if warnings:
        provenance = provenance.with_details(warnings=list(dict.fromkeys(warnings)))
    if problems:
        provenance = provenance.with_details(**{_LEFT_OUT: [failure.to_json() for failure in problems]})
    if not provenance.checksum and raster.codes.size <= _HASHED_BYTES:
        digest = hashlib.sha256(np.ascontiguousarray(raster.codes)).hexdigest()
        provenance = replace(provenance, checksum=digest)
    return raster if provenance == raster.provenance else replace(raster, provenance=provenance)


def scale_warnings(raster: EmbeddingRaster) -> list[str]:
    """Sentences about scales that no healthy tile has: none at all, or far above the others (docs/spec/model.md section 3)."""
    least, most, size = np.inf, 0.0, 0
    for values in _valid_parts(raster):
        least, most, size = min(least, float(values.min())), max(most, float(values.max())), size + values.size
    if not size:
        return ["No pixel has an embedding: all scales are zero or not finite."]
    if most <= ABSURD * least:
        # The median is no smaller than the least.
        return []
    median = _median(raster, size)
    absurd = sum(int(np.count_nonzero(values > ABSURD * median)) for values in _valid_parts(raster))
    if not absurd:
        return []
    return [
        f"{absurd} of {size} pixels have absurd scales, more than {ABSURD} times the median {median:.3g} "
        f"(the largest is {most:.3g}); their embeddings are probably damaged."
    ]


def _valid_parts(raster: EmbeddingRaster) -> Iterator[NDArray[np.float32]]:
    """The valid scales, some rows at a time; none of a part without any."""
    rows = max(1, _LOOKED_AT // max(raster.shape[1], 1))
    for start in range(0, raster.shape[0], rows):
        scales = np.asarray(raster.scales[start : start + rows], np.float32)
        if (values := scales[valid_scales(scales)]).size:
            yield values


def _median(raster: EmbeddingRaster, size: int) -> float:
    """The median of the valid scales, exactly, without holding or sorting them: positive floats are ordered as their bits are."""
    high = np.zeros(1 << 16, np.int64)
    for values in _valid_parts(raster):
        high += np.bincount(values.view(np.uint32) >> 16, minlength=1 << 16)
    ends = np.cumsum(high)
    found: dict[int, int] = {}
    ranks = {(size - 1) // 2, size // 2}
    for bucket in {int(np.searchsorted(ends, rank, side="right")) for rank in ranks}:
        low = np.zeros(1 << 16, np.int64)
        for values in _valid_parts(raster):
            bits = values.view(np.uint32)
            low += np.bincount(bits[bits >> 16 == bucket] & 0xFFFF, minlength=1 << 16)
        before = int(ends[bucket - 1]) if bucket else 0
        within = np.cumsum(low)
        for rank in ranks:
            if before <= rank < ends[bucket]:
                found[rank] = bucket << 16 | int(np.searchsorted(within, rank - before, side="right"))
    return float(np.mean(np.array(list(found.values()), np.uint32).view(np.float32)))


def dataset_of(provenance: Provenance) -> str:
    """A dataset's name fit for a heading; says so where it is not known."""
    if provenance.model == "unknown":
        return f"unknown dataset ({provenance.dim}-d)"
    return re.sub(r"\s+", " ", provenance.dataset)
