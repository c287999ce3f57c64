"""Labelled time series of real pixels, as people have them: arrays in .npz files, tiles with labels, tables of Earth Engine.

Each becomes a :class:`RealPlace`: a d-pixel tile (of one column where pixels lie apart), the class of each pixel, and what of the
ground is held out as one. Refuses to know encoders and scores.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from tessera_core.assess.reference import Reference, read_reference
from tessera_core.dpixels.tile import S1_POLARISATIONS, S2_BANDS, DPixelTile, find_tiles
from tessera_core.errors import InputError, LabelError, TileError
from tessera_core.gate import is_missing, open_archive, open_raster
from tessera_core.grid import Grid
from tessera_core.labels.colors import color_for
from tessera_core.labels.model import LabelClass
from tessera_core.labels.tables import Places, Sheet, places_of, read_sheet
from tessera_core.pretrain.halves import OUTLINES, taught_blocks, taught_ground
from tessera_core.types import Floats

# Ground that is held out as one where pixels lie apart, in parts of a degree.
CELLS_PER_DEGREE = 10
# SCL classes that are no ground: nothing, saturated, dark, shadow, cloud (docs/spec/model.md section 4).
_CLOUDED = (0, 1, 2, 3, 8, 9)
_NPZ = ("s2", "mask", "doy", "bands", "label", "lonlat")
_LABEL_FILES = ("labels*.tif", "labels*.tiff", "labels*.gpkg", "labels*.geojson")
_LABEL_COLUMNS = ("label", "class", "crop", "crop_type", "croptype", "landcover", "land_cover", "lc", "cdl", "cropland")
_DATE_COLUMNS = ("date", "system:time_start", "time", "datetime", "acquisition_date")
_ID_COLUMNS = ("id", "pixel", "pixel_id", "point", "point_id", "sample_id", "fid")
_DATE = re.compile(r"(?<!\d)((?:19|20)\d{2})[-_]?(0[1-9]|1[0-2])[-_]?([0-2]\d|3[01])(?!\d)")
_BAND = re.compile(r"(?:^|_)(B0?[2-8]|B8A|B11|B12|SCL|VV|VH)(?=$|_)", re.IGNORECASE)


@dataclass(frozen=True)
class RealPlace:
    """N labelled pixels of one place and year.

    Attributes:
        name: for people, and of its results.
        tile: their time series; pixels that lie apart are a tile of one column.
        reference: pixels and classes; its groups are what is held out as one (fields, or cells of ground).
        xy: float64 (N, 2), where they lie: degrees, or metres east and north; only their order is used.
        whole: what a group is, for people: ``"fields"`` or ``"cells of 0.1 degree"``.
        vectors: embeddings float32 (N, D) of others that the file brings, by name.
        outlines: class raster of the tile's fields by which training dealt its ground; need not exist. None of pixels apart.
    """

    name: str
    tile: DPixelTile
    reference: Reference
    xy: NDArray[np.float64]
    whole: str
    vectors: Mapping[str, Floats] = field(default_factory=dict)
    outlines: Path | None = None

    def __len__(self) -> int:
        return len(self.reference.y)

    @property
    def digest(self) -> str:
        """Names the content, so that results of other pixels are not taken for results of these."""
        told = hashlib.sha256()
        reference = self.reference
        for part in (reference.rows, reference.cols, reference.y, reference.groups, self.xy):
            told.update(np.ascontiguousarray(part).tobytes())
        few = slice(None, None, max(1, len(self) // 500))
        told.update(np.ascontiguousarray(self.tile.bands[:, reference.rows[few], reference.cols[few]]).tobytes())
        told.update(np.ascontiguousarray(self.tile.masks[:, reference.rows[few], reference.cols[few]]).tobytes())
        return told.hexdigest()[:16]

    @property
    def lonlat(self) -> NDArray[np.float64] | None:
        """Longitude and latitude (N, 2) of pixels that lie apart; None of a tile, whose grid says it."""
        return self.xy if self.whole != "fields" and self.tile.grid.crs is None else None

    def only(self, wanted: Sequence[str]) -> RealPlace:
        """The pixels of some classes, by name or code.

        Raises:
            LabelError: a class is not among them.
        """
        names = {c.id for c in self.reference.only(wanted).classes}
        return self._kept(np.isin(self.reference.y, list(names)), self.reference.only(wanted).classes)

    def with_fields_for(self, least: int) -> RealPlace:
        """Without the classes that lie in fewer than ``least`` groups: some must teach and some be tested."""
        y, groups = self.reference.y, self.reference.groups
        ids = [k for k in np.unique(y) if len(np.unique(groups[y == k])) >= least]
        return self._kept(np.isin(y, ids), [c for c in self.reference.classes if c.id in ids])

    def at_most(self, count: int, seed: int = 0) -> RealPlace:
        """So many pixels at most, drawn evenly over groups: one of every group before any gives a second."""
        if len(self) <= count:
            return self
        groups = self.reference.groups
        order = np.random.default_rng((seed, 4)).permutation(len(self))
        order = order[np.argsort(groups[order], kind="stable")]
        turn = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
        keep = np.zeros(len(self), bool)
        keep[order[np.argsort(turn, kind="stable")][:count]] = True
        return self._kept(keep, list(self.reference.classes))

    def _kept(self, keep: NDArray[np.bool_], classes: list[LabelClass]) -> RealPlace:
        old = self.reference
        rows, cols, y, groups = (one[keep] for one in (old.rows, old.cols, old.y, old.groups))
        reference = replace(old, rows=rows, cols=cols, y=y, groups=groups, classes=classes)
        vectors = {name: values[keep] for name, values in self.vectors.items()}
        return replace(self, reference=reference, xy=self.xy[keep], vectors=vectors)


def unseen_half(place: RealPlace) -> RealPlace:
    """The pixels on ground that no training of ours read: see :mod:`tessera_core.pretrain.halves`.

    Raises:
        LabelError: a tile has no outlines by which its ground was dealt, or the places of pixels are no degrees.
    """
    where, labels = place.lonlat, place.reference
    if where is not None:
        if (np.abs(where) > (360, 90)).any():
            raise LabelError(
                f"{place.name}: places must be degrees of longitude and latitude to tell ground not trained on."
            )
        return place._kept(~taught_blocks(where), list(labels.classes))
    if place.outlines is None or not place.outlines.is_file():
        raise LabelError(
            f"{place.name} has no {OUTLINES}, by which training deals a tile's ground: all of such a tile is taught. Leave it out, "
            "or judge without --unseen-half."
        )
    with open_raster(place.outlines, error=LabelError, whole=True) as file:
        codes = file.read(1)
    if codes.shape != place.tile.bands.shape[1:3]:
        raise LabelError(f"{place.outlines} is not as large as its tile; its fields cannot be told.")
    # Whatever the labels judged by: what training dealt were these fields.
    return place._kept(~taught_ground(codes)[labels.rows, labels.cols], list(labels.classes))


def read_places(
    paths: Iterable[str | Path], labels: str | Path | None = None, field: str | None = None
) -> list[RealPlace]:
    """Every labelled place in files and folders.

    Args:
        paths: .npz and .csv files, d-pixel tiles, or folders that hold such things.
        labels: label file or class raster of the one tile; None for the files ``labels*`` in each tile's folder.
        field: column of the class in tables; None to find it.

    Raises:
        InputError: there is none, or one cannot be read.

    Example:
        >>> import tempfile
        >>> read_places([tempfile.mkdtemp()])
        Traceback (most recent call last):
        ...
        tessera_core.errors.InputError: ... holds no labelled time series: no .npz or .csv file and no d-pixel tile with labels.
    """
    found: list[RealPlace] = []
    for one in paths:
        path = Path(one)
        if is_missing(path):
            raise InputError(f"{path} does not exist; check the spelling.")
        if path.is_dir():
            found += _of_folder(path, labels, field)
        elif path.suffix.lower() == ".npz":
            found.append(read_npz(path))
        elif path.suffix.lower() == ".csv":
            found.append(read_series_table(path, field))
        else:
            raise InputError(f"{path.name} is no time series of pixels; give .npz or .csv files, or d-pixel tiles.")
    return found


def _of_folder(folder: Path, labels: str | Path | None, field: str | None) -> list[RealPlace]:
    found = [read_npz(path) for path in sorted(folder.glob("*.npz"))]
    # Beside data lie legends and lists, which are tables too.
    tables = [path for path in sorted(folder.glob("*.csv")) if _has_dates(read_sheet(path))]
    found += [read_series_table(path, field) for path in tables]
    if found:
        return found
    try:
        tiles = find_tiles(folder)
    except TileError:
        tiles = []
    for place in tiles:
        sets = [Path(labels)] if labels is not None else _label_files(place)
        for one in sets:
            name = _name_of_tile(place) + (f", {one.stem}" if len(sets) > 1 else "")
            found.append(labelled_tile_place(place, one, name))
    if not found:
        raise InputError(
            f"{folder} holds no labelled time series: no .npz or .csv file and no d-pixel tile with labels."
        )
    return found


def _name_of_tile(folder: Path) -> str:
    """A folder named ``dpixel`` says nothing; the one above it may."""
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name.startswith("dpixel") else resolved.name


def _label_files(folder: Path) -> list[Path]:
    """The label files of a tile: of each name, one."""
    found: dict[str, Path] = {}
    for pattern in _LABEL_FILES:
        for path in sorted(folder.glob(pattern)):
            found.setdefault(path.stem, path)
    return list(found.values())


def labelled_tile_place(folder: str | Path, labels: str | Path, name: str = "") -> RealPlace:
    """A d-pixel tile with a label file or class raster; whole fields (connected patches) are its groups.

    Raises:
        TileError: the tile cannot be read.
        LabelError: the labels cannot be read, or none lies on it.
    """
    tile = DPixelTile.open(folder)
    reference = read_reference(labels, tile.grid)
    x, y = tile.grid.pixel_to_xy(reference.rows + 0.5, reference.cols + 0.5)
    xy = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=1)
    return RealPlace(name or tile.name, tile, reference, xy, "fields", outlines=Path(folder) / OUTLINES)


def read_npz(path: str | Path) -> RealPlace:
    """Arrays of pixels in one .npz file; no pickle is read.

    ``s2`` (N, T, 10) reflectance x 10000 with 0 where missing, ``mask`` bool (N, T) True where usable, ``doy`` (T,), ``bands``
    (10,) the order of the bands, ``label`` (N,) whole numbers from 0 (-1: none), ``lonlat`` (N, 2) in degrees; where there,
    ``class_names`` (K,), and ``s1_asc``, ``s1_desc`` (N, T', 2) as tiles store them with ``doy_asc``, ``doy_desc`` (T',). Every
    other float array (N, D) is taken for embeddings of somebody's.

    Raises:
        TileError: it is no such file.
    """
    path = Path(path)
    arrays = _arrays(path)
    lacking = [name for name in _NPZ if name not in arrays]
    if lacking:
        raise TileError(f"{path.name} has no array {', '.join(lacking)}; it needs {', '.join(_NPZ)}.")
    s2, mask, label, lonlat = arrays["s2"], arrays["mask"].astype(bool), arrays["label"], arrays["lonlat"]
    names = [_band(str(one)) for one in arrays["bands"].tolist()]
    if s2.ndim != 3 or sorted(names) != sorted(S2_BANDS) or s2.shape[2] != len(names):
        raise TileError(f"{path.name}: s2 has the shape {s2.shape}; it must be (pixels, dates, the ten bands).")
    n, dates = s2.shape[:2]
    shapes = (("mask", (n, dates)), ("doy", (dates,)), ("label", (n,)), ("lonlat", (n, 2)))
    for name, shape in shapes:
        if arrays[name].shape != shape:
            raise TileError(f"{path.name}: {name} has the shape {arrays[name].shape}; with this s2 it must be {shape}.")
    titles = [str(one) for one in arrays.get("class_names", np.zeros(0, str)).tolist()]
    radar = []
    for orbit in ("asc", "desc"):
        values, days = arrays.get(f"s1_{orbit}"), arrays.get(f"doy_{orbit}")
        if values is None or days is None:
            values, days = np.zeros((n, 0, 2), np.int16), np.zeros(0, np.int16)
        if values.shape != (n, len(days), 2):
            raise TileError(f"{path.name}: s1_{orbit} has the shape {values.shape}; it must be {(n, len(days), 2)}.")
        radar.append((values, days))
    tile = _column(
        s2[..., [names.index(band) for band in S2_BANDS]], mask, arrays["doy"], radar[0], radar[1], path.stem
    )
    others = {
        name: np.asarray(values, np.float32)
        for name, values in arrays.items()
        if values.ndim == 2 and values.dtype.kind == "f" and len(values) == n and name != "lonlat"
    }
    known = [titles[k] if 0 <= k < len(titles) else str(k) for k in label.tolist()]
    return _loose(tile, known, label >= 0, lonlat.astype(np.float64), others)


def _arrays(path: Path) -> dict[str, NDArray]:
    found = {}
    with open_archive(path, error=TileError) as archive:
        for member in archive.names:
            if member.endswith(".npy"):
                data = io.BytesIO(archive.read(member, archive.size(member)))
                try:
                    found[member[:-4]] = np.lib.format.read_array(data, allow_pickle=False)
                except (ValueError, EOFError, TypeError, SyntaxError) as error:
                    raise TileError(f"{path.name}: {member} is no plain NumPy array.") from error
    return found


def _band(text: str) -> str:
    """``B2`` and ``b02`` are ``B02``."""
    upper = text.upper()
    return f"B0{upper[1]}" if re.fullmatch(r"B\d", upper) else upper


def _column(
    s2: NDArray,
    mask: NDArray[np.bool_],
    doy: NDArray,
    ascending: tuple[NDArray, NDArray],
    descending: tuple[NDArray, NDArray],
    name: str,
) -> DPixelTile:
    """Pixels (N, T, ...) that lie apart as a tile of one column."""

    def upright(values: NDArray) -> NDArray:
        return np.moveaxis(values, 0, 1)[:, :, None]

    seen = mask & (s2 != 0).any(-1)
    return DPixelTile(
        bands=upright(s2),
        masks=upright(seen.astype(np.uint8)),
        doys=np.asarray(doy),
        sar_asc=upright(ascending[0]),
        doys_asc=np.asarray(ascending[1]),
        sar_desc=upright(descending[0]),
        doys_desc=np.asarray(descending[1]),
        roi=None,
        grid=Grid.local((len(s2), 1)),
        name=name,
    )


def _loose(
    tile: DPixelTile,
    titles: Sequence[str],
    labelled: NDArray[np.bool_],
    lonlat: NDArray[np.float64],
    vectors: Mapping[str, Floats],
) -> RealPlace:
    """A place of pixels that lie apart, by their classes' names; cells of ground are its groups."""
    rows = np.flatnonzero(labelled)
    if not len(rows):
        raise LabelError(f"{tile.name} has not one labelled pixel.")
    if not np.isfinite(lonlat[rows]).all():
        raise LabelError(f"{tile.name} has labelled pixels without a place; without it no ground can be held out.")
    names = list(dict.fromkeys(titles[row] for row in rows.tolist()))
    names.sort()
    if len(names) > 254:
        raise LabelError(f"{tile.name} has {len(names)} classes, more than 254; are these classes at all?")
    classes: list[LabelClass] = []
    for number, title in enumerate(names, start=1):
        classes.append(LabelClass(number, title, color_for(title, classes, number)))
    number_of = {title: number for number, title in enumerate(names, start=1)}
    y = np.array([number_of[titles[row]] for row in rows.tolist()], np.uint8)
    cells = np.floor(lonlat[rows] * CELLS_PER_DEGREE).astype(np.int64)
    _, groups = np.unique(cells, axis=0, return_inverse=True)
    reference = Reference(rows, np.zeros(len(rows), int), y, groups.ravel(), classes, points=True)
    kept = {name: values[rows] for name, values in vectors.items()}
    return RealPlace(tile.name, tile, reference, lonlat[rows], f"cells of 1/{CELLS_PER_DEGREE} degree", kept)


