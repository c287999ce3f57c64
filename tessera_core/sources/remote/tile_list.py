"""The publisher's list of tiles: how much of a region has embeddings, and how often it was seen, before a single pixel is read.

Beside an Icechunk repository lies a Parquet file per zone, year and run (``zone=31N/year=2024/RUN.parquet``) with a row for each
tile of land: what was refused and why, and how often its pixels were seen. A file never changes, so what was read once is kept.
Figures that are null were not measured, which is not the same as none. Which years count is said by the repository, not here.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import cache_home
from tessera_core.errors import AcquisitionError
from tessera_core.observations import percent
from tessera_core.region import Region
from tessera_core.sources.remote.hemispheres import unpinned
from tessera_core.sources.remote.resilient import fault
from tessera_core.sources.remote.retry import with_retries
from tessera_core.sources.remote.working_grid import zone_of
from tessera_core.types import BBox, Cancel

_PART = re.compile(r"zone=(\d\d)([NS])/year=(\d{4})/([^/]+)\.parquet$")
_COLUMNS = (
    *("tile", "assembled_at", "embedded", "eligible_px", "chunk_px", "refused_no_optical_px", "refused_thin_px"),
    *("px_with_any_radar", "px_with_any_optical", "median_obs_where_any"),
    *("bbox_west", "bbox_south", "bbox_east", "bbox_north"),
)
# Below this share of a region nobody misses what was refused.
COMPLETE = 0.0005


@dataclass(frozen=True)
class TileRow:
    """What the list says of one tile and year.

    Attributes:
        zone, tile: such as ``"31N"`` and ``"chunk_12_7"``.
        year: of the embeddings.
        box: west, south, east, north in degrees; west > east across the 180th meridian.
        embedded: whether anything of it was made.
        too_few, never_seen: shares of its pixels refused because seen too few times, or not at all; None where not measured.
        radar: share of its pixels that radar saw; None where not measured.
        optical_median: clear days of the pixels seen at all; None where not measured.
        assembled_at: when it was made; of several runs the last counts.
    """

    zone: str
    tile: str
    year: int
    box: BBox
    embedded: bool
    too_few: float | None
    never_seen: float | None
    radar: float | None
    optical_median: float | None
    assembled_at: str


@dataclass(frozen=True)
class YearDepth:
    """What the list says of a region in one year; shares are of the region, 0..1.

    Attributes:
        year: of the embeddings.
        published: whether every zone of the region has declared the year complete; None where no zone was asked.
        land: under tiles of land; the rest is open sea for the most part.
        measured: of that, what was measured.
        too_few, never_seen: without embedding because seen too few times, or not at all; None where nothing was measured.
        radar: of the measured tiles, seen by radar; None where nothing was measured.
        optical_median: middle of the tiles' medians of clear days, by area; None where nothing was measured.
    """

    year: int
    published: bool | None
    land: float
    measured: float
    too_few: float | None
    never_seen: float | None
    radar: float | None
    optical_median: float | None

    @property
    def complete(self) -> bool:
        """Whether it is published, and all that was measured has embeddings."""
        refused = (self.too_few or 0.0) + (self.never_seen or 0.0)
        return self.published is not False and self.land > 0 and self.measured > 0 and refused < COMPLETE

    def to_json(self) -> dict[str, Any]:
        """JSON object of the figures; null stands for not measured."""
        rounded = {
            name: None if (value := getattr(self, name)) is None else round(value, 4)
            for name in ("land", "measured", "too_few", "never_seen", "radar", "optical_median")
        }
        return {"year": self.year, "published": self.published, "complete": self.complete, **rounded}


@dataclass(frozen=True)
class RegionDepth:
    """What the list says of a region, year by year."""

    years: tuple[YearDepth, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON object for the command line."""
        return {"years": [year.to_json() for year in self.years], "sentences": list(self.sentences)}

    @property
    def sentences(self) -> tuple[str, ...]:
        """The figures for people: what is lacking first, then what is complete, then how often the region was seen."""
        told = list(self._lacking())
        if whole := [year.year for year in self.years if year.complete]:
            told.append(f"{spans(whole)} {'is' if len(whole) == 1 else 'are'} complete.")
        told += self._seen()
        return tuple(told)

    def _lacking(self) -> Iterator[str]:
        if gone := [year.year for year in self.years if year.published is False]:
            yield f"{spans(gone)} {'is' if len(gone) == 1 else 'are'} not published here."
        there = [year for year in self.years if year.published is not False]
        if sea := [year.year for year in there if not year.land]:
            yield f"In {spans(sea)} the publisher has no tile of land here."
        if blind := [year.year for year in there if year.land and not year.measured]:
            yield f"How much of {spans(blind)} was seen too rarely was not measured."
        for year in there:
            if not year.land or not year.measured or year.complete:
                continue
            rare, never = percent(year.too_few or 0), percent(year.never_seen or 0)
            if year.too_few and year.never_seen:
                yield (
                    f"{rare} of your region was seen too rarely in {year.year} and {never} was never seen clearly: there is no "
                    "data there."
                )
            elif year.too_few:
                yield f"{rare} of your region was seen too rarely in {year.year}: there is no data there."
            else:
                yield f"{never} of your region was never seen clearly in {year.year}: there is no data there."

    def _seen(self) -> Iterator[str]:
        known = [year for year in self.years if year.published is not False and year.optical_median is not None]
        if not known:
            return
        medians = [year.optical_median for year in known if year.optical_median is not None]
        low, high = min(medians), max(medians)
        times = f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
        yield f"Seen clearly {times} times a year (median)."
        for year in known:
            if year.radar is not None and year.radar < 1 - COMPLETE:
                yield f"{percent(1 - year.radar)} was not seen by radar in {year.year}."


