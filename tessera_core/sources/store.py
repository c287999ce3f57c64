"""Published stores of embeddings: Zarr v3 and Icechunk, by URL or path, opened the way geotessera opens them.

A store has a group per UTM zone with ``embeddings`` int8 (time, band, y, x), ``scales`` float32 (time, y, x) and perhaps
prefix arrays ``embeddings_d16`` ... (spec/formats.md "Published embedding layouts"). This module reads windows of a zone and says
for each pixel without data why; what it cannot be sure of it refuses. It refuses to know regions' files, caches and retries
(see ``fetch``).

Zarr takes an object that is not there for one that was never written. A server that answers 404 by mistake would so turn
land into no data, or valid scales into vectors of zeros. Therefore absent objects are asked for twice, remembered, and compared:
scales without their embeddings, or the other way round, are a fault and not data.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import SuffixByteRequest
from zarr.storage import WrapperStore

from tessera_core.errors import InputError, RasterError, TesseraError
from tessera_core.grid import transformer
from tessera_core.provenance import Provenance
from tessera_core.raster import NoData, valid_scales
from tessera_core.region import Region
from tessera_core.sources.frame import SEAM_DEGREES, Frame, Lattice, Window, centre_zone, check_region, frame, zone_of

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

CONNECT_S = 15.0
TIMEOUT_S = 120.0
BLOCK = (256, 512)
MAX_BLOCK_BYTES = 128 << 20
ABSURD = 50.0
FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"
_INDEXES = 64


# ------------------------------------------------------------------ which datasets there are


@dataclass(frozen=True)
class Dataset:
    """A published run of a TESSERA model; vectors of two datasets never mix.

    Attributes:
        name: ``"1.1/dclimate"``.
        version, variant: the parts of the name.
        location: of its store, Zarr where there is one, else Icechunk.
        tiles: its folder among the published NPY tiles, or empty.
        description: as its publisher puts it.
        default: whether it is the one to take when nothing speaks for another.
    """

    name: str
    version: str
    variant: str
    location: str
    tiles: str
    description: str
    default: bool


def datasets() -> list[Dataset]:
    """The datasets that the installed geotessera knows, the default first."""
    from geotessera import registry

    default = registry._parse_dataset_version(registry.DEFAULT_VERSION)[1]
    known = []
    for entry in registry.DATASETS:
        first = entry.version == default and entry.variant == registry.default_variant(default, "stream")
        known.append(
            Dataset(
                f"{entry.version}/{entry.variant}",
                entry.version,
                entry.variant,
                registry.zarr_store_url(entry.version, entry.variant) if entry.zarr or entry.icechunk else "",
                entry.npy or "",
                entry.description,
                first,
            )
        )
    return sorted(known, key=lambda dataset: not dataset.default)


def dataset_named(name: str) -> Dataset:
    """The dataset of that name; ``"1.1"`` alone means the default variant of that version.

    Raises:
        InputError: there is none.
    """
    wanted = name.strip().removeprefix("v")
    known = datasets()
    for dataset in known:
        if wanted in (dataset.name, f"{dataset.version}-{dataset.variant}", dataset.version):
            return dataset
    raise InputError(f"There is no dataset {name!r}; known are {', '.join(dataset.name for dataset in known)}.")


# ------------------------------------------------------------------ faults


class PieceError(TesseraError):
    """A window of a source could not be read.

    Attributes:
        reason: ``MISSING_TILE`` where it could not be had, ``BAD_TILE`` where what came is damaged.
    """

    def __init__(self, message: str, reason: NoData = NoData.MISSING_TILE) -> None:
        super().__init__(message)
        self.reason = reason


# What obstore tells of a failed request, in the order in which to look.
_FAULTS: tuple[tuple[str, str], ...] = (
    (r"status code: (\d{3})|status: (\d{3})", "the server answered with error {}"),
    (r"TimedOut|kind: Timeout|timed out", "the server did not answer in time"),
    (r"IncompleteBody|UnexpectedEof|body error|end of file", "the answer was cut short"),
    (r"error sending request|[Cc]onnect|dns|refused|unreachable", "the server cannot be reached"),
)


def fault(error: BaseException) -> PieceError:
    """What went wrong in reading a window, in a few words."""
    if isinstance(error, PieceError):
        return error
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return PieceError("the server says it is not there (404)")
    if type(error).__module__.startswith(("obstore", "icechunk")) or isinstance(error, OSError):
        for pattern, words in _FAULTS:
            if match := re.search(pattern, text):
                return PieceError(words.format(next((group for group in match.groups() if group), "")))
        return PieceError(f"it could not be read ({(text.splitlines() or ['?'])[0][:120]})")
    return PieceError("what came is damaged", NoData.BAD_TILE)


class _CarefulStore(WrapperStore[Any]):
    """Asks twice for what is not there and remembers it; keeps shard indexes, which every window of a shard needs."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.absent: set[str] = set()
        self.received = 0
        self._indexes: OrderedDict[str, Any] = OrderedDict()
        self._guard = threading.Lock()

    def forget(self) -> None:
        """Drop what was remembered, so that a second try asks anew."""
        with self._guard:
            self._indexes.clear()
            self.absent.clear()

    async def get(self, key: str, prototype: BufferPrototype, byte_range: Any = None) -> Buffer | None:
        """The object or a part of it; None only after a second request."""
        index = f"{key}:{byte_range.suffix}" if isinstance(byte_range, SuffixByteRequest) else ""
        with self._guard:
            if index and index in self._indexes:
                self._indexes.move_to_end(index)
                return self._indexes[index]
        value = await self._store.get(key, prototype, byte_range)
        chunk = "/c/" in key
        if value is None and chunk:
            await asyncio.sleep(0.02)
            value = await self._store.get(key, prototype, byte_range)
        with self._guard:
            if value is None:
                if chunk:
                    self.absent.add(key)
            else:
                self.received += len(value)
                self.absent.discard(key)
                if index and _checksum_holds(value.to_bytes()):
                    self._indexes[index] = value
                    while len(self._indexes) > _INDEXES:
                        self._indexes.popitem(last=False)
        return value

    async def get_ranges(
        self, key: str, byte_ranges: Sequence[Any], *, prototype: BufferPrototype, **options: Any
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Parts of an object, which must be there: its index was read before."""
        try:
            async for group in self._store.get_ranges(key, byte_ranges, prototype=prototype, **options):
                with self._guard:
                    self.received += sum(len(value) for _, value in group if value is not None)
                yield group
        except BaseExceptionGroup as errors:
            if errors.subgroup(FileNotFoundError) is not None:
                # Zarr would take it for never written.
                raise ConnectionError("the server says it is not there (404)") from errors
            raise


def _checksum_holds(index: bytes) -> bool:
    """Whether the bytes end with their own CRC-32C, as shard indexes do; what fails that must not be kept."""
    import google_crc32c

    return len(index) > 4 and google_crc32c.value(index[:-4]) == int.from_bytes(index[-4:], "little")


# ------------------------------------------------------------------ stores


@dataclass(frozen=True)
class Block:
    """A window that was read.

    Attributes:
        codes: int8 (h, w, D).
        scales: float32 (h, w), NaN where there is no data.
        reasons: uint8 (h, w) of :class:`NoData`.
        problems: what is missing of it and why, for people.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    reasons: NDArray[np.uint8]
    problems: tuple[str, ...] = ()

    @classmethod
    def empty(cls, shape: tuple[int, int], dim: int, reason: NoData) -> Block:
        """A block without data."""
        return cls(
            np.zeros((*shape, dim), np.int8),
            np.full(shape, np.nan, np.float32),
            np.full(shape, reason, np.uint8),
        )


class Zone:
    """One UTM zone of a store: arrays over a part of its lattice."""

    def __init__(self, store: Store, number: int, arrays: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        self.store, self.number, self._arrays = store, number, arrays
        try:
            t = [float(v) for v in attributes["spatial:transform"]]
            self.lattice = Lattice(number, t[2], t[5], t[0])
            self.rows, self.cols = (int(n) for n in arrays["scales"].shape[1:])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise RasterError(
                f"The zone utm{number:02d} of {store.location} lacks the arrays or attributes of the published layout."
            ) from error
        if t[1] or t[3] or t[4] != -t[0] or t[0] <= 0:
            raise RasterError(f"The zone utm{number:02d} of {store.location} has no north-up grid of square pixels.")
        # In some stores NaN means that nothing was embedded, not that there is water.
        self._nan = NoData.MISSING_TILE if attributes.get("geotessera:mask_source") == "source_nodata" else NoData.WATER

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Years on the time axis.

        Raises:
            PieceError: they cannot be read.
        """
        if self.store.icechunk is not None:
            return tuple(int(y) for y in self.store.icechunk.years)
        try:
            time = self._arrays["time"]
            years = tuple(int(y) for y in time[:])
        except Exception as error:
            raise fault(error) from error
        if self.store.careful is not None and any(f"{time.path}/" in key for key in self.store.careful.absent):
            self.store.forget()
            raise PieceError("the list of its years is absent")
        return years

    def array(self, dim: int) -> Any:
        """The array with the first ``dim`` dimensions, or a longer one."""
        return self._arrays[self.store.array_of(dim)]

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
        """Codes and scales of a window of lattice pixels, which may reach beyond the zone's arrays.

        Args:
            year: one that the zone has not is all ``MISSING_TILE``.
            rows, cols: of the lattice.
            dim: leading dimensions; 0 reads the scales alone, which suffices to know where there is data.
            last: take what is there and name what is not; else anything missing raises, to be tried again.

        Raises:
            PieceError: the window cannot be read, or not be trusted.
        """
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        there = self._there(rows, cols)
        if there is None:
            return Block.empty(shape, dim, NoData.OUTSIDE)
        if year not in self.years:
            return Block.empty(shape, dim, NoData.MISSING_TILE)
        ours, theirs = there
        part = self._read(self.years.index(year), theirs, dim, last)
        if part.scales.shape == shape:
            return part
        block = Block.empty(shape, dim, NoData.OUTSIDE)
        block.codes[ours], block.scales[ours], block.reasons[ours] = part.codes, part.scales, part.reasons
        return Block(block.codes, block.scales, block.reasons, part.problems)

    def sample(
        self, year: int, rows: NDArray[np.int64], cols: NDArray[np.int64], dim: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Vectors of lattice pixels: float32 (N, dim), NaN without data, and uint8 (N,) reasons.

        Raises:
            PieceError: they cannot be read.
        """
        values = np.full((len(rows), dim), np.nan, np.float32)
        reasons = np.full(len(rows), NoData.OUTSIDE, np.uint8)
        there = np.flatnonzero((rows >= 0) & (rows < self.rows) & (cols >= 0) & (cols < self.cols))
        if year not in self.years:
            reasons[there] = NoData.MISSING_TILE
            return values, reasons
        if not there.size:
            return values, reasons
        time = np.full(there.size, self.years.index(year))
        try:
            scales = np.asarray(self._arrays["scales"].vindex[time, rows[there], cols[there]], np.float32)
            reasons[there] = self._reasons(scales)
            good = np.flatnonzero(valid_scales(scales))
            if good.size:
                at = there[good]
                index = np.broadcast_arrays(time[good, None], np.arange(dim)[None], rows[at, None], cols[at, None])
                codes = np.asarray(self.array(dim).vindex[tuple(index)])
                values[at] = codes.astype(np.float32) * scales[good, None]
                zero = at[~codes.any(axis=1)]
                values[zero], reasons[zero] = np.nan, NoData.BAD_TILE
        except Exception as error:
            self.store.forget()
            raise fault(error) from error
        return values, reasons

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

    def _read(self, time: int, window: Window, dim: int, last: bool) -> Block:
        try:
            codes, scales = self._raw(time, window, dim)
            valid = valid_scales(scales)
            zero = valid & ~codes.any(axis=-1) if dim else np.zeros_like(valid)
            if self._doubtful(codes, scales, valid, zero):
                again = self._raw(time, window, dim)
                if not (np.array_equal(codes, again[0]) and np.array_equal(scales, again[1], equal_nan=True)):
                    raise PieceError("what came was different each time", NoData.BAD_TILE)
        except Exception as error:
            self.store.forget()
            raise fault(error) from error
        reasons = self._reasons(scales)
        problems = []
        for where, sentence in self._absences(time, window, dim, valid):
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
        return Block(codes, scales, reasons, tuple(problems))

    def _raw(self, time: int, window: Window, dim: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        scales = np.array(self._arrays["scales"][(time, *window)], np.float32)
        if not dim or not valid_scales(scales).any():
            return np.zeros((*scales.shape, dim), np.int8), scales
        array = self.array(dim)
        codes = np.asarray(array[(time, slice(0, dim), *window)])
        if codes.dtype != np.int8:
            raise PieceError(f"the embeddings are {codes.dtype}, not int8", NoData.BAD_TILE)
        return _pixels_first(codes), scales

    def _doubtful(
        self, codes: NDArray[np.int8], scales: NDArray[np.float32], valid: NDArray[np.bool_], zero: NDArray[np.bool_]
    ) -> bool:
        """Whether bytes look unlike embeddings, so that reading them again is worth it; what repeats is believed."""
        if not valid.any() or not self.store.remote:
            return False
        values = scales[valid]
        absurd = float(values.max()) > ABSURD * float(np.median(values)) or bool((scales <= 0).any())
        return absurd or bool(zero.any()) or int(codes.min(initial=0)) == -128

    def _absences(self, time: int, window: Window, dim: int, valid: NDArray[np.bool_]) -> list[tuple[Window, str]]:
        """Parts of a window whose scales or embeddings, but not both, are absent from the store."""
        careful = self.store.careful
        if careful is None:
            return []
        found: list[tuple[Window, str]] = []
        scales, codes = self._arrays["scales"], self.array(dim)
        if any(f"{codes.path}/" in key for key in careful.absent):
            for key, where in _units(codes, time, window):
                if key in careful.absent and valid[where].any():
                    found.append((where, "the embeddings are absent where there are scales"))
        if any(f"{scales.path}/" in key for key in careful.absent):
            for key, where in _units(scales, time, window):
                if key in careful.absent and self._has_codes(time, window, where, codes):
                    found.append((where, "the scales are absent where there are embeddings"))
        return found

    def _has_codes(self, time: int, window: Window, where: Window, codes: Any) -> bool:
        rows = slice(window[0].start + where[0].start, window[0].start + where[0].stop)
        cols = slice(window[1].start + where[1].start, window[1].start + where[1].stop)
        return any(self.store.exists(key) for key, _ in _units(codes, time, (rows, cols)))


def _pixels_first(codes: NDArray[np.int8]) -> NDArray[np.int8]:
    """int8 (h, w, D) from (D, h, w); eight pixels at a time, which is three times quicker than NumPy's byte by byte."""
    dim, height, width = codes.shape
    flat = np.ascontiguousarray(codes).reshape(dim, height * width)
    whole = flat.shape[1] // 8 * 8
    out = np.empty((flat.shape[1], dim), np.int8)
    eights = np.ascontiguousarray(flat[:, :whole].view(np.uint64).T)
    np.copyto(out[:whole].reshape(-1, 8, dim), eights.view(np.int8).reshape(-1, dim, 8).transpose(0, 2, 1))
    out[whole:] = flat[:, whole:].T
    return out.reshape(height, width, dim)


def _units(array: Any, time: int, window: Window) -> list[tuple[str, Window]]:
    """Keys of the stored objects under a window, and the part of the window that each holds."""
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


class Store:
    """An open store; see :func:`open_store`.

    Attributes:
        location: URL or path.
        dataset: the published dataset it is, or None.
        remote: whether it is read over a network.
        depths: array name by dimensions.
    """

    def __init__(self, location: str, root: Any, careful: _CarefulStore | None, icechunk: Any, remote: bool) -> None:
        self.location, self.remote, self.icechunk, self.careful = location, remote, icechunk, careful
        self._root = root
        self._zones: dict[int, Zone | None] = {}
        self._guard = threading.Lock()
        attributes = dict(root.attrs)
        self.attributes = attributes
        self.dim = int(attributes.get("geoemb:dimensions", 128))
        self.depths: dict[int, str] = {
            int(d["dimensions"]): str(d["array"]) for d in attributes.get("geoemb:depths", [])
        } or {self.dim: "embeddings"}
        from geotessera.registry import dataset_for_location

        known = dataset_for_location(location)
        self.dataset = dataset_named(f"{known.version}/{known.variant}") if known else None

    @property
    def name(self) -> str:
        """Of the dataset, else of the store."""
        return self.dataset.name if self.dataset else self.location

    @property
    def identity(self) -> str:
        """What must be equal for two reads to give the same vectors."""
        model = f"{self.attributes.get('geoemb:model', '')} {self.attributes.get('geoemb:build_version', '')}"
        return f"{self.location} {model}"

    @property
    def received(self) -> int:
        """Bytes that came over the network so far; 0 for Icechunk, which does not tell."""
        return self.careful.received if self.careful else 0

    @cached_property
    def zones(self) -> tuple[int, ...]:
        """UTM zones that the store holds."""
        if self.icechunk is not None:
            return tuple(self.icechunk.zones())
        return tuple(sorted(int(name[3:]) for name in self._root if re.fullmatch(r"utm\d\d", name)))

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Years that any zone holds."""
        return tuple(sorted({year for number in self.zones[:1] for year in self._require(number).years}))

    def zone(self, number: int) -> Zone | None:
        """A zone, or None where the store has none.

        Raises:
            RasterError: the zone is not of the published layout.
            PieceError: it cannot be read.
        """
        with self._guard:
            if number not in self._zones:
                self._zones[number] = self._open_zone(number)
            return self._zones[number]

    def _require(self, number: int) -> Zone:
        zone = self.zone(number)
        if zone is None:
            raise RasterError(f"{self.location} has no zone utm{number:02d}.")
        return zone

    def _open_zone(self, number: int) -> Zone | None:
        if self.icechunk is not None:
            try:
                attributes = self.icechunk.open_zone(number).attrs
            except KeyError:
                return None
            return Zone(self, number, self.icechunk.zone_arrays(number), attributes)
        try:
            group = self._root[f"utm{number:02d}"]
        except KeyError:
            return None
        except Exception as error:
            raise fault(error) from error
        # Files answer at once: Zarr's pipeline without an event loop takes half the time of the other.
        options = {} if self.remote or not _fused() else {"codec_pipeline.path": FUSED}
        return Zone(self, number, _Arrays(group, options), dict(group.attrs))

    def array_of(self, dim: int) -> str:
        """Name of the shortest array with at least ``dim`` dimensions.

        Raises:
            InputError: the embeddings have fewer.
        """
        for depth in sorted(self.depths):
            if depth >= dim:
                return self.depths[depth]
        raise InputError(f"The embeddings of {self.name} have {self.dim} dimensions, not {dim}.")

    def exists(self, key: str) -> bool:
        """Whether the store holds an object."""
        from zarr.core.sync import sync

        try:
            return self.careful is not None and bool(sync(self.careful.exists(key)))
        except Exception as error:
            raise fault(error) from error

    def forget(self) -> None:
        """Ask the server anew for what was remembered."""
        if self.careful is not None:
            self.careful.forget()

    # -------------------------------------------------------------- as a source of regions

    def frame(self, region: Region) -> Frame:
        """The working grid of a region on this store's lattice.

        Raises:
            InputError: the region is no use for UTM zones.
        """
        check_region(region)
        number = centre_zone(region)
        zone = self.zone(number)
        if zone is not None:
            return frame(region, zone.lattice)
        pixel = self._require(self.zones[0]).lattice.pixel if self.zones else 10.0
        return frame(region, Lattice(number, 0.0, 0.0, pixel))

    def block_shape(self, frame: Frame, dim: int) -> tuple[int, int]:
        """Rows and columns in which to read a frame."""
        zone = self.zone(frame.lattice.zone)
        return zone.block_shape(dim) if zone is not None else BLOCK

    def provenance(self, year: int, dim: int) -> Provenance:
        """Of embeddings read from here."""
        model = str(self.attributes.get("geoemb:model", ""))
        details: dict[str, Any] = {"store": self.location}
        for key in ("geoemb:model", "geoemb:build_version"):
            if key in self.attributes:
                details[key] = self.attributes[key]
        if self.dataset:
            version, variant = self.dataset.version, self.dataset.variant
        else:
            # The model's address ends in its version and variant; without them the store names its own dataset.
            match = re.search(r"/model/v?([^/]+)(?:/(.+))?$", model)
            version, variant = (match[1], match[2] or "") if match else (model, "")
        written = self.attributes.get("tessera_studio:provenance")
        if isinstance(written, Mapping):
            stamp = Provenance.from_json(written)
            return Provenance(
                stamp.model, stamp.version, stamp.variant, dim, year, self.name, details={**stamp.details, **details}
            )
        return Provenance("tessera", version, variant, dim, year, self.name, details=details)

    def read(self, frame: Frame, window: Window, year: int, dim: int, *, last: bool = True) -> Block:
        """A window of a frame: the own zone's pixels as they are, those of other zones from the nearest place.

        Raises:
            PieceError: it cannot be read.
        """
        rows, cols = window
        own = self.zone(frame.lattice.zone)
        at = (
            slice(frame.row0 + rows.start, frame.row0 + rows.stop),
            slice(frame.col0 + cols.start, frame.col0 + cols.stop),
        )
        if own is None:
            block = Block.empty((rows.stop - rows.start, cols.stop - cols.start), dim, NoData.OUTSIDE)
        else:
            block = own.read(year, *at, dim, last=last)
        if frame.near_seam(window):
            block = self._with_neighbours(frame, window, block, year, dim, last)
        if frame.inside is not None and not frame.inside[window].all():
            outside = ~frame.inside[window]
            block.codes[outside], block.reasons[outside] = 0, NoData.OUTSIDE
            scales = np.where(outside, np.float32(np.nan), block.scales)
            block = Block(block.codes, scales, block.reasons, block.problems)
        return block

    def _with_neighbours(self, frame: Frame, window: Window, block: Block, year: int, dim: int, last: bool) -> Block:
        lon, _ = frame.lonlat(window)
        x, y = frame.xy(window)
        owner = np.clip(np.floor((lon + 180) / 6).astype(int) + 1, 1, 60)
        codes, scales, reasons = block.codes.copy(), block.scales.copy(), block.reasons.copy()
        problems = list(block.problems)
        for number in frame.zones[1:]:
            # A pixel is the neighbour's where its longitude says so, and where the own zone has nothing near the seam.
            seam = (max(number, frame.lattice.zone) - 31) * 6
            gap = ~valid_scales(scales) & (np.abs(lon - seam) < SEAM_DEGREES)
            wanted = (owner == number) | gap
            zone = self.zone(number) if wanted.any() else None
            if zone is None:
                continue
            there_x, there_y = transformer(frame.lattice.crs, zone.lattice.crs).transform(x[wanted], y[wanted])
            col = np.floor((np.asarray(there_x) - zone.lattice.west) / zone.lattice.pixel).astype(np.int64)
            row = np.floor((zone.lattice.north - np.asarray(there_y)) / zone.lattice.pixel).astype(np.int64)
            span = (slice(int(row.min()), int(row.max()) + 1), slice(int(col.min()), int(col.max()) + 1))
            theirs = zone.read(year, *span, dim, last=last)
            row, col = row - span[0].start, col - span[1].start
            problems += theirs.problems
            spots, mine = np.flatnonzero(wanted), owner[wanted] == number
            usable = valid_scales(theirs.scales[row, col])
            take = usable & (mine | gap[wanted])
            codes.reshape(scales.size, dim)[spots[take]] = theirs.codes[row[take], col[take]]
            scales.ravel()[spots[take]] = theirs.scales[row[take], col[take]]
            reasons.ravel()[spots[take]] = NoData.VALID
            # Where neither has anything, the owner knows why.
            lost = mine & ~usable & ~valid_scales(scales.ravel()[spots])
            reasons.ravel()[spots[lost]] = theirs.reasons[row[lost], col[lost]]
        return Block(codes, scales, reasons, tuple(problems))

    # -------------------------------------------------------------- points

    def sample(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64], year: int, dim: int
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Vectors at places: float32 (N, D), NaN without data, and uint8 (N,) reasons; one read per UTM zone.

        Raises:
            PieceError: the store cannot be read.
        """
        values = np.full((len(lon), dim), np.nan, np.float32)
        reasons = np.full(len(lon), NoData.OUTSIDE, np.uint8)
        usable = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lon) <= 180) & (lat > -80) & (lat < 84)
        numbers = np.array([zone_of(v) if ok else 0 for v, ok in zip(lon, usable, strict=True)])
        for number in np.unique(numbers[numbers > 0]):
            zone = self.zone(int(number))
            if zone is None:
                continue
            index = np.flatnonzero(numbers == number)
            x, y = transformer("EPSG:4326", zone.lattice.crs).transform(lon[index], lat[index])
            cols = np.floor((np.asarray(x) - zone.lattice.west) / zone.lattice.pixel).astype(np.int64)
            rows = np.floor((zone.lattice.north - np.asarray(y)) / zone.lattice.pixel).astype(np.int64)
            values[index], reasons[index] = zone.sample(year, rows, cols, dim)
        return values, reasons


def open_store(location: str | os.PathLike[str], *, timeout_s: float = TIMEOUT_S) -> Store:
    """Open a store.

    Args:
        location: URL (http, https, or another scheme that fsspec or Icechunk knows) or path of a Zarr v3 store in the
            published layout, or of an Icechunk repository (``*.icechunk``).
        timeout_s: longest wait for one answer. Nothing is tried again here; ``fetch`` does that, and can be stopped.

    Raises:
        InputError: there is no such store.
        PieceError: it cannot be reached.
        RasterError: it is not of the published layout.
    """
    import zarr
    from geotessera.icechunk import IcechunkStore, is_icechunk_location
    from geotessera.store import zarr_store

    location = os.fsdecode(os.fspath(location)).rstrip("/")
    icechunk = careful = None
    remote = "://" in location
    if not remote:
        # One store has one name, wherever it is opened from: the cache goes by it.
        location = os.path.abspath(os.path.expanduser(location))
    if not remote and not os.path.isdir(location):
        raise InputError(f"There is no store at {location}; check the path, or give a URL such as https://...")
    try:
        if is_icechunk_location(location):
            icechunk = IcechunkStore(location)
            root = icechunk.root
        else:
            plain = _http(location, timeout_s) if location.startswith("http") else zarr_store(location)
            careful = _CarefulStore(plain) if remote else None
            root = zarr.open_group(careful or plain, mode="r", zarr_format=3)
    except (zarr.errors.GroupNotFoundError, zarr.errors.ArrayNotFoundError, FileNotFoundError, KeyError) as error:
        raise InputError(
            f"There is no store of embeddings at {location}: no zarr.json of a Zarr v3 group is there. Check the address; "
            "it ends with the store's own name."
        ) from error
    except Exception as error:
        cause = fault(error)
        # Over a network it may be whole the next time.
        if cause.reason == NoData.BAD_TILE and not remote:
            raise RasterError(f"What {location} holds is not a Zarr v3 store; its zarr.json is damaged.") from error
        raise cause from error
    store = Store(location, root, careful, icechunk, remote)
    try:
        zones = store.zones
    except Exception as error:
        raise fault(error) from error
    if not zones:
        raise RasterError(
            f"{location} is a Zarr store, but not one of embeddings in the published layout: it has no groups utm01 to utm60."
        )
    return store


def _http(location: str, timeout_s: float) -> Any:
    from geotessera.registry import TESSERA_MIRROR_S3_HTTP_URL, TESSERA_MIRROR_URL, canonical_store_location
    from obstore.store import HTTPStore
    from zarr.storage import ObjectStore

    url = canonical_store_location(location)
    if url.startswith(f"{TESSERA_MIRROR_URL}/"):
        # As geotessera does: the gateway in front drops requests under the volume of a region read.
        url = TESSERA_MIRROR_S3_HTTP_URL + url[len(TESSERA_MIRROR_URL) :]
    http = HTTPStore.from_url(
        url,
        retry_config={"max_retries": 0},
        client_options={
            "timeout": timedelta(seconds=timeout_s),
            "connect_timeout": timedelta(seconds=min(CONNECT_S, timeout_s)),
            "allow_http": True,
        },
    )
    return ObjectStore(http, read_only=True)


def _fused() -> bool:
    from zarr.core import codec_pipeline

    return hasattr(codec_pipeline, FUSED.rpartition(".")[2])


class _Arrays(Mapping[str, Any]):
    """Arrays of a Zarr group by name, each opened once."""

    def __init__(self, group: Any, options: Mapping[str, Any]) -> None:
        self._group, self._options = group, dict(options)
        self._open: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._open:
            import zarr

            with zarr.config.set(self._options):
                self._open[name] = self._group[name]
        return self._open[name]

    def __iter__(self) -> Any:
        return iter(self._group)

    def __len__(self) -> int:
        return len(self._group)