# ---------------------------------------------------------------------------------------------------- tables of Earth Engine


@dataclass
class _Seen:
    """Values of one pixel on one date, by band."""

    doy: int
    year: int
    orbit: str
    values: dict[str, float]


def read_series_table(path: str | Path, field: str | None = None) -> RealPlace:
    """A table of pixels with their values on many dates, as Earth Engine exports them.

    Either a row is a pixel and a column a band of a date, with both in its name (``20210106T..._B8``, ``B08_2021-01-06``), or a
    row is a pixel on a date: a column of dates, columns named like bands, and pixels told apart by a column such as ``id`` or by
    their place. Columns ``SCL`` mask clouds. Reflectance may be x 10000 or 0 to 1, without the offset of 2022 (the collections
    called harmonised); ``VV`` and ``VH`` are decibels, of ascending passes unless the column, or ``orbitProperties_pass``,
    says descending. Places are columns lon and lat or ``.geo``.

    Args:
        path: the CSV.
        field: column of the class; None for one with a usual name.

    Raises:
        LabelError: the table cannot be read, or has no classes, places or dates; or dates of two years.
    """
    path = Path(path)
    sheet = read_sheet(path)
    column = _class_column(sheet, field)
    lonlat = _degrees(places_of(sheet))
    wide: dict[tuple[str, int, int, str], dict[str, int]] = {}
    for at, name in enumerate(sheet.header):
        day, band = _DATE.search(name), _BAND.search(name)
        if day and band:
            when = _day(day, path)
            # What is left of the name without the band tells two looks of one day apart.
            rest = name[: band.start()] + name[band.end() :]
            orbit = "desc" if "desc" in name.lower() else "asc"
            wide.setdefault((rest, when.year, when.timetuple().tm_yday, orbit), {})[_band(band.group(1))] = at
    if wide:
        looks, labels = _of_wide(sheet, wide), [record[column] for record in sheet.rows]
    else:
        looks, labels, lonlat = _of_long(sheet, column, lonlat, path)
    years = {one.year for pixel in looks for one in pixel if one.values}
    if len(years) != 1:
        told = " and ".join(map(str, sorted(years))) or "no date"
        raise LabelError(f"{path.name} has values of {told}; an encoder sees one calendar year: give one a file.")
    tile = _tile_of(looks, path.stem)
    labelled = np.array([bool(text.strip()) for text in labels])
    return _loose(tile, [text.strip() for text in labels], labelled, lonlat, {})


