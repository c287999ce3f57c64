"""Local Zarr v3 stores of embeddings in the published conventions: a group per UTM zone, int8 codes and a scale per pixel.

Known are the yearly layout (``embeddings`` (time, band, y, x), ``scales`` (time, y, x), ``geoemb:`` attributes on the root) and the
older one of a store per year (``embeddings`` (y, x, band), ``tessera:`` attributes). What holds data is cropped out and copied into
the cache once; a store of whole zones is refused, because a region has to be chosen first.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from tessera_core._utils.partial import Failure
from tessera_core.errors import InputError, RasterError
from tessera_core.gate import limits, read_json
from tessera_core.gate.limits import RASTER_GROWTH, amount
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.sources.local.convert import BLOCK_BYTES, Conversion, converted
from tessera_core.sources.local.reader import Description, Reader
from tessera_core.types import Cancel, Codes, Progress, Window

MAX_PIXELS = 400_000_000
_SHARD = 256
_SOUTH_OFFSET = 10_000_000.0
_FAILURES = (
    *(OSError, ValueError, ArithmeticError, KeyError, TypeError, IndexError, AttributeError, RuntimeError),
    *(MemoryError, AssertionError, EOFError, zlib.error),
)
# The codecs of the Zarr v3 specification and its registry of those that only pack numbers. Others are programs of whoever
# installed them, with failures of their own.
_CODECS = frozenset(("bytes", "transpose", "blosc", "zstd", "gzip", "crc32c", "sharding_indexed"))
_METADATA_BYTES = 16 << 20
# Each chunk read is a task of its own, there or not.
_MAX_CHUNKS = 2_000_000


@dataclass(frozen=True)
class ZarrPiece:
    """One zone and year of a store.

    Attributes:
        path: folder of the zone's group.
        year: the year, or None where the store does not say.
        time: index on the time axis, or None where there is no such axis.
    """

    path: Path
    year: int | None
    time: int | None

    @property
    def name(self) -> str:
        """Name of the zone's group."""
        return self.path.name

    @property
    def source(self) -> Path:
        """The newest of the files of scales, which come with every pixel; the metadata stay as they are when those change."""
        return max(_sources(self.path), key=lambda file: file.stat().st_mtime_ns, default=self.path / "zarr.json")

    def describe(self) -> Description:
        """By the metadata alone; see :func:`survey`."""
        grid, provenance = survey(self)
        what = f"A Zarr store's zone {self.name}"
        return Description(grid, provenance, mapped=False, filled=False, what=what, facts={"zone": self.name})

    def open(self, *, progress: Progress | None = None, cancelled: Cancel | None = None) -> EmbeddingRaster:
        """See :func:`open_zarr`."""
        return open_zarr(self, progress=progress, cancelled=cancelled)


class ZarrReader(Reader):
    """Finds zones and years in stores."""

    wanted = "a Zarr store"

    def claims(self, path: Path) -> bool:
        """A folder with the metadata of a group."""
        return is_group(path)

    def find(self, path: Path, problems: list[Failure]) -> list[ZarrPiece]:
        """The zones and years of a store, or of one zone's group; a damaged zone does not take the others with it."""
        pieces: list[ZarrPiece] = []
        for zone in zones(path):
            try:
                pieces += _years(zone)
            except InputError as error:
                problems.append(Failure(zone.name, str(error)))
        return pieces


def is_group(folder: Path) -> bool:
    """Whether a folder is a group or array of a Zarr v3 store."""
    return (folder / "zarr.json").is_file()


def zones(folder: Path) -> Iterator[Path]:
    """The folders of a store's zones; the folder itself where it is one."""
    if is_group(folder / "embeddings") and is_group(folder / "scales"):
        yield folder
        return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and is_group(child / "embeddings") and is_group(child / "scales"):
            yield child


def _years(folder: Path) -> Iterator[ZarrPiece]:
    group, root = _attributes_and_group(folder)
    try:
        if group["embeddings"].ndim == 4:
            for index, year in enumerate(np.asarray(group["time"][:]).tolist()):
                yield ZarrPiece(folder, int(year), index)
        else:
            year = root.get("tessera:year")
            yield ZarrPiece(folder, int(year) if year is not None else None, None)
    except _FAILURES as error:
        raise _damaged(folder, error) from error


def _attributes_and_group(folder: Path) -> tuple[Any, Mapping[str, Any]]:
    """The zone's group and its attributes laid over those of the store."""
    import zarr

    try:
        group = zarr.open_group(folder, mode="r", use_consolidated=False)
        attributes = dict(group.attrs)
        if is_group(folder.parent):
            attributes = dict(zarr.open_group(folder.parent, mode="r", use_consolidated=False).attrs) | attributes
    except _FAILURES as error:
        raise _damaged(folder, error) from error
    for name in ("embeddings", "scales"):
        _require_plain(folder / name)
    return group, attributes


