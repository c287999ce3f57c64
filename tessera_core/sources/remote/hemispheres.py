"""An Icechunk repository of embeddings: one group per UTM zone and hemisphere, brought together on the zone's one pixel grid.

Each group has its own CRS and reaches past the equator to whole shards; of the northern one the rows above the equator count, of
the southern one those below. Pixels come as they are stored, band last, so nothing is turned round on the way. Repositories
written before their registration was repaired are placed by their bounding box (:func:`outer_corner`). Knows no regions.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import RasterError
from tessera_core.observations import NAMES
from tessera_core.sources.remote.working_grid import FALSE_NORTHING

_PINNED = re.compile(r"(.*\.icechunk)@([0-9A-Z]{8,40})")
_GROUP = re.compile(r"\d\d[NS]")


def pinned(location: str, snapshot: str) -> str:
    """The location of one snapshot of a repository, as ``REPOSITORY.icechunk@SNAPSHOT``.

    Example:
        >>> unpinned(pinned("s3://bucket/v1.icechunk", "QR7F41A6WYZ03VC92T6G"))
        ('s3://bucket/v1.icechunk', 'QR7F41A6WYZ03VC92T6G')
    """
    return f"{unpinned(location)[0]}@{snapshot}" if snapshot else location


def unpinned(location: str) -> tuple[str, str]:
    """Location of the repository and the snapshot that is asked for; empty where the newest is."""
    match = _PINNED.fullmatch(location.rstrip("/"))
    return (match[1], match[2]) if match else (location.rstrip("/"), "")


def outer_corner(attributes: Mapping[str, Any]) -> tuple[float, float, float, bool]:
    """West and north edge and side of the first pixel of a zone, and whether its registration had to be repaired.

    As first published, ``spatial:transform`` named the centre of the first pixel; ``spatial:bbox`` was right from the start.

    Raises:
        ValueError: there is no north-up grid of square pixels, or transform and box name different places.
        KeyError: the transform is missing.
    """
    t = [float(value) for value in attributes["spatial:transform"]]
    side, west, north = t[0], t[2], t[5]
    if t[1] or t[3] or t[4] != -side or side <= 0:
        raise ValueError("no north-up grid of square pixels")
    box = attributes.get("spatial:bbox")
    if box is None:
        return west, north, side, False
    shift = (west - float(box[0]), float(box[3]) - north)
    tolerance = side * 1e-6
    if all(abs(value) <= tolerance for value in shift):
        return west, north, side, False
    if all(abs(value - side / 2) <= tolerance for value in shift):
        return float(box[0]), float(box[3]), side, True
    raise ValueError(
        f"its transform begins at {west:g}, {north:g} but its box at {float(box[0]):g}, {float(box[3]):g}, so that it is "
        "not known where its pixels lie"
    )


@dataclass(frozen=True)
class Half:
    """The rows of one hemisphere's group that count.

    Attributes:
        name: of the group, such as ``33N``.
        group: of Zarr.
        row0: the first of them on the zone's grid.
        local0: the same in the group.
        rows: how many.
        col0, cols: the group's columns on the zone's grid.
        complete: the years that the publisher has declared complete; None where it declares nothing.
        runs: what is told of each year.
    """

    name: str
    group: Any
    row0: int
    local0: int
    rows: int
    col0: int
    cols: int
    complete: frozenset[int] | None
    runs: Mapping[str, Any]


class Merged:
    """One array of a zone over both hemispheres, indexed as Zarr's are: the time first, then rows, columns and the rest.

    Embeddings are indexed (time, band, row, column), as in stores with the band first; what comes is a view with the band first
    over memory with the band last.
    """

    def __init__(self, name: str, halves: tuple[Half, ...], rows: int, cols: int) -> None:
        self.name, self.path, self.halves = name, name, halves
        self._sources = {half.name: half.group[name] for half in halves}
        first = next(iter(self._sources.values()))
        self.dtype, self.fill = first.dtype, first.fill_value
        self._rest = tuple(int(n) for n in first.shape[3:])
        self._banded = name == "embeddings"
        self.shape = self._ordered((int(first.shape[0]), rows, cols, *self._rest))
        self.chunks = self._ordered(first.chunks)
        self.shards = None if first.shards is None else self._ordered(first.shards)

    def _ordered(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        time, rows, cols, *rest = shape
        return (time, *rest, rows, cols) if self._banded else (time, rows, cols, *rest)

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        time, bands, rows, cols = key if self._banded else (key[0], slice(None), *key[1:3])
        rest = tuple(len(range(*bands.indices(n))) for n in self._rest)
        shape = (rows.stop - rows.start, cols.stop - cols.start, *rest)
        parts = [(half, self._spans(half, rows, cols)) for half in self.halves]
        touched = [(half, spans) for half, spans in parts if spans is not None]
        if len(touched) == 1 and touched[0][1][0] == (slice(0, shape[0]), slice(0, shape[1])):
            half, (_, theirs) = touched[0]
            found = np.asarray(self._sources[half.name][(time, *theirs, *((bands,) * len(self._rest)))])
        else:
            found = np.full(shape, self.fill, self.dtype)
            for half, (ours, theirs) in touched:
                found[ours] = self._sources[half.name][(time, *theirs, *((bands,) * len(self._rest)))]
        return found.transpose(2, 0, 1) if self._banded else found

    @staticmethod
    def _spans(half: Half, rows: slice, cols: slice) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        top, bottom = max(rows.start, half.row0), min(rows.stop, half.row0 + half.rows)
        left, right = max(cols.start, half.col0), min(cols.stop, half.col0 + half.cols)
        if top >= bottom or left >= right:
            return None
        down = half.local0 - half.row0
        return (
            (slice(top - rows.start, bottom - rows.start), slice(left - cols.start, right - cols.start)),
            (slice(top + down, bottom + down), slice(left - half.col0, right - half.col0)),
        )

    @property
    def vindex(self) -> _Points:
        """Pixels one by one: ``array.vindex[time, rows, cols]``; embeddings have the band second, as arrays that broadcast."""
        return _Points(self._points)

    def _points(self, key: tuple[Any, ...]) -> NDArray[Any]:
        index = np.broadcast_arrays(*(np.asarray(part, np.intp) for part in key))
        time, rows, cols = (index[0], index[2], index[3]) if self._banded else index[:3]
        found = np.full(time.shape, self.fill, self.dtype) if self._banded or not self._rest else None
        if found is None:
            found = np.full((*time.shape, *self._rest), self.fill, self.dtype)
        for half in self.halves:
            mine = (rows >= half.row0) & (rows < half.row0 + half.rows)
            mine &= (cols >= half.col0) & (cols < half.col0 + half.cols)
            if not mine.any():
                continue
            there = (time[mine], rows[mine] - half.row0 + half.local0, cols[mine] - half.col0)
            source = self._sources[half.name]
            if self._banded:
                found[mine] = source.vindex[(*there, index[1][mine])]
            elif self._rest:
                spread = tuple(part[:, None] for part in there)
                found[mine] = source.vindex[(*spread, np.arange(self._rest[0])[None])]
            else:
                found[mine] = source.vindex[there]
        return found

    def units(self, time: int, window: tuple[slice, slice]) -> list[tuple[str, tuple[slice, slice]]]:
        """Keys of the stored objects under a window, and the part of the window that each holds."""
        found = []
        for half in self.halves:
            spans = self._spans(half, *window)
            if spans is None:
                continue
            (our_rows, our_cols), (rows, cols) = spans
            source = self._sources[half.name]
            height, width = (source.shards or source.chunks)[1:3]
            for i in range(rows.start // height, (rows.stop - 1) // height + 1):
                for j in range(cols.start // width, (cols.stop - 1) // width + 1):
                    zeros = (0,) * len(self._rest)
                    key = f"{source.path}/{source.metadata.encode_chunk_key((time, i, j, *zeros))}"
                    top = max(i * height, rows.start) - rows.start + our_rows.start
                    left = max(j * width, cols.start) - cols.start + our_cols.start
                    bottom = min((i + 1) * height, rows.stop) - rows.start + our_rows.start
                    right = min((j + 1) * width, cols.stop) - cols.start + our_cols.start
                    found.append((key, (slice(top, bottom), slice(left, right))))
        return found


@dataclass(frozen=True)
class _Points:
    read: Callable[[tuple[Any, ...]], NDArray[Any]]

    def __getitem__(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return self.read(key)


class Repository:
    """An open Icechunk repository of embeddings.

    Args:
        location: of the repository, without a snapshot.
        snapshot: to read instead of the newest.
    """

    def __init__(self, location: str, snapshot: str = "") -> None:
        import zarr
        from geotessera.icechunk import open_session

        self.session = open_session(location, snapshot_id=snapshot or None)
        self.location = location
        self.snapshot = str(self.session.snapshot_id)
        self.root: Any = zarr.open_group(self.session.store, mode="r", zarr_format=3, use_consolidated=False)
        self.groups = sorted(name for name in self.root.group_keys() if _GROUP.fullmatch(name))
        self._zones: dict[int, tuple[dict[str, Merged], dict[str, Any]]] = {}

    def zones(self) -> list[int]:
        """UTM zones with at least one hemisphere."""
        return sorted({int(name[:2]) for name in self.groups})

    @cached_property
    def years(self) -> tuple[int, ...]:
        """Years on the time axis of the first group."""
        return _years(self.root[self.groups[0]]["time"]) if self.groups else ()

    def exists(self, key: str) -> bool:
        """Whether the snapshot holds a chunk or shard."""
        from zarr.core.sync import sync

        return bool(sync(self.session.store.exists(key)))

    def zone(self, number: int) -> tuple[dict[str, Merged], dict[str, Any]] | None:
        """Arrays of a zone by name and its attributes, or None where there is neither hemisphere.

        Raises:
            RasterError: its groups do not fit together.
        """
        if number not in self._zones:
            names = [name for name in self.groups if int(name[:2]) == number]
            if not names:
                return None
            try:
                self._zones[number] = self._build(number, names)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise RasterError(
                    f"The groups {' and '.join(names)} of {self.location} are not of the published layout: "
                    f"{error.args[0] if error.args else error}."
                ) from error
        return self._zones[number]

    def _build(self, number: int, names: list[str]) -> tuple[dict[str, Merged], dict[str, Any]]:
        found: list[tuple[Any, str, float, float, int, int, int]] = []
        sides, repaired = set(), []
        for name in names:
            group = self.root[name]
            own: dict[str, Any] = dict(group.attrs)
            west, north, side, shifted = outer_corner(own)
            rows, cols = (int(value) for value in own["spatial:shape"])
            sides.add(side)
            repaired += [name] if shifted else []
            north -= FALSE_NORTHING if name.endswith("S") else 0.0
            centres = north - (np.arange(rows) + 0.5) * side
            kept = np.flatnonzero(centres > 0 if name.endswith("N") else centres < 0)
            if kept.size:
                found.append((group, name, west, north - int(kept[0]) * side, int(kept[0]), int(kept.size), cols))
        if len(sides) != 1 or not found:
            raise ValueError("its hemispheres differ in pixel size" if found else "no row lies in its own hemisphere")
        side = sides.pop()
        west, north = min(one[2] for one in found), max(one[3] for one in found)
        halves = []
        for group, name, left, top, local0, rows, cols in found:
            row0, col0 = (north - top) / side, (left - west) / side
            if abs(row0 - round(row0)) > 1e-6 or abs(col0 - round(col0)) > 1e-6:
                raise ValueError("its hemispheres do not lie on one grid of pixels")
            if _years(group["time"]) != self.years:
                raise ValueError(f"the years of {name} are not those of the other groups")
            told = group.attrs.get("years_complete")
            complete = None if told is None else frozenset(int(year) for year in told)
            runs = group.attrs.get("runs")
            halves.append(
                Half(
                    name,
                    group,
                    round(row0),
                    local0,
                    rows,
                    round(col0),
                    cols,
                    complete,
                    runs if isinstance(runs, Mapping) else {},
                )
            )
        both = tuple(halves)
        height, width = max(half.row0 + half.rows for half in both), max(half.col0 + half.cols for half in both)
        present = set.intersection(*({str(key) for key in half.group.array_keys()} for half in both))
        arrays = {
            name: Merged(name, both, height, width) for name in ("embeddings", "scales", *NAMES) if name in present
        }
        attributes: dict[str, Any] = {
            "proj:code": f"EPSG:{32600 + number}",
            "spatial:transform": [side, 0.0, west, 0.0, -side, north],
            "spatial:shape": [height, width],
            # Unlike in other stores, NaN says that nothing was embedded, not that there is water.
            "geotessera:mask_source": "source_nodata",
            "halves": both,
            "repaired": tuple(repaired),
        }
        return arrays, attributes


def _years(array: Any) -> tuple[int, ...]:
    """Calendar years of a time axis: whole years, or nanoseconds since 1970."""
    values = np.asarray(array[:])
    if str(array.attrs.get("units", "")).startswith("nanoseconds since 1970-01-01"):
        values = values.astype("datetime64[ns]")
    if np.issubdtype(values.dtype, np.datetime64):
        return tuple(int(year) + 1970 for year in values.astype("datetime64[Y]").astype(int))
    if not np.issubdtype(values.dtype, np.integer) or (values > 9999).any():
        raise ValueError(f"its time axis has an unknown unit ({array.attrs.get('units', 'none')})")
    return tuple(int(year) for year in values)


def is_repository(location: str | os.PathLike[str]) -> bool:
    """Whether a location names an Icechunk repository, with or without a snapshot."""
    return unpinned(os.fsdecode(os.fspath(location)))[0].endswith(".icechunk")
