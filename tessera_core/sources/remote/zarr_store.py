"""Published stores of embeddings: Zarr v3 and Icechunk, by URL or path, opened the way geotessera opens them.

A store has a group per UTM zone with ``embeddings`` int8 (time, band, y, x), ``scales`` float32 (time, y, x) and perhaps
prefix arrays ``embeddings_d16`` ... (docs/spec/formats.md "Published embedding layouts"). This module brings the zones together on
a region's working grid. It refuses to know files, caches and retries (see ``fetch``).
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import InputError, RasterError
from tessera_core.grid import transformer
from tessera_core.observations import CHANNELS
from tessera_core.provenance import Provenance
from tessera_core.raster import NoData, valid_scales
from tessera_core.region import Region
from tessera_core.sources.remote.datasets import dataset_named
from tessera_core.sources.remote.hemispheres import Repository, is_repository, pinned, unpinned
from tessera_core.sources.remote.resilient import ValidatingStore, fault, open_http
from tessera_core.sources.remote.retry import ATTEMPTS, with_retries
from tessera_core.sources.remote.working_grid import (
    SEAM_DEGREES,
    PixelGrid,
    WorkingGrid,
    centre_zone,
    working_grid,
    zone_of,
)
from tessera_core.sources.remote.zarr_zone import BLOCK, Block, Zone
from tessera_core.types import Window

TIMEOUT_S = 120.0
FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"


class Store:
    """An open store; see :func:`open_store`.

    Attributes:
        location: URL or path.
        dataset: the published dataset it is, or None.
        remote: whether it is read over a network.
        depths: array name by dimensions.
        snapshot: state of an Icechunk repository that is read, or that a Zarr store was copied from; empty where there is none.
        timeout_s: longest wait for one answer.
    """

    timeout_s: float = TIMEOUT_S

    def __init__(
        self, location: str, root: Any, validating: ValidatingStore | None, icechunk: Repository | None, remote: bool
    ) -> None:
        self.location, self.remote, self.icechunk, self.validating = location, remote, icechunk, validating
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

        self.snapshot = (
            icechunk.snapshot if icechunk is not None else str(attributes.get("geotessera:source_snapshot", ""))
        )
        known = dataset_for_location(unpinned(location)[0])
        self.dataset = dataset_named(f"{known.version}/{known.variant}") if known else None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is the way to open it: the same snapshot, whatever has been published since."""
        return _open_once, (self.location, self.timeout_s, self.snapshot if self.icechunk is not None else "")

    @property
    def name(self) -> str:
        """Of the dataset, else of the store."""
        return self.dataset.name if self.dataset else self.location

    @property
    def identity(self) -> str:
        """What must be equal for two reads to give the same vectors."""
        model = f"{self.attributes.get('geoemb:model', '')} {self.attributes.get('geoemb:build_version', '')}"
        # Of a repository the snapshot decides, whether it was asked for or is the newest.
        location = pinned(self.location, self.snapshot) if self.icechunk is not None else self.location
        return f"{location} {model}"

    @property
    def received(self) -> int:
        """Bytes that came over the network so far; 0 for Icechunk, which does not tell."""
        return self.validating.received if self.validating else 0

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

    @cached_property
    def observed(self) -> bool:
        """Whether the store says how often each pixel was seen.

        Raises:
            PieceError: it cannot be asked.
        """
        return any(self._require(number).counted for number in self.zones[:1])

    def complete_years(self, numbers: Iterable[int]) -> dict[str, frozenset[int] | None]:
        """By group such as ``"31N"``, the years that it declares complete; None where it declares nothing.

        Args:
            numbers: zones to ask; those that the store has not are passed over.

        Raises:
            PieceError: the store cannot be asked.
        """
        zones = [zone for number in numbers if (zone := self.zone(number)) is not None]
        return {part.name: part.complete for zone in zones for part in zone.parts}

    def unpublished(self, working_grid: WorkingGrid, year: int) -> str:
        """Why a year that has room in the store is not to be had for a place, as a sentence; empty where it is.

        Raises:
            PieceError: the store cannot be asked.
        """
        zone = self.zone(working_grid.pixel_grid.zone)
        rows = slice(working_grid.row0, working_grid.row0 + working_grid.grid.height)
        if zone is None or year not in zone.years or zone.published_in(year, rows):
            return ""
        mine = [part for part in zone.parts if max(rows.start, part.rows.start) < min(rows.stop, part.rows.stop)]
        had = sorted({value for part in mine for value in part.complete or ()})
        names = " and ".join(part.name for part in mine)
        if not names:
            return ""
        there = f"; it has {', '.join(map(str, had))}" if had else ""
        return f"{self.name} has not published {year} for the zone {names}{there}."

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
                found = self.icechunk.zone(number)
            except RasterError:
                raise
            except Exception as error:
                raise fault(error) from error
            return None if found is None else Zone(self, number, *found)
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
            if self.icechunk is not None:
                return self.icechunk.exists(key)
            return bool(sync((self.validating or self._root.store).exists(key)))
        except Exception as error:
            raise fault(error) from error

    def forget(self) -> None:
        """Ask the server anew for what was remembered."""
        if self.validating is not None:
            self.validating.forget()

    # -------------------------------------------------------------- as a source of regions

    def working_grid(self, region: Region, *, clip: bool = True) -> WorkingGrid:
        """The working grid of a region on this store's pixel grid.

        Raises:
            InputError: the region is no use for UTM zones.
        """
        number = centre_zone(region)
        zone = self.zone(number)
        if zone is not None:
            found = working_grid(region, zone.pixel_grid, clip=clip)
            # Stored pieces of the southern hemisphere begin where its own group does, not where the zone's grid does.
            return replace(found, phase=zone.phase(max(found.row0, 0)))
        pixel = self._require(self.zones[0]).pixel_grid.pixel if self.zones else 10.0
        return working_grid(region, PixelGrid(number, 0.0, 0.0, pixel), clip=clip)

    def block_shape(self, working_grid: WorkingGrid, dim: int) -> tuple[int, int]:
        """Rows and columns in which to read a working grid."""
        zone = self.zone(working_grid.pixel_grid.zone)
        return zone.block_shape(dim) if zone is not None else BLOCK

    def provenance(self, year: int, dim: int) -> Provenance:
        """Of embeddings read from here."""
        model = str(self.attributes.get("geoemb:model", ""))
        details: dict[str, Any] = {"store": unpinned(self.location)[0]}
        if self.snapshot:
            details["snapshot"] = self.snapshot
        repaired = sorted({name for zone in self._zones.values() if zone is not None for name in zone.repaired})
        if repaired:
            details["registration"] = (
                f"repaired here: the transform of {', '.join(repaired)} named the centre of the first pixel for its corner"
            )
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

    def read(self, working_grid: WorkingGrid, window: Window, year: int, dim: int, *, last: bool = True) -> Block:
        """A window of a working grid: the own zone's pixels as they are, those of other zones from the nearest place.

        Raises:
            PieceError: it cannot be read.
        """
        rows, cols = window
        own = self.zone(working_grid.pixel_grid.zone)
        at = (
            slice(working_grid.row0 + rows.start, working_grid.row0 + rows.stop),
            slice(working_grid.col0 + cols.start, working_grid.col0 + cols.stop),
        )
        if own is None:
            shape = (rows.stop - rows.start, cols.stop - cols.start)
            block = Block.empty(shape, dim, NoData.OUTSIDE, counts=bool(dim and self.observed))
        else:
            block = own.read(year, *at, dim, last=last)
        if working_grid.near_seam(window):
            block = self._with_neighbours(working_grid, window, block, year, dim, last)
        if working_grid.inside is not None and not working_grid.inside[window].all():
            outside = ~working_grid.inside[window]
            block.codes[outside], block.reasons[outside] = 0, NoData.OUTSIDE
            scales = np.where(outside, np.float32(np.nan), block.scales)
            if block.observations is not None:
                block.observations[outside] = 0
            block = replace(block, scales=scales)
        return block

    def _with_neighbours(
        self, working_grid: WorkingGrid, window: Window, block: Block, year: int, dim: int, last: bool
    ) -> Block:
        lon, _ = working_grid.lonlat(window)
        x, y = working_grid.xy(window)
        owner = np.clip(np.floor((lon + 180) / 6).astype(int) + 1, 1, 60)
        codes, scales, reasons = block.codes.copy(), block.scales.copy(), block.reasons.copy()
        seen = None if block.observations is None else block.observations.copy()
        problems = list(block.problems)
        for number in working_grid.zones[1:]:
            # A pixel is the neighbour's where its longitude says so, and where the own zone has nothing near the seam.
            seam = (max(number, working_grid.pixel_grid.zone) - 31) * 6
            gap = ~valid_scales(scales) & (np.abs(lon - seam) < SEAM_DEGREES)
            wanted = (owner == number) | gap
            zone = self.zone(number) if wanted.any() else None
            if zone is None:
                continue
            there_x, there_y = transformer(working_grid.pixel_grid.crs, zone.pixel_grid.crs).transform(
                x[wanted], y[wanted]
            )
            col = np.floor((np.asarray(there_x) - zone.pixel_grid.west) / zone.pixel_grid.pixel).astype(np.int64)
            row = np.floor((zone.pixel_grid.north - np.asarray(there_y)) / zone.pixel_grid.pixel).astype(np.int64)
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
            if seen is not None and theirs.observations is not None:
                told = take | (mine & ~valid_scales(scales.ravel()[spots]))
                seen.reshape(scales.size, CHANNELS)[spots[told]] = theirs.observations[row[told], col[told]]
            # Where neither has anything, the owner knows why.
            lost = mine & ~usable & ~valid_scales(scales.ravel()[spots])
            reasons.ravel()[spots[lost]] = theirs.reasons[row[lost], col[lost]]
        return Block(codes, scales, reasons, tuple(problems), seen)

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
        for zone, index, rows, cols in self._placed(lon, lat):
            values[index], reasons[index] = zone.sample(year, rows, cols, dim)
        return values, reasons

    def observations_at(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64], year: int
    ) -> NDArray[np.uint16] | None:
        """How often satellites saw places: uint16 (N, 6) (:mod:`tessera_core.observations`), or None where nobody counted.

        Raises:
            PieceError: the store cannot be read.
        """
        if not self.observed:
            return None
        found = np.zeros((len(lon), CHANNELS), np.uint16)
        for zone, index, rows, cols in self._placed(lon, lat):
            found[index] = zone.observations_at(year, rows, cols)
        return found

    def _placed(
        self, lon: NDArray[np.float64], lat: NDArray[np.float64]
    ) -> Iterator[tuple[Zone, NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]]:
        """The places of each zone that the store has: their positions among all, and their rows and columns."""
        usable = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lon) <= 180) & (lat > -80) & (lat < 84)
        numbers = np.array([zone_of(v) if ok else 0 for v, ok in zip(lon, usable, strict=True)])
        for number in np.unique(numbers[numbers > 0]):
            zone = self.zone(int(number))
            if zone is None:
                continue
            index = np.flatnonzero(numbers == number)
            x, y = transformer("EPSG:4326", zone.pixel_grid.crs).transform(lon[index], lat[index])
            cols = np.floor((np.asarray(x) - zone.pixel_grid.west) / zone.pixel_grid.pixel).astype(np.int64)
            rows = np.floor((zone.pixel_grid.north - np.asarray(y)) / zone.pixel_grid.pixel).astype(np.int64)
            yield zone, index, rows, cols