def _has_dates(sheet: Sheet) -> bool:
    dated = any(_DATE.search(name) and _BAND.search(name) for name in sheet.header)
    return dated or any(name.strip().lower() in _DATE_COLUMNS for name in sheet.header)


def _day(found: re.Match[str], path: Path) -> date:
    year, month, day = (int(part) for part in found.groups())
    try:
        return date(year, month, day)
    except ValueError as error:
        raise LabelError(f"{path.name} names the day {year}-{month:02d}-{day:02d}, which there is not.") from error


def _class_column(sheet: Sheet, field: str | None) -> int:
    if field is not None:
        if field not in sheet.header:
            raise LabelError(f"{sheet.name} has no column {field!r}; it has {', '.join(sheet.header[:12])}.")
        return sheet.header.index(field)
    for at, name in enumerate(sheet.header):
        if name.strip().lower() in _LABEL_COLUMNS:
            return at
    raise LabelError(f"{sheet.name} has no column of classes by a usual name (such as label); name it with --field.")


def _degrees(places: Places) -> NDArray[np.float64]:
    """Longitude and latitude (N, 2) of the middle of each row's place, NaN where it has none."""
    middles = [None if one is None else one.centroid for one in places.geometries]
    found = np.array([(np.nan, np.nan) if one is None else (one.x, one.y) for one in middles], np.float64).reshape(
        -1, 2
    )
    if places.crs is not None and not CRS(places.crs).is_geographic:
        found = np.stack(Transformer.from_crs(places.crs, "EPSG:4326", always_xy=True).transform(*found.T), axis=1)
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _of_wide(sheet: Sheet, wide: Mapping[tuple[str, int, int, str], Mapping[str, int]]) -> list[list[_Seen]]:
    return [
        [
            _Seen(doy, year, orbit, {band: _number(record[at]) for band, at in columns.items()})
            for (_, year, doy, orbit), columns in wide.items()
        ]
        for record in sheet.rows
    ]


