"""Embeddings at many points: a table of places in, the same table with an embedding in each row out.

Points are grouped by UTM zone and neighbourhood, so that a piece of the store is read once for all points in it. Knows no rasters.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core.atomic import atomic_path
from tessera_core.csvcells import quoted_row, unquoted
from tessera_core.errors import AcquisitionError, Cancelled, InputError
from tessera_core.raster import NoData
from tessera_core.sources.fetch import ATTEMPTS, WORKERS, Progress, patiently
from tessera_core.sources.store import Store

BATCH = 2000
WRITTEN = 20_000
LON = ("lon", "lng", "long", "longitude", "decimallongitude", "x")
LAT = ("lat", "latitude", "decimallatitude", "y")


@dataclass(frozen=True)
class Table:
    """A table of places.

    Attributes:
        columns: names, as they came.
        rows: cells.
        lon, lat: float64 (N,), NaN where a cell is no number or no place on Earth.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]


def read_points(path: str | Path) -> Table:
    """Read a CSV with columns of longitude and latitude in degrees; comma, semicolon or tab.

    Raises:
        InputError: the file is missing, has no such columns or no row, or longitude and latitude are swapped.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not a text file in UTF-8; save it as CSV UTF-8.") from error
    first = text.split("\n", 1)[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count))
    header = tuple(unquoted(name.strip()) for name in next(reader, []))
    names = {re.sub(r"[^a-z]", "", name.casefold()): index for index, name in reversed(list(enumerate(header)))}
    lon_at = next((names[name] for name in LON if name in names), None)
    lat_at = next((names[name] for name in LAT if name in names), None)
    if lon_at is None or lat_at is None:
        raise InputError(
            f"{path.name} needs columns named lon and lat, in degrees; its columns are {', '.join(header[:12]) or 'none'}."
        )
    rows = tuple(
        tuple(map(unquoted, (row + [""] * len(header))[: len(header)]))
        for row in reader
        if any(cell.strip() for cell in row)
    )
    if not rows:
        raise InputError(f"{path.name} has a header but no points.")
    lon, lat = (np.array([_number(row[at]) for row in rows]) for at in (lon_at, lat_at))
    wrong = (np.abs(lat) > 90) & (np.abs(lon) <= 90)
    if wrong.any() and wrong.mean() > 0.2:
        raise InputError(
            f"Longitude and latitude seem to be swapped in {path.name}: {int(wrong.sum())} of {len(rows)} latitudes lie "
            "beyond 90 degrees. Exchange the two columns' names."
        )
    bad = ~((np.abs(lon) <= 180) & (np.abs(lat) <= 90))
    return Table(header, rows, np.where(bad, np.nan, lon), np.where(bad, np.nan, lat))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def sample_points(
    store: Store,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    year: int,
    dim: int,
    *,
    attempts: int = ATTEMPTS,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[str]]:
    """Vectors at places, in batches of neighbours.

    Returns:
        float32 (N, dim), NaN without data; uint8 (N,) reasons (``NoData``); sentences about batches that could not be read.

    Raises:
        InputError: the store has no such year.
        AcquisitionError: nothing could be read at all.
        Cancelled: ``cancelled`` returned true.
    """
    years = patiently(lambda: store.years, store.location, attempts, cancelled)
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

    def one(index: NDArray[np.intp]) -> int:
        try:
            values[index], reasons[index] = patiently(
                lambda: store.sample(lon[index], lat[index], year, dim), store.location, attempts, cancelled
            )
        except AcquisitionError as error:
            reasons[index] = NoData.MISSING_TILE
            problems.append(f"{year}: {len(index)} points near {lon[index[0]]:.3f}, {lat[index[0]]:.3f}: {error}")
        return len(index)

    done = 0
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="points") as pool:
        queue = {pool.submit(one, batch) for batch in batches}
        try:
            while queue:
                finished, queue = wait(queue, timeout=0.1, return_when=FIRST_COMPLETED)
                done += sum(future.result() for future in finished)
                if progress is not None:
                    progress(done, max(len(order), 1), f"{year}: points")
                if cancelled is not None and cancelled():
                    raise Cancelled()
        except BaseException:
            for future in queue:
                future.cancel()
            raise
    if problems and len(problems) == len(batches):
        raise AcquisitionError(problems[0].split(": ", 2)[-1])
    return values, reasons, problems


def write_points(
    path: str | Path, table: Table, samples: Sequence[tuple[int, NDArray[np.float32], NDArray[np.uint8]]]
) -> Path:
    """Write a table with embeddings, as Parquet where the name ends so, else as CSV; one row for each point and year.

    Added columns: ``year``, ``nodata`` (empty, or why there is no embedding) and ``emb_0`` ...

    Raises:
        ExportError: the file cannot be written.
    """
    path = Path(path)
    dim = samples[0][1].shape[1]
    added = ["year", "nodata", *(f"emb_{n}" for n in range(dim))]
    with atomic_path(path) as part:
        if path.suffix.lower() in (".parquet", ".pq"):
            _write_parquet(part, table, samples, added)
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, lineterminator=os.linesep)
                writer.writerow(quoted_row([*_free(table.columns, added), *added]))
                for start, stop, year, values, reasons in _parts(table, samples):
                    for row, vector, reason in zip(table.rows[start:stop], values, reasons, strict=True):
                        numbers = [""] * dim if reason else [repr(float(v)) for v in vector.astype(np.float64).round(7)]
                        writer.writerow([*quoted_row(row), year, _word(reason), *numbers])
    return path


def _write_parquet(
    path: Path,
    table: Table,
    samples: Sequence[tuple[int, NDArray[np.float32], NDArray[np.uint8]]],
    added: Sequence[str],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    own = _free(table.columns, added)
    kinds = [(name, pa.string()) for name in own] + [("year", pa.int32()), ("nodata", pa.string())]
    schema = pa.schema(kinds + [(name, pa.float32()) for name in added[2:]])
    with pq.ParquetWriter(path, schema) as writer:
        for start, stop, year, values, reasons in _parts(table, samples):
            rows = table.rows[start:stop]
            columns = [pa.array([row[n] for row in rows], pa.string()) for n in range(len(own))]
            columns += [pa.array([year] * len(rows), pa.int32()), pa.array([_word(r) for r in reasons], pa.string())]
            columns += [pa.array(np.ascontiguousarray(column)) for column in values.T]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _parts(
    table: Table, samples: Sequence[tuple[int, NDArray[np.float32], NDArray[np.uint8]]]
) -> Iterator[tuple[int, int, int, NDArray[np.float32], NDArray[np.uint8]]]:
    for year, values, reasons in samples:
        for start in range(0, len(table.rows), WRITTEN):
            stop = min(start + WRITTEN, len(table.rows))
            yield start, stop, year, values[start:stop], reasons[start:stop]


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