def spans(years: Sequence[int]) -> str:
    """Years for people.

    Example:
        >>> spans([2017, 2019, 2020, 2021])
        '2017 and 2019 to 2021'
    """
    runs: list[list[int]] = []
    for year in sorted(set(years)):
        if runs and year == runs[-1][-1] + 1:
            runs[-1].append(year)
        else:
            runs.append([year])
    said = [
        str(run[0]) if len(run) == 1 else f"{run[0]} {'and' if len(run) == 2 and len(runs) == 1 else 'to'} {run[-1]}"
        for run in runs
    ]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def beside(location: str) -> str:
    """Where the list of a repository lies by the publisher's custom, ``X.registry/parts`` beside ``X.icechunk``; else empty.

    Example:
        >>> beside("s3://bucket/v1.1/dclimate.icechunk")
        's3://bucket/v1.1/dclimate.registry/parts'
    """
    base = unpinned(location)[0]
    if not base.endswith(".icechunk"):
        return ""
    url = base.removesuffix(".icechunk") + ".registry/parts"
    return url if "://" in url or os.path.isdir(url) else ""


class TileList:
    """The list of one repository.

    Args:
        url: ``s3://`` address or path of the folder with its parts.
        timeout_s: longest wait for an answer.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self.url = str(url).rstrip("/")
        self.timeout_s = timeout_s
        self._kept = cache_home() / "tile-lists" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def rows(
        self, region: Region, years: Iterable[int] | None = None, *, attempts: int = 3, cancelled: Cancel | None = None
    ) -> list[TileRow]:
        """The tiles whose box meets the region's, of several runs the last.

        Raises:
            AcquisitionError: the list cannot be reached, and nothing of it is kept.
            Cancelled: ``cancelled`` returned true.
        """
        wanted = None if years is None else set(years)
        found: dict[tuple[str, int, str], TileRow] = {}
        for zone in _zones(region.bbox):
            for path in self._parts(zone, attempts, cancelled):
                match = _PART.search(path)
                if match is None or (wanted is not None and int(match[3]) not in wanted):
                    continue
                for row in _read(self._file(path, attempts, cancelled), zone, int(match[3]), region.bbox):
                    key = (row.zone, row.year, row.tile)
                    if key not in found or found[key].assembled_at < row.assembled_at:
                        found[key] = row
        return [found[key] for key in sorted(found)]

    def _store(self) -> Any:
        from datetime import timedelta

        from geotessera.icechunk import ANONYMOUS_BUCKETS
        from obstore.store import LocalStore, S3Store

        if "://" not in self.url:
            return LocalStore(self.url)
        parsed = urlparse(self.url)
        region = ANONYMOUS_BUCKETS.get(parsed.netloc)
        return S3Store(
            parsed.netloc,
            prefix=parsed.path.strip("/"),
            skip_signature=region is not None,
            config={"region": region} if region else {},
            client_options={"timeout": timedelta(seconds=self.timeout_s)},
            retry_config={"max_retries": 0},
        )

    def _parts(self, zone: str, attempts: int, cancelled: Cancel | None) -> list[str]:
        """Paths of the parts of a zone; without a network, those that are kept."""
        import obstore

        def listed() -> list[str]:
            try:
                return [meta["path"] for batch in obstore.list(self._store(), prefix=f"zone={zone}") for meta in batch]
            except Exception as error:
                raise fault(error) from error

        if "://" not in self.url and not os.path.isdir(self.url):
            raise AcquisitionError(f"There is no list of tiles at {self.url}; check the path.")
        try:
            return sorted(path for path in with_retries(listed, self.url, attempts, cancelled) if _PART.search(path))
        except AcquisitionError:
            kept = sorted(
                path.relative_to(self._kept).as_posix() for path in self._kept.glob(f"zone={zone}/*/*.parquet")
            )
            if not kept:
                raise
            return kept

    def _file(self, path: str, attempts: int, cancelled: Cancel | None) -> Path:
        """A part on this computer; fetched once, because parts never change."""
        import obstore

        kept = self._kept / path
        if kept.is_file():
            return kept

        def fetched() -> bytes:
            try:
                return bytes(obstore.get(self._store(), path).bytes())
            except Exception as error:
                raise fault(error) from error

        data = with_retries(fetched, self.url, attempts, cancelled)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(kept) as part:
            part.write_bytes(data)
        return kept


def region_depth(
    region: Region, rows: Sequence[TileRow], complete: Mapping[str, frozenset[int] | None], years: Iterable[int]
) -> RegionDepth:
    """What the list says of a region.

    Args:
        region: where.
        rows: of :meth:`TileList.rows`.
        complete: by zone such as ``"31N"``, the years that its group declares complete, which decide; None where it declares
            nothing.
        years: which.
    """
    zones = {zone: part for zone in _zones(region.bbox) if (part := _share(region, zone)) > 0}
    found = []
    for year in sorted(set(years)):
        known = [complete[zone] for zone in zones if zone in complete]
        published = all(told is None or year in told for told in known) if known else None
        mine = [
            (row, weight)
            for row in rows
            if row.year == year and (weight := _share(region, row.zone, row.box)) > 0 and published is not False
        ]
        measured = [(row, weight) for row, weight in mine if row.too_few is not None and row.never_seen is not None]
        weights = np.array([weight for _, weight in measured])

        def mean(name: str, parts: Sequence[tuple[TileRow, float]] = measured) -> float | None:
            having = [(getattr(row, name), weight) for row, weight in parts if getattr(row, name) is not None]
            return None if not having else sum(value * weight for value, weight in having)

        radar, had = mean("radar"), sum(weight for row, weight in measured if row.radar is not None)
        found.append(
            YearDepth(
                year,
                published,
                min(1.0, sum(weight for _, weight in mine)),
                min(1.0, float(weights.sum())),
                mean("too_few"),
                mean("never_seen"),
                None if radar is None or not had else radar / had,
                _median([(row.optical_median, w) for row, w in measured if row.optical_median is not None]),
            )
        )
    return RegionDepth(tuple(found))


def _median(values: Sequence[tuple[float, float]]) -> float | None:
    """The value below which half of the weight lies."""
    if not values:
        return None
    ordered = sorted(values)
    total = list(itertools.accumulate(weight for _, weight in ordered))
    return float(ordered[int(np.searchsorted(total, total[-1] / 2))][0])


def _zones(box: BBox) -> list[str]:
    """Groups whose own six degrees and hemisphere meet a box."""
    west, south, east, north = box
    halves = [half for half, meets in (("N", north > 0), ("S", south < 0)) if meets]
    return [f"{number:02d}{half}" for number in range(zone_of(west), zone_of(east) + 1) for half in halves]


def _share(region: Region, zone: str, box: BBox | None = None) -> float:
    """Which share of a region lies in a zone's own six degrees and hemisphere, and in a tile's box."""
    import shapely

    west = (int(zone[:2]) - 31) * 6
    part = shapely.box(west, 0 if zone[2] == "N" else -90, west + 6, 90 if zone[2] == "N" else 0)
    if box is not None:
        left, south, right, north = box
        pieces = [(left, right)] if left <= right else [(left, 180.0), (-180.0, right)]
        part = part.intersection(shapely.union_all([shapely.box(a, south, b, north) for a, b in pieces]))
    return float(region.geometry.intersection(part).area / region.geometry.area)


def _read(path: Path, zone: str, year: int, box: BBox) -> Iterator[TileRow]:
    """The rows of one part whose box meets another."""
    import pyarrow.parquet as pq

    try:
        # Not by its path, which pyarrow would take for two columns more.
        with pq.ParquetFile(path) as file:
            names = set(file.schema_arrow.names)
            table = file.read(columns=[name for name in _COLUMNS if name in names])
    except (OSError, ValueError) as error:
        path.unlink(missing_ok=True)
        raise AcquisitionError(
            f"The publisher's list of tiles of {zone}, {year}, came damaged; it is fetched anew next time."
        ) from error
    columns: dict[str, NDArray[Any]] = {name: table[name].to_numpy() for name in table.column_names}
    missing = [name for name in ("tile", "bbox_west", "bbox_south", "bbox_east", "bbox_north") if name not in columns]
    if missing:
        raise AcquisitionError(f"The publisher's list of tiles of {zone}, {year}, has no column {missing[0]}.")
    west, south, east, north = box
    w, s, e, n = (columns[f"bbox_{side}"] for side in ("west", "south", "east", "north"))
    meets = np.where(w > e, (w <= east) | (e >= west), (w <= east) & (e >= west)) & (s <= north) & (n >= south)

    def value(name: str, index: int) -> float | None:
        if name not in columns or columns[name][index] is None or np.isnan(columns[name][index]):
            return None
        return float(columns[name][index])

    for index in np.flatnonzero(meets).tolist():
        pixels = value("eligible_px", index) or value("chunk_px", index)

        def share(name: str, index: int = index, pixels: float | None = pixels) -> float | None:
            count = value(name, index)
            return None if count is None or not pixels else min(1.0, count / pixels)

        yield TileRow(
            zone,
            str(columns["tile"][index]),
            year,
            (float(w[index]), float(s[index]), float(e[index]), float(n[index])),
            bool(columns["embedded"][index]) if "embedded" in columns else True,
            share("refused_thin_px"),
            share("refused_no_optical_px"),
            share("px_with_any_radar"),
            value("median_obs_where_any", index),
            str(columns["assembled_at"][index]) if "assembled_at" in columns else "",
        )