def _of_long(
    sheet: Sheet, column: int, lonlat: NDArray[np.float64], path: Path
) -> tuple[list[list[_Seen]], list[str], NDArray[np.float64]]:
    plain = [name.strip().lower() for name in sheet.header]
    times = next((plain.index(name) for name in _DATE_COLUMNS if name in plain), None)
    bands = {_band(name.strip()): at for at, name in enumerate(sheet.header) if _BAND.fullmatch(name.strip())}
    if times is None or not bands:
        raise LabelError(
            f"{path.name} has neither columns named by band and date (such as B08_20210106) nor a column of dates beside bands."
        )
    who = next((plain.index(name) for name in _ID_COLUMNS if name in plain), None)
    orbit = plain.index("orbitproperties_pass") if "orbitproperties_pass" in plain else None
    pixels: dict[object, int] = {}
    looks: list[list[_Seen]] = []
    labels: list[str] = []
    first: list[int] = []
    for row, record in enumerate(sheet.rows):
        key: object = record[who] if who is not None else tuple(lonlat[row])
        if key not in pixels:
            pixels[key] = len(looks)
            looks.append([])
            labels.append(record[column])
            first.append(row)
        when = _moment(record[times], path)
        passed = "desc" if orbit is not None and record[orbit].upper().startswith("DESC") else "asc"
        values = {band: _number(record[at]) for band, at in bands.items()}
        looks[pixels[key]].append(_Seen(when.timetuple().tm_yday, when.year, passed, values))
    return looks, labels, lonlat[first]


