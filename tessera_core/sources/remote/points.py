"""Embeddings at many points: a table of places in, the same table with an embedding in each row out.

Points are grouped by UTM zone and neighbourhood, so that a piece of the store is read once for all points in it. Knows no rasters.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.csvcells import quoted_row
from tessera_core.errors import AcquisitionError, InputError
from tessera_core.grid import transformer
from tessera_core.labels.features import NO_HINTS, Hints
from tessera_core.labels.importing import report_of
from tessera_core.labels.report import ImportReport
from tessera_core.labels.tables import places_of, read_sheet
from tessera_core.observations import Observations
from tessera_core.raster import NoData
from tessera_core.sources.remote.fetch import WORKERS
from tessera_core.sources.remote.in_threads import in_threads
from tessera_core.sources.remote.retry import ATTEMPTS, with_retries
from tessera_core.sources.remote.zarr_store import Store
from tessera_core.types import Cancel, Progress

BATCH = 2000
COUNTED = ("s2_obs_count", "s1_asc_obs_count", "s1_desc_obs_count", "s2_months")
WRITTEN = 20_000


@dataclass(frozen=True)
class Table:
    """A table of places.

    Attributes:
        columns: names, as they came.
        rows: cells.
        lon, lat: float64 (N,), NaN where a cell is no number or no place on Earth.
        report: how the table was read, and which rows have no place.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    report: ImportReport


def read_points(path: str | Path, crs: str | None = None, hints: Hints = NO_HINTS) -> Table:
    """Read a table of places as label tables are read, see :func:`tessera_core.labels.tables.read_csv`.

    Args:
        path: the table.
        crs: coordinate system of its coordinates, where it does not say it and they are no degrees.
        hints: columns of longitude and latitude (or x and y), and the encoding, where guessing is unsafe.

    Raises:
        InputError: the file is missing, has no such columns or no row, none of its rows has a place on Earth, longitude and
            latitude are swapped, or coordinates are no degrees and their system is not known.
    """
    import shapely

    path = Path(path)
    sheet = read_sheet(path, hints)
    places = places_of(sheet, hints)
    if not sheet.rows:
        raise InputError(f"{path.name} has a header but no points.")
    geometries = np.empty(len(places.geometries), object)
    geometries[:] = places.geometries
    # The place of an area is its middle; that of a cell without a geometry is not a number.
    middles = shapely.centroid(geometries)
    lon, lat = shapely.get_x(middles), shapely.get_y(middles)
    report = report_of(sheet.read)
    report.read += len(sheet.rows)
    report.crs, report.crs_from = crs or places.crs or "EPSG:4326", "the person who read it" if crs else places.crs_from
    known = np.isfinite(lon)
    if places.pixels:
        raise InputError(
            f"{path.name} has rows and columns of pixels; points need columns named lon and lat, in degrees."
        )
    if report.crs != "EPSG:4326":
        lon, lat = in_degrees(lon, lat, report.crs, path.name)
    elif crs is None and places.crs is None:
        report.crs_from = "guessed"
        if known.any() and not np.mean((np.abs(lon[known]) <= 360) & (np.abs(lat[known]) <= 180)) > 0.5:
            raise InputError(
                f"The coordinates of {path.name} are too large for degrees, and it does not say in which system they are; say "
                "it, such as EPSG:32631."
            )
    wrong = (np.abs(lat) > 90) & (np.abs(lon) <= 90)
    if wrong.any() and wrong.mean() > 0.2:
        raise InputError(
            f"Longitude and latitude seem to be swapped in {path.name}: {int(wrong.sum())} of {len(sheet.rows)} latitudes lie "
            "beyond 90 degrees. Exchange the two columns' names."
        )
    bad = ~((np.abs(lon) <= 180) & (np.abs(lat) <= 90))
    for line, reason, off in zip(sheet.lines, places.reasons, bad.tolist(), strict=True):
        if reason or off:
            report.leave_out(reason or "no place on Earth", f"line {line}")
    report.used = report.labels = int((~bad).sum())
    if not report.used:
        raise InputError(f"Not one point of {path.name} can be used: {'; '.join(report.skipped)}.")
    rows = tuple(tuple(row) for row in sheet.rows)
    return Table(sheet.header, rows, np.where(bad, np.nan, lon), np.where(bad, np.nan, lat), report)