def _require_plain(array: Path) -> None:
    """Refuse an array that is packed in a way of its own, or in chunks that take all memory.

    Raises:
        RasterError: it is.
    """
    try:
        metadata = read_json(array / "zarr.json", RasterError, _METADATA_BYTES)
        found = list(_codecs(metadata["codecs"]))
        chunks = metadata["chunk_grid"]["configuration"]["chunk_shape"]
        inner = [codec["configuration"]["chunk_shape"] for codec in found if codec["name"] == "sharding_indexed"]
        # What is decoded at once: the parts of a shard one by one, or the chunk; four bytes a number at most.
        sides = [int(side) for side in (inner[-1] if inner else chunks)]
        size = 4 * math.prod(sides)
        count = math.prod(-(-int(length) // side) for length, side in zip(metadata["shape"], sides, strict=True))
    except (RasterError, *_FAILURES) as error:
        raise _damaged(array, error) from error
    if strange := sorted({str(codec["name"])[:60] for codec in found} - _CODECS):
        raise RasterError(
            f"The array {array.name} in {array.parent} is packed by {', '.join(strange)}, which is not read here. Save the store "
            f"with one of {', '.join(sorted(_CODECS))}."
        )
    if size > limits().block_bytes:
        raise RasterError(
            f"The array {array.name} in {array.parent} has chunks of {amount(size)}, more than {amount(limits().block_bytes)}. "
            "Save the store in smaller ones."
        )
    if count > _MAX_CHUNKS:
        raise RasterError(
            f"The array {array.name} in {array.parent} has {count:,} chunks, more than {_MAX_CHUNKS:,}. Save it in larger ones."
        )


def _require_proportion(piece: ZarrPiece, shape: tuple[int, int, int]) -> None:
    """Refuse what would be written out to much more than the store holds: what is absent has a value that the store chooses.

    Raises:
        RasterError: it would.
    """
    bounds, wanted = limits(), shape[0] * shape[1] * (shape[2] + 4)
    files = (path for name in ("embeddings", "scales") for path in (piece.path / name).rglob("*"))
    present = sum(path.stat().st_size for path in files if path.is_file())
    if wanted > bounds.raster_bytes or wanted > bounds.free_bytes + RASTER_GROWTH * present:
        raise RasterError(
            f"{piece.path} declares {shape[1]} x {shape[0]} pixels of {shape[2]} numbers, {amount(wanted)}, and holds "
            f"{amount(present)}; it is not opened whole. Cut out the part you need."
        )


def _codecs(codecs: Any) -> Iterator[Mapping[str, Any]]:
    for codec in codecs:
        known: Mapping[str, Any] = {"name": codec} if isinstance(codec, str) else codec
        yield known
        if known["name"] == "sharding_indexed":
            inner = known["configuration"]
            yield from _codecs([*inner["codecs"], *inner.get("index_codecs", [])])


def _damaged(folder: Path, error: Exception) -> RasterError:
    first = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    return RasterError(f"The Zarr store at {folder} cannot be read: {first}")


def open_zarr(
    piece: ZarrPiece,
    *,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Open one zone and year, cropped to what holds data and copied into the cache.

    Raises:
        RasterError: the store is damaged, empty, too large to be opened whole, or of an unknown layout.
    """
    group, attributes = _attributes_and_group(piece.path)
    try:
        codes, scales = group["embeddings"], group["scales"]
        height, width, dim = _shape(codes.shape, scales.shape, piece)
        if codes.dtype != np.int8:
            raise RasterError(f"The embeddings in {piece.path} are {codes.dtype}; int8 codes are expected.")
        if height * width > MAX_PIXELS:
            raise RasterError(
                f"{piece.path} covers {width:,} x {height:,} pixels, too many to open whole; fetch a region of it instead."
            )
        whole = _grid(attributes, (height, width), piece)
        lead: tuple[int, ...] = () if piece.time is None else (piece.time,)
        rows, cols = _extent(scales, lead, (height, width), piece)
    except _FAILURES as error:
        raise _damaged(piece.path, error) from error
    shape = (rows.stop - rows.start, cols.stop - cols.start, dim)
    _require_proportion(piece, shape)

    def read(window: Window) -> Codes:
        here = tuple(slice(w.start + o.start, w.stop + o.start) for w, o in zip(window, (rows, cols), strict=True))
        try:
            found = codes[(*lead, slice(None), *here)] if lead else codes[here]
            block = np.moveaxis(found, 0, -1) if lead else found
            return np.ascontiguousarray(block), np.asarray(scales[(*lead, *here)], np.float32)
        except _FAILURES as error:
            raise _damaged(piece.path, error) from error

    grid = whole.window(rows.start, cols.start, shape[0], shape[1])
    return converted(
        _sources(piece.path),
        Conversion(
            f"Zarr {piece.name} {piece.year or ''}".strip(),
            shape,
            grid,
            replace(provenance_of(attributes, dim), year=piece.year),
            _windows(rows, cols, dim),
            read,
        ),
        progress=progress,
        cancelled=cancelled,
    )


def survey(piece: ZarrPiece) -> tuple[Grid, Provenance]:
    """Grid of the whole zone (data or not) and provenance, by metadata alone.

    Raises:
        RasterError: the store is damaged or of an unknown layout.
    """
    group, attributes = _attributes_and_group(piece.path)
    try:
        height, width, dim = _shape(group["embeddings"].shape, group["scales"].shape, piece)
    except _FAILURES as error:
        raise _damaged(piece.path, error) from error
    return _grid(attributes, (height, width), piece), replace(provenance_of(attributes, dim), year=piece.year)


def _shape(codes: tuple[int, ...], scales: tuple[int, ...], piece: ZarrPiece) -> tuple[int, int, int]:
    if piece.time is not None and len(codes) == 4 and scales == (codes[0], *codes[2:]):
        return codes[2], codes[3], codes[1]
    if piece.time is None and len(codes) == 3 and scales == codes[:2]:
        return codes[0], codes[1], codes[2]
    raise RasterError(f"The arrays in {piece.path} do not belong together: embeddings {codes}, scales {scales}.")


def _grid(attributes: Mapping[str, Any], shape: tuple[int, int], piece: ZarrPiece) -> Grid:
    code, transform = attributes.get("proj:code"), attributes.get("spatial:transform")
    if not isinstance(code, str) or not isinstance(transform, list | tuple) or len(transform) < 6:
        raise RasterError(f"{piece.path} does not say where it lies (proj:code and spatial:transform are missing).")
    a, b, c, d, e, f = (float(value) for value in transform[:6])
    # Published stores continue northern UTM below the equator; there the zone's southern twin is the usual CRS.
    if (match := re.fullmatch(r"EPSG:326(\d\d)", code)) and f <= 0:
        code, f = f"EPSG:327{match[1]}", f + _SOUTH_OFFSET
    return Grid(code, Affine(a, b, c, d, e, f), shape)


def _extent(scales: Any, lead: tuple[int, ...], shape: tuple[int, int], piece: ZarrPiece) -> tuple[slice, slice]:
    """Rows and columns that hold data, read a strip of shards at a time."""
    height, width = shape
    seen_rows, seen_cols = np.zeros(height, np.bool_), np.zeros(width, np.bool_)
    for start in range(0, height, _SHARD):
        strip: NDArray[np.bool_] = valid_scales(np.asarray(scales[(*lead, slice(start, start + _SHARD))], np.float32))
        seen_rows[start : start + len(strip)] = strip.any(axis=1)
        seen_cols |= strip.any(axis=0)
    if not seen_rows.any():
        raise RasterError(f"{piece.path} holds no data{f' of {piece.year}' if piece.year else ''}.")
    rows, cols = np.flatnonzero(seen_rows), np.flatnonzero(seen_cols)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def _windows(rows: slice, cols: slice, dim: int) -> list[Window]:
    """Windows of the crop along the store's shards, so that none is decoded twice."""
    across = max(1, BLOCK_BYTES // (_SHARD * _SHARD * dim)) * _SHARD

    def cuts(extent: slice, step: int) -> list[slice]:
        edges = [extent.start, *range((extent.start // _SHARD + 1) * _SHARD, extent.stop, step), extent.stop]
        return [slice(a - extent.start, b - extent.start) for a, b in itertools.pairwise(edges) if b > a]

    return [(r, c) for r in cuts(rows, _SHARD) for c in cuts(cols, across)]


def provenance_of(attributes: Mapping[str, Any], dim: int) -> Provenance:
    """From our own attribute, else from ``geoemb:model``, else from ``tessera:`` attributes."""
    ours = attributes.get("tessera_studio:provenance")
    if isinstance(ours, Mapping):
        return replace(Provenance.from_json(ours), dim=dim)
    model = str(attributes.get("geoemb:model", ""))
    parts = [part for part in model.split("/model/")[-1].split("/") if part] if model else []
    version = (
        parts[0]
        if parts
        else str(attributes.get("tessera:model_version", attributes.get("tessera:dataset_version", "")))
    )
    known = "tessera" in model.lower() or any(key.startswith("tessera:") for key in attributes)
    return Provenance(
        model="tessera" if known else "unknown",
        version=version.removeprefix("v"),
        variant=parts[1] if len(parts) > 1 else "",
        dim=dim,
        source="zarr",
        details={"model": model} if model else {},
    )


def _sources(folder: Path) -> list[Path]:
    """Files whose change makes a copy stale: the metadata, and every chunk by its folder's listing."""
    return sorted(path for path in (folder / "scales").rglob("*") if path.is_file())