def _moment(text: str, path: Path) -> date:
    found = _DATE.search(text)
    if found:
        return _day(found, path)
    milliseconds = _number(text)
    if np.isfinite(milliseconds) and 0 < milliseconds < 1e14:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).date()
    raise LabelError(f"{path.name} has {text!r} for a date; write dates as 2021-01-06.")


class _Look(NamedTuple):
    """The values of one sensor of a pixel on a date, and whether they are of the ground."""

    doy: int
    values: list[float]
    clear: bool


def _tile_of(seen: Sequence[Sequence[_Seen]], name: str) -> DPixelTile:
    """The looks of all pixels on common days; two of one day and pixel lie beside each other."""
    bright = [one.values.get("B08", np.nan) for pixel in seen for one in pixel]
    scale = 10_000.0 if max((value for value in bright if np.isfinite(value)), default=3.0) <= 2 else 1.0
    s2, mask, doy = _on_common_days([_optical(pixel, scale) for pixel in seen], len(S2_BANDS))
    radar = []
    for orbit in ("asc", "desc"):
        decibels, valid, days = _on_common_days([_passes(pixel, orbit) for pixel in seen], 2)
        stored = np.clip(np.rint((2 * decibels + 50) * 200), 1, 32767)
        known = np.isfinite(decibels) & valid[..., None]
        radar.append((np.where(known, stored, 0).astype(np.int16), days))
    counts = np.clip(np.rint(s2), 0, 65535).astype(np.uint16)
    return _column(counts, mask, doy, radar[0], radar[1], name)


