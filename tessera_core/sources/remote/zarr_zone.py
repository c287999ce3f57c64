"""One UTM zone of a published store: windows of pixels, with the reason for each that has no data.

What it cannot be sure of it refuses: scales without embeddings, bytes that differ when they are read twice. Knows no regions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import RasterError
from tessera_core.observations import CHANNELS, LEAST, NAMES, OPTICAL, packed_months
from tessera_core.raster import NoData, valid_scales
from tessera_core.sources.remote.hemispheres import Merged, outer_corner
from tessera_core.sources.remote.resilient import PieceError, ValidatingStore, fault
from tessera_core.sources.remote.working_grid import PixelGrid
from tessera_core.types import Window

BLOCK = (256, 512)
MAX_BLOCK_BYTES = 128 << 20
ABSURD = 50.0
NO_CODES = "the embeddings are absent where there are scales"
NO_SCALES = "the scales are absent where there are embeddings"
NO_COUNTS = "the counts of observations are absent where there are embeddings"


class Host(Protocol):
    """The store that a zone belongs to; ``store.Store`` is one."""

    location: str
    remote: bool
    icechunk: Any
    validating: ValidatingStore | None
    attributes: dict[Any, Any]

    def array_of(self, dim: int) -> str:
        """Name of the array with at least ``dim`` dimensions."""

    def exists(self, key: str) -> bool:
        """Whether an object is there."""

    def forget(self) -> None:
        """Drop what was remembered."""


@dataclass(frozen=True)
class Block:
    """A window that was read.

    Attributes:
        codes: int8 (h, w, D).
        scales: float32 (h, w), NaN where there is no data.
        reasons: uint8 (h, w) of :class:`NoData`.
        problems: what is missing of it and why, for people.
        observations: uint16 (h, w, 6), how often satellites saw each pixel (:mod:`tessera_core.observations`), 0 where there
            is no embedding to be had; None where the source does not count.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    reasons: NDArray[np.uint8]
    problems: tuple[str, ...] = ()
    observations: NDArray[np.uint16] | None = None

    @classmethod
    def empty(cls, shape: tuple[int, int], dim: int, reason: NoData, *, counts: bool = False) -> Block:
        """A block without data; with ``counts``, one of a source that counts."""
        return cls(
            np.zeros((*shape, dim), np.int8),
            np.full(shape, np.nan, np.float32),
            np.full(shape, reason, np.uint8),
            observations=np.zeros((*shape, CHANNELS), np.uint16) if counts else None,
        )


@dataclass(frozen=True)
class Published:
    """Rows of a zone that its publisher completes together.

    Attributes:
        name: of them, such as ``33N``.
        rows: of the zone's arrays.
        complete: the years declared complete; None where nothing is declared, and every year counts.
        skipped: by year, stored objects of which the publisher says that nothing could be made.
    """

    name: str
    rows: slice
    complete: frozenset[int] | None
    skipped: Mapping[str, frozenset[str]]