def open_store(location: str | os.PathLike[str], *, timeout_s: float = TIMEOUT_S, snapshot: str = "") -> Store:
    """Open a store.

    Args:
        location: URL (http, https, or another scheme that fsspec or Icechunk knows) or path of a Zarr v3 store in the
            published layout, or of an Icechunk repository (``*.icechunk``, or ``*.icechunk@SNAPSHOT`` for one state of it).
        timeout_s: longest wait for one answer. Nothing is tried again here; ``fetch`` does that, and can be stopped.
        snapshot: of an Icechunk repository, to be read instead of the newest, under its plain name.

    Raises:
        InputError: there is no such store.
        PieceError: it cannot be reached.
        RasterError: it is not of the published layout.
    """
    import zarr
    from geotessera.store import zarr_store

    location = os.fsdecode(os.fspath(location)).rstrip("/")
    icechunk = validating = None
    remote = "://" in location
    if not remote:
        # One store has one name, wherever it is opened from: the cache goes by it.
        location = os.path.abspath(os.path.expanduser(location))
    if not remote and not os.path.isdir(unpinned(location)[0]):
        raise InputError(f"There is no store at {location}; check the path, or give a URL such as https://...")
    try:
        if is_repository(location):
            base, asked = unpinned(location)
            icechunk = Repository(base, snapshot or asked)
            root = icechunk.root
        else:
            plain = open_http(location, timeout_s) if location.startswith("http") else zarr_store(location)
            validating = ValidatingStore(plain) if remote else None
            root = zarr.open_group(validating or plain, mode="r", zarr_format=3)
    except (zarr.errors.GroupNotFoundError, zarr.errors.ArrayNotFoundError, FileNotFoundError, KeyError) as error:
        base, asked = unpinned(location)
        if asked:
            raise InputError(f"{base} has no snapshot {asked}; leave it away for the newest.") from error
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
    store = Store(location, root, validating, icechunk, remote)
    store.timeout_s = timeout_s
    try:
        zones = store.zones
    except Exception as error:
        raise fault(error) from error
    if not zones:
        raise RasterError(
            f"{location} is a Zarr store, but not one of embeddings in the published layout: it has no groups utm01 to utm60."
        )
    return store


@functools.lru_cache(maxsize=8)
def _open_once(location: str, timeout_s: float, snapshot: str = "") -> Store:
    """A store that another process has opened; once in this one."""
    return with_retries(lambda: open_store(location, timeout_s=timeout_s, snapshot=snapshot), location, ATTEMPTS, None)


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