def _optical(pixel: Sequence[_Seen], scale: float) -> list[_Look]:
    looks = []
    for one in pixel:
        values = [scale * one.values.get(band, float("nan")) for band in S2_BANDS]
        if np.isfinite(values).all():
            looks.append(_Look(one.doy, values, one.values.get("SCL", 4.0) not in _CLOUDED))
    return looks


def _passes(pixel: Sequence[_Seen], orbit: str) -> list[_Look]:
    looks = []
    for one in pixel:
        values = [one.values.get(polarisation, float("nan")) for polarisation in S1_POLARISATIONS]
        if one.orbit == orbit and np.isfinite(values).any():
            looks.append(_Look(one.doy, values, True))
    return looks


def _on_common_days(
    pixels: Sequence[Sequence[_Look]], channels: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int16]]:
    """Values (N, T, C), which of them are clear (N, T), and days (T,)."""
    most: dict[int, int] = {}
    for looks in pixels:
        for doy, count in Counter(look.doy for look in looks).items():
            most[doy] = max(most.get(doy, 0), count)
    axis = [doy for doy in sorted(most) for _ in range(most[doy])]
    values, clear = np.zeros((len(pixels), len(axis), channels)), np.zeros((len(pixels), len(axis)), bool)
    for row, looks in enumerate(pixels):
        place = {doy: axis.index(doy) for doy in most}
        for look in looks:
            values[row, place[look.doy]], clear[row, place[look.doy]] = look.values, look.clear
            place[look.doy] += 1
    return values, clear, np.array(axis, np.int16)