class Zone:
    """One UTM zone of a store: arrays over a part of its pixel grid."""

    def __init__(self, store: Host, number: int, arrays: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        self.store, self.number, self.arrays = store, number, arrays
        try:
            west, north, side, repaired = outer_corner(attributes)
            self.pixel_grid = PixelGrid(number, west, north, side)
            self.rows, self.cols = (int(n) for n in arrays["scales"].shape[1:])
            self.parts = tuple(_published(attributes, self.pixel_grid, self.rows))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise RasterError(
                f"The zone utm{number:02d} of {store.location} lacks the arrays or attributes of the published layout."
            ) from error
        except ValueError as error:
            raise RasterError(f"The zone utm{number:02d} of {store.location} cannot be placed: {error}.") from error
        # Groups whose registration named the middle of a pixel for its corner, and was put right here.
        self.repaired: tuple[str, ...] = attributes.get("repaired", ()) or ((f"utm{number:02d}",) if repaired else ())
        self._there_are: dict[str, bool] = {}
        self.least = int(store.attributes.get("optical_min_obs", LEAST))
        # In some stores NaN means that nothing was embedded, not that there is water.
        self.nan_is_unmade = attributes.get("geotessera:mask_source") == "source_nodata"
        self._nan = NoData.MISSING_TILE if self.nan_is_unmade else NoData.WATER

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Years on the time axis.

        Raises:
            PieceError: they cannot be read.
        """
        if self.store.icechunk is not None:
            return tuple(self.store.icechunk.years)
        mark = self._mark()
        try:
            time = self.arrays["time"]
            years = tuple(int(y) for y in time[:])
        except Exception as error:
            raise fault(error) from error
        if any(f"{time.path}/" in key for key in self._absent_since(mark)):
            self.store.forget()
            raise PieceError("the list of its years is absent")
        return years

    @cached_property
    def counted(self) -> tuple[str, ...]:
        """Names of the arrays that say how often each pixel was seen; empty where the store does not count.

        Raises:
            PieceError: the store cannot be asked.
        """
        try:
            names = tuple(name for name in NAMES if name in self.arrays)
        except Exception as error:
            raise fault(error) from error
        return names if NAMES[OPTICAL] in names else ()

    def published_in(self, year: int, rows: slice) -> bool:
        """Whether the publisher has declared a year complete for any of these rows."""
        return any(
            (part.complete is None or year in part.complete)
            and max(rows.start, part.rows.start) < min(rows.stop, part.rows.stop)
            for part in self.parts
        )

    def phase(self, row: int) -> int:
        """The row at which a stored object begins from which the stored rows around ``row`` are counted."""
        for half in self._halves:
            if half.row0 <= row < half.row0 + half.rows:
                return int(half.row0 - half.local0)
        return 0

    @cached_property
    def _halves(self) -> tuple[Any, ...]:
        scales = self.arrays["scales"]
        return scales.halves if isinstance(scales, Merged) else ()

    def array(self, dim: int) -> Any:
        """The array with the first ``dim`` dimensions, or a longer one."""
        return self.arrays[self.store.array_of(dim)]

    def block_shape(self, dim: int) -> tuple[int, int]:
        """Rows and columns of a window that needs no chunk twice and is not too large."""
        array = self.array(dim)
        chunks = getattr(array, "chunks", None)
        if chunks is None:
            return BLOCK
        limit = max(1, MAX_BLOCK_BYTES // int(array.shape[1]))
        height, width = (chunk * max(1, round(n / chunk)) for chunk, n in zip(chunks[2:], BLOCK, strict=True))
        shards = getattr(array, "shards", None)
        if shards:
            height, width = min(height, shards[2]), min(width, shards[3])
        return (height, width) if height * width <= limit else BLOCK

    def read(self, year: int, rows: slice, cols: slice, dim: int, *, last: bool = True) -> Block:
        """Codes and scales of a window of pixel grid pixels, which may reach beyond the zone's arrays.

        Args:
            year: one that the zone has not is all ``MISSING_TILE``.
            rows, cols: of the pixel grid.
            dim: leading dimensions; 0 reads the scales alone, which suffices to know where there is data.
            last: take what is there and name what is not; else anything missing raises, to be tried again.

        Raises:
            PieceError: the window cannot be read, or not be trusted.
        """
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        counts = bool(self.counted and dim)
        there = self._there(rows, cols)
        if there is None:
            return Block.empty(shape, dim, NoData.OUTSIDE, counts=counts)
        if year not in self.years:
            return Block.empty(shape, dim, NoData.MISSING_TILE, counts=counts)
        ours, theirs = there
        if not self.published_in(year, theirs[0]):
            part = Block.empty(_size(theirs), dim, NoData.YEAR_NOT_PUBLISHED, counts=counts)
        else:
            part = self._read(self.years.index(year), theirs, dim, last)
            self._hide_unpublished(part, year, theirs[0])
        if part.scales.shape == shape:
            return part
        block = Block.empty(shape, dim, NoData.OUTSIDE, counts=counts)
        block.codes[ours], block.scales[ours], block.reasons[ours] = part.codes, part.scales, part.reasons
        if block.observations is not None and part.observations is not None:
            block.observations[ours] = part.observations
        return Block(block.codes, block.scales, block.reasons, part.problems, block.observations)

    def _hide_unpublished(self, block: Block, year: int, rows: slice) -> None:
        """Take out of a block what belongs to a hemisphere whose year is not complete: it may be anything."""
        for part in self.parts:
            top, bottom = max(rows.start, part.rows.start), min(rows.stop, part.rows.stop)
            if top < bottom and part.complete is not None and year not in part.complete:
                mine = slice(top - rows.start, bottom - rows.start)
                block.codes[mine], block.scales[mine] = 0, np.nan
                block.reasons[mine] = NoData.YEAR_NOT_PUBLISHED
                if block.observations is not None:
                    block.observations[mine] = 0

    def sample(
        self, year: int, rows: NDArray[np.int64], cols: NDArray[np.int64], dim: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Vectors of pixel grid pixels: float32 (N, dim), NaN without data, and uint8 (N,) reasons.

        Raises:
            PieceError: they cannot be read.
        """
        values = np.full((len(rows), dim), np.nan, np.float32)
        reasons = np.full(len(rows), NoData.OUTSIDE, np.uint8)
        there = np.flatnonzero((rows >= 0) & (rows < self.rows) & (cols >= 0) & (cols < self.cols))
        if year not in self.years:
            reasons[there] = NoData.MISSING_TILE
            return values, reasons
        hidden = (
            there[[not self.published_in(year, slice(int(row), int(row) + 1)) for row in rows[there]]]
            if there.size
            else there
        )
        reasons[hidden] = NoData.YEAR_NOT_PUBLISHED
        there = np.setdiff1d(there, hidden)
        if not there.size:
            return values, reasons
        moment = self.years.index(year)
        time = np.full(there.size, moment)
        mark = self._mark()
        try:
            scales = np.asarray(self.arrays["scales"].vindex[time, rows[there], cols[there]], np.float32)
            reasons[there] = self._reasons(scales)
            if self.counted and (blank := np.isnan(scales)).any():
                at = there[blank]
                optical = np.asarray(self.arrays[NAMES[OPTICAL]].vindex[time[blank], rows[at], cols[at]])
                spots = [
                    (slice(int(r), int(r) + 1), slice(int(c), int(c) + 1))
                    for r, c in zip(rows[at], cols[at], strict=True)
                ]
                reasons[at] = [
                    self._unmade(moment, spot, np.full((1, 1), count))[0, 0]
                    for spot, count in zip(spots, optical.tolist(), strict=True)
                ]
            good = np.flatnonzero(valid_scales(scales))
            if good.size:
                at = there[good]
                index = np.broadcast_arrays(time[good, None], np.arange(dim)[None], rows[at, None], cols[at, None])
                codes = np.asarray(self.array(dim).vindex[tuple(index)])
                values[at] = codes.astype(np.float32) * scales[good, None]
                zero = at[~codes.any(axis=1)]
                values[zero], reasons[zero] = np.nan, NoData.BAD_TILE
            self._require_whole(moment, rows[there], cols[there], dim, self._absent_since(mark))
        except Exception as error:
            self.store.forget()
            raise fault(error) from error
        return values, reasons

    def observations_at(self, year: int, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.uint16]:
        """How often satellites saw pixels of the pixel grid: uint16 (N, 6), 0 where nothing is published.

        Raises:
            PieceError: they cannot be read.
        """
        found = np.zeros((len(rows), CHANNELS), np.uint16)
        there = np.flatnonzero((rows >= 0) & (rows < self.rows) & (cols >= 0) & (cols < self.cols))
        if year not in self.years or not self.counted:
            return found
        there = np.array([n for n in there if self.published_in(year, slice(int(rows[n]), int(rows[n]) + 1))], np.intp)
        if not there.size:
            return found
        moment = self.years.index(year)
        time = np.full(there.size, moment)
        try:
            for name in self.counted:
                array = self.arrays[name]
                if len(array.shape) == 3:
                    found[there, NAMES.index(name)] = array.vindex[time, rows[there], cols[there]]
                    continue
                index = (time, rows[there], cols[there])
                if not isinstance(array, Merged):
                    spread = tuple(part[:, None] for part in index)
                    flags = np.asarray(array.vindex[(*spread, np.arange(array.shape[3])[None])])
                else:
                    flags = array.vindex[index]
                found[there, NAMES.index(name)] = packed_months(flags)
        except Exception as error:
            self.store.forget()
            raise fault(error) from error
        return found

    def _require_whole(
        self, time: int, rows: NDArray[np.int64], cols: NDArray[np.int64], dim: int, absent: set[str]
    ) -> None:
        """Raise :class:`PieceError` where scales or embeddings under the pixels, but not both, were absent."""
        if not absent:
            return
        scales, codes = self.arrays["scales"], self.array(dim)
        spots = {
            (slice(row, row + 1), slice(col, col + 1)) for row, col in zip(rows.tolist(), cols.tolist(), strict=True)
        }
        pairs = {(_units(scales, time, spot)[0][0], _units(codes, time, spot)[0][0]) for spot in spots}
        for scale_key, code_key in pairs:
            if scale_key in absent and self.store.exists(code_key):
                raise PieceError(NO_SCALES)
            if code_key in absent and scale_key not in absent:
                raise PieceError(NO_CODES)

    def _there(self, rows: slice, cols: slice) -> tuple[Window, Window] | None:
        top, bottom = max(rows.start, 0), min(rows.stop, self.rows)
        left, right = max(cols.start, 0), min(cols.stop, self.cols)
        if top >= bottom or left >= right:
            return None
        ours = (slice(top - rows.start, bottom - rows.start), slice(left - cols.start, right - cols.start))
        return ours, (slice(top, bottom), slice(left, right))

    def _reasons(self, scales: NDArray[np.float32]) -> NDArray[np.uint8]:
        reasons = np.zeros(scales.shape, np.uint8)
        reasons[~valid_scales(scales)] = NoData.BAD_TILE
        reasons[np.isnan(scales)] = self._nan
        reasons[np.isposinf(scales)] = NoData.MISSING_TILE
        return reasons

    def _unmade(self, time: int, window: Window, optical: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Why pixels whose scale is NaN have no embedding: uint8 (h, w), by how often they were seen (h, w).

        Where nothing was seen, it is a tile of land if anything of it is stored, or the publisher says that it looked.
        """
        reasons = np.full(optical.shape, NoData.MISSING_TILE, np.uint8)
        reasons[(optical > 0) & (optical < self.least)] = NoData.TOO_FEW
        year = str(self.years[time])
        for key, where in _units(self.arrays[NAMES[OPTICAL]], time, window):
            blank = optical[where] == 0
            if blank.any():
                live = bool((optical[where] > 0).any()) or self._is_stored(key) or self._was_skipped(key, year)
                reasons[where][blank] = NoData.NO_OBSERVATIONS if live else NoData.NOT_LAND
        return reasons

    def _is_stored(self, key: str) -> bool:
        if key not in self._there_are:
            self._there_are[key] = self.store.exists(key)
        return self._there_are[key]

    def _was_skipped(self, key: str, year: str) -> bool:
        group, *_, row, col = key.split("/")
        return any(f"chunk_{row}_{col}" in part.skipped.get(year, ()) for part in self.parts if part.name == group)

    def _seen(self, time: int, window: Window, *, optical_alone: bool = False) -> NDArray[np.uint16]:
        """uint16 (h, w, 6) as :mod:`tessera_core.observations` has them; what the store does not count stays 0."""
        found = np.zeros((*_size(window), CHANNELS), np.uint16)
        for name in self.counted[:1] if optical_alone else self.counted:
            values = np.asarray(self.arrays[name][(time, *window)])
            found[..., NAMES.index(name)] = values if values.ndim == 2 else packed_months(values)
        return found

    def _mark(self) -> int:
        return self.store.validating.mark() if self.store.validating is not None else 0

    def _absent_since(self, mark: int) -> set[str]:
        return self.store.validating.absent_since(mark) if self.store.validating is not None else set()

    def _read(self, time: int, window: Window, dim: int, last: bool) -> Block:
        mark = self._mark()
        try:
            codes, scales = self._raw(time, window, dim)
            valid = valid_scales(scales)
            zero = valid & ~codes.any(axis=-1) if dim else np.zeros_like(valid)
            if self._suspect(codes, scales, valid, zero):
                again = self._raw(time, window, dim)
                if not (np.array_equal(codes, again[0]) and np.array_equal(scales, again[1], equal_nan=True)):
                    raise PieceError("what came was different each time", NoData.BAD_TILE)
            nan = np.isnan(scales)
            seen = None
            if self.counted and (dim or nan.any()):
                seen = self._seen(time, window, optical_alone=not dim)
        except Exception as error:
            self.store.forget()
            raise fault(error) from error
        reasons = self._reasons(scales)
        problems = []
        if seen is not None:
            if nan.any():
                try:
                    reasons[nan] = self._unmade(time, window, seen[..., OPTICAL])[nan]
                except Exception as error:
                    raise fault(error) from error
            absent = self._absent_since(mark) if dim and (valid & (seen[..., OPTICAL] == 0)).any() else set()
            if absent and any(key in absent for key, _ in _units(self.arrays[NAMES[OPTICAL]], time, window)):
                if not last:
                    self.store.forget()
                    raise PieceError(NO_COUNTS)
                problems.append(NO_COUNTS)
        for where, sentence in self._absences(time, window, dim, valid, zero, self._absent_since(mark)):
            if not last:
                self.store.forget()
                raise PieceError(sentence)
            reasons[where] = NoData.MISSING_TILE
            problems.append(sentence)
        zero &= reasons == NoData.VALID
        if zero.any():
            reasons[zero] = NoData.BAD_TILE
            problems.append(f"{int(zero.sum())} pixels have a scale but only zeros for an embedding")
        nothing = reasons != NoData.VALID
        if nothing.any():
            scales = np.where(nothing, np.float32(np.nan), scales)
            codes[nothing] = 0
        return Block(codes, scales, reasons, tuple(problems), seen if dim else None)

    def _raw(self, time: int, window: Window, dim: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        scales = np.array(self.arrays["scales"][(time, *window)], np.float32)
        if not dim or not valid_scales(scales).any():
            return np.zeros((*scales.shape, dim), np.int8), scales
        array = self.array(dim)
        codes = np.asarray(array[(time, slice(0, dim), *window)])
        if codes.dtype != np.int8:
            raise PieceError(f"the embeddings are {codes.dtype}, not int8", NoData.BAD_TILE)
        return _pixels_first(codes), scales

    def _suspect(
        self, codes: NDArray[np.int8], scales: NDArray[np.float32], valid: NDArray[np.bool_], zero: NDArray[np.bool_]
    ) -> bool:
        """Whether bytes look unlike embeddings, so that reading them again is worth it; what repeats is believed."""
        if not valid.any() or not self.store.remote:
            return False
        values = scales[valid]
        absurd = float(values.max()) > ABSURD * float(np.median(values)) or bool((scales <= 0).any())
        return absurd or bool(zero.any()) or int(codes.min(initial=0)) == -128

    def _absences(
        self,
        time: int,
        window: Window,
        dim: int,
        valid: NDArray[np.bool_],
        zero: NDArray[np.bool_],
        absent: set[str],
    ) -> list[tuple[Window, str]]:
        """Parts of a window whose scales or embeddings, but not both, were absent while it was read.

        Another reader may have been told so and this one not: then there is what an absent object would not give.
        """
        found: list[tuple[Window, str]] = []
        scales, codes = self.arrays["scales"], self.array(dim)
        if any(f"{codes.path}/" in key for key in absent):
            for key, where in _units(codes, time, window):
                if key in absent and valid[where].any() and zero[where][valid[where]].all():
                    found.append((where, NO_CODES))
        if any(f"{scales.path}/" in key for key in absent):
            for key, where in _units(scales, time, window):
                if key in absent and not valid[where].any() and self._has_codes(time, window, where, codes):
                    found.append((where, NO_SCALES))
        return found

    def _has_codes(self, time: int, window: Window, where: Window, codes: Any) -> bool:
        rows = slice(window[0].start + where[0].start, window[0].start + where[0].stop)
        cols = slice(window[1].start + where[1].start, window[1].start + where[1].stop)
        return any(self.store.exists(key) for key, _ in _units(codes, time, (rows, cols)))


def _pixels_first(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8 (h, w, D) from (D, h, w); eight pixels at a time, which is three times quicker than NumPy's byte by byte."""
    dim, height, width = codes.shape
    first = codes.transpose(1, 2, 0)
    if first.flags.c_contiguous:
        return first
    flat = np.ascontiguousarray(codes).reshape(dim, height * width)
    whole = flat.shape[1] // 8 * 8
    out = np.empty((flat.shape[1], dim), np.int8)
    eights = np.ascontiguousarray(flat[:, :whole].view(np.uint64).T)
    np.copyto(out[:whole].reshape(-1, 8, dim), eights.view(np.int8).reshape(-1, dim, 8).transpose(0, 2, 1))
    out[whole:] = flat[:, whole:].T
    return out.reshape(height, width, dim)


def _units(array: Any, time: int, window: Window) -> list[tuple[str, Window]]:
    """Keys of the stored objects under a window, and the part of the window that each holds."""
    if isinstance(array, Merged):
        return array.units(time, window)
    height, width = (array.shards or array.chunks)[-2:]
    rows, cols = window
    found = []
    for i in range(rows.start // height, (rows.stop - 1) // height + 1):
        for j in range(cols.start // width, (cols.stop - 1) // width + 1):
            middle = (0,) if len(array.shape) == 4 else ()
            key = f"{array.path}/{array.metadata.encode_chunk_key((time, *middle, i, j))}"
            top, left = max(i * height, rows.start) - rows.start, max(j * width, cols.start) - cols.start
            bottom = min((i + 1) * height, rows.stop) - rows.start
            right = min((j + 1) * width, cols.stop) - cols.start
            found.append((key, (slice(top, bottom), slice(left, right))))
    return found


def _size(window: Window) -> tuple[int, int]:
    return window[0].stop - window[0].start, window[1].stop - window[1].start


def _published(attributes: Mapping[str, Any], pixel_grid: PixelGrid, rows: int) -> Iterable[Published]:
    """Which rows of a zone are completed together, and which years of them are.

    In an Icechunk repository each hemisphere says so; its Zarr copy keeps what they said under ``geotessera:source_groups``.
    """
    if halves := attributes.get("halves"):
        for half in halves:
            spans = slice(half.row0, half.row0 + half.rows)
            yield Published(half.name, spans, half.complete, _skipped(half.runs))
        return
    sources = attributes.get("geotessera:source_groups")
    if not isinstance(sources, Mapping):
        yield Published(f"utm{pixel_grid.zone:02d}", slice(0, rows), None, {})
        return
    equator = min(max(round(pixel_grid.north / pixel_grid.pixel), 0), rows)
    for name, told in sources.items():
        years = told.get("years_complete")
        span = slice(0, equator) if str(name).endswith("N") else slice(equator, rows)
        yield Published(str(name), span, None if years is None else frozenset(int(year) for year in years), {})


def _skipped(runs: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    return {
        str(year): frozenset(str(label) for label in run.get("optical_skips") or ())
        for year, run in runs.items()
        if isinstance(run, Mapping)
    }