def in_degrees(
    x: NDArray[np.float64], y: NDArray[np.float64], crs: str, name: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of places in a coordinate system; NaN where it cannot hold them.

    Raises:
        InputError: the system is not known.
    """
    from pyproj.exceptions import CRSError

    try:
        lon, lat = transformer(crs, "EPSG:4326").transform(x, y)
    except CRSError as error:
        raise InputError(f"The coordinate system {crs[:60]!r} of {name} is not known.") from error
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    lost = ~(np.isfinite(lon) & np.isfinite(lat))
    return np.where(lost, np.nan, lon), np.where(lost, np.nan, lat)


def sample_points(
    store: Store,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    year: int,
    dim: int,
    *,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[str]]:
    """Vectors at places, in batches of neighbours.

    Returns:
        float32 (N, dim), NaN without data; uint8 (N,) reasons (``NoData``); sentences about batches that could not be read.

    Raises:
        InputError: the store has no such year.
        AcquisitionError: nothing could be read at all.
        Cancelled: ``cancelled`` returned true.
    """
    years = with_retries(lambda: store.years, store.location, attempts, cancelled)
    if year not in years:
        raise InputError(f"{store.name} has no {year}; it has {', '.join(map(str, years)) or 'no year at all'}.")
    values = np.full((len(lon), dim), np.nan, np.float32)
    reasons = np.full(len(lon), NoData.OUTSIDE, np.uint8)
    placed = np.isfinite(lon) & np.isfinite(lat)
    cell_lon, cell_lat = np.floor(np.where(placed, lon, 0) * 20), np.floor(np.where(placed, lat, 0) * 20)
    zone = np.floor(np.where(placed, lon, 0) / 6)
    order = np.lexsort((cell_lon, cell_lat, zone))
    order = order[placed[order]]
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    problems: list[str] = []

    def one(index: NDArray[np.intp]) -> None:
        try:
            values[index], reasons[index] = with_retries(
                lambda: store.sample(lon[index], lat[index], year, dim), store.location, attempts, cancelled
            )
        except AcquisitionError as error:
            reasons[index] = NoData.MISSING_TILE
            problems.append(f"{year}: {len(index)} points near {lon[index[0]]:.3f}, {lat[index[0]]:.3f}: {error}")

    in_threads(one, batches, WORKERS, lambda _: None, f"{year}: points", progress, cancelled)
    if problems and len(problems) == len(batches):
        raise AcquisitionError(problems[0].split(": ", 2)[-1])
    return values, reasons, problems


def count_points(
    store: Store,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    year: int,
    *,
    attempts: int = ATTEMPTS,
    cancelled: Cancel | None = None,
) -> NDArray[np.uint16] | None:
    """How often satellites saw places: uint16 (N, 6) (:mod:`tessera_core.observations`); None where the store does not count.

    Raises:
        AcquisitionError: the store cannot be read.
        Cancelled: ``cancelled`` returned true.
    """
    return with_retries(lambda: store.observations_at(lon, lat, year), store.location, attempts, cancelled)


def write_points(
    path: str | Path,
    table: Table,
    samples: Sequence[tuple[int, NDArray[np.float32], NDArray[np.uint8]]],
    counts: Sequence[NDArray[np.uint16] | None] = (),
) -> Path:
    """Write a table with embeddings, as Parquet where the name ends so, else as CSV; one row for each point and year.

    Added columns: ``year``, ``nodata`` (empty, or why there is no embedding), with ``counts`` (N, 6) for each year how often the
    place was seen (``s2_obs_count``, ``s1_asc_obs_count``, ``s1_desc_obs_count``, ``s2_months``), and ``emb_0`` ...

    Raises:
        ExportError: the file cannot be written.
    """
    path = Path(path)
    dim = samples[0][1].shape[1]
    seen = [Observations(one) for one in counts if one is not None]
    seen = seen if len(seen) == len(samples) else []
    columns = [np.column_stack([one.array[:, :3], one.optical_months]).astype(np.int32) for one in seen]
    added = ["year", "nodata", *(COUNTED if columns else ()), *(f"emb_{n}" for n in range(dim))]
    with atomic_path(path) as part:
        if path.suffix.lower() in (".parquet", ".pq"):
            _write_parquet(part, table, samples, columns, added)
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator=os.linesep)
                writer.writerow(quoted_row([*_free(table.columns, added), *added]))
                for start, stop, year, values, reasons, counted in _parts(table, samples, columns):
                    for row, vector, reason, times in zip(
                        table.rows[start:stop], values, reasons, counted, strict=True
                    ):
                        numbers = [""] * dim if reason else [repr(float(v)) for v in vector.astype(np.float64).round(7)]
                        writer.writerow([*quoted_row(row), year, _word(reason), *times, *numbers])
    return path


def _write_parquet(
    path: Path,
    table: Table,
    samples: Sequence[tuple[int, NDArray[np.float32], NDArray[np.uint8]]],
    counted: Sequence[NDArray[np.int32]],
    added: Sequence[str],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = _free(table.columns, added)
    kinds = [(name, pa.string()) for name in own] + [("year", pa.int32()), ("nodata", pa.string())]
    kinds += [(name, pa.int32()) for name in (COUNTED if counted else ())]
    schema = pa.schema(kinds + [(name, pa.float32()) for name in added if name.startswith("emb_")])
    with pq.ParquetWriter(path, schema) as writer:
        for start, stop, year, values, reasons, times in _parts(table, samples, counted):
            rows = table.rows[start:stop]
            columns = [pa.array([row[n] for row in rows], pa.string()) for n in range(len(own))]
            columns += [pa.array([year] * len(rows), pa.int32()), pa.array([_word(r) for r in reasons], pa.string())]
            columns += [pa.array(np.ascontiguousarray(column)) for column in (*times.T, *values.T)]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _parts(
    table: Table,
    samples: Sequence[tuple[int, NDArray[np.float32], NDArray[np.uint8]]],
    counted: Sequence[NDArray[np.int32]],
) -> Iterator[tuple[int, int, int, NDArray[np.float32], NDArray[np.uint8], NDArray[np.int32]]]:
    none = np.empty((len(table.rows), 0), np.int32)
    for n, (year, values, reasons) in enumerate(samples):
        times = counted[n] if counted else none
        for start in range(0, len(table.rows), WRITTEN):
            stop = min(start + WRITTEN, len(table.rows))
            yield start, stop, year, values[start:stop], reasons[start:stop], times[start:stop]


def _free(columns: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The table's own names, those that would collide with ours marked."""
    free: list[str] = []
    for name in columns:
        while name in taken or name in free:
            name += "_"
        free.append(name)
    return free


def _word(reason: int) -> str:
    return "" if reason == NoData.VALID else NoData(reason).name.lower().replace("_", " ")
