"""Monitoring: last year's head on this year, and a list of what is new, to keep or reject; the verdicts become labels.

A place is new where the head gives the two years different classes and the embeddings themselves changed at a false-discovery rate:
a head alone calls much new that is only unsure, and a change of embeddings alone does not say what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.analysis.change import detect_change
from tessera_core.areas import hectares_per_pixel
from tessera_core.errors import HeadError, LabelError
from tessera_core.export.zone_table import ZoneTable, write_zone_table
from tessera_core.grid import Grid
from tessera_core.labels.features import Feature, fields_of
from tessera_core.labels.files import patches, read_features
from tessera_core.raster import EmbeddingRaster
from tessera_core.types import Bools, Bytes, Cancel, Progress

if TYPE_CHECKING:
    from tessera_core.heads import SavedHead

RATE = 0.05
SMALLEST = 4
KEEP = ("keep", "k", "yes", "y", "true", "1", "kept")
REJECT = ("reject", "r", "no", "n", "false", "0", "rejected")
# Note of the labels of places of a list that are new.
LISTED_KEPT = "monitoring: keep"


@dataclass(frozen=True)
class NewPlace:
    """A connected patch that is new.

    Attributes:
        number: from 1, the largest first.
        was, now: class ids of the two years.
        pixels: of the patch.
        confidence: mean of the later map, percent.
        p_value: median over the patch, of no change.
        row, col: of a pixel in its midst.
    """

    number: int
    was: int
    now: int
    pixels: int
    confidence: float
    p_value: float
    row: int
    col: int


@dataclass(frozen=True)
class NewPlaces:
    """What is new between two years.

    Attributes:
        places: the largest first.
        numbers: int32 (H, W), the place that each pixel is of; 0 for none.
        before, now: class maps of the two years, uint8 (H, W).
        grid: of all.
        names: class id -> name.
        years: of the two.
        rate: false-discovery rate.
        left_out: pixels in patches that are too small to be listed.
    """

    places: tuple[NewPlace, ...]
    numbers: NDArray[np.int32]
    before: Bytes
    now: Bytes
    grid: Grid
    names: dict[int, str]
    years: tuple[int | None, int | None]
    rate: float
    left_out: int

    def sentences(self) -> list[str]:
        """For people."""
        size = hectares_per_pixel(self.grid) if self.grid.georeferenced else 1.0
        unit = "ha" if self.grid.georeferenced else "pixels"
        pairs: Counter[tuple[int, int]] = Counter()
        for one in self.places:
            pairs[one.was, one.now] += one.pixels
        first, second = (str(year) if year else what for year, what in zip(self.years, ("before", "now"), strict=True))
        told = [
            f"{len(self.places)} places are new in {second} against {first}, at a rate of {percent(self.rate)} % false alarms of "
            "change."
        ]
        told += [
            f"{self.names.get(a, a)} to {self.names.get(b, b)}: {count * size:,.2f} {unit}"
            for (a, b), count in pairs.most_common(5)
        ]
        if self.left_out:
            told.append(f"{self.left_out} pixels in smaller patches are not listed.")
        return told

    def table(self) -> ZoneTable:
        """The list to review, with outlines: a line for each place, and a column ``verdict`` to fill in."""
        grid = self.grid
        size = hectares_per_pixel(grid) if grid.georeferenced else None
        lon, lat = [None] * len(self.places), [None] * len(self.places)
        if grid.georeferenced and self.places:
            rows, cols = np.array([(p.row + 0.5, p.col + 0.5) for p in self.places]).T
            lon, lat = (np.round(v, 7).tolist() for v in grid.pixel_to_lonlat(rows, cols))
        columns = ("id", "was", "now", "hectares", "pixels", "confidence", "p_value", "lon", "lat", "verdict")
        table = [
            [
                p.number, self.names.get(p.was, str(p.was)), self.names.get(p.now, str(p.now)),
                None if size is None else round(p.pixels * size, 4), p.pixels, round(p.confidence, 1), float(f"{p.p_value:.3g}"),
                lon[n], lat[n], None,
            ]
            for n, p in enumerate(self.places)
        ]  # fmt: skip
        notes = (
            *self.sentences(),
            "Write keep or reject into the column verdict; 'tessera monitor labels' makes labels of it.",
        )
        return ZoneTable(columns, table, outlines_of(self.numbers, grid, len(self.places)), grid, notes)

    def write(self, path: str | Path) -> Path:
        """Write the list to review: ``.gpkg``, ``.geojson``, ``.csv`` or ``.xlsx``.

        Raises:
            ExportError: the file cannot be written.
        """
        return write_zone_table(Path(path), self.table())

    def __repr__(self) -> str:
        return f"<NewPlaces: {self.sentences()[0]}>"


def outlines_of(numbers: NDArray[np.int32], grid: Grid, count: int) -> NDArray[Any]:
    """The polygon of each number 1..count on a map (H, W), object (count,), in the CRS of the grid."""
    import shapely
    from rasterio.features import shapes

    parts: list[list[Any]] = [[] for _ in range(count)]
    for shape, value in shapes(numbers, mask=numbers > 0, connectivity=4, transform=grid.transform):
        parts[int(value) - 1].append(shapely.geometry.shape(shape))
    found = np.empty(count, object)
    found[:] = [one[0] if len(one) == 1 else shapely.MultiPolygon(one) for one in parts]
    return found


def find_new(
    saved: SavedHead,
    before: EmbeddingRaster,
    now: EmbeddingRaster,
    *,
    rate: float = RATE,
    smallest: int = SMALLEST,
    seed: int = 0,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> NewPlaces:
    """What is new in a year, by the head of an earlier one.

    Args:
        saved: a head of classes.
        before, now: embeddings of the two years on one grid, of the dataset of the head.
        rate: false-discovery rate of the change of embeddings.
        smallest: pixels of the smallest patch that is listed.
        seed: of what is random.
        progress, cancelled: see docs/architecture.md.

    Raises:
        MixedDatasetsError: the head is of another dataset.
        HeadError: it maps numbers.
        RasterError: the two years lie on different grids.
        Cancelled: ``cancelled`` said so.
    """
    from tessera_core.heads import predict_raster

    before.provenance.require_same_dataset(saved.provenance, "monitoring")
    head = saved.classification
    if head is None:
        raise HeadError("This head maps measured values; monitoring needs a head of classes.")
    layer = detect_change(before, now, seed=seed, progress=progress, cancelled=cancelled)
    first, second = (predict_raster(head, one, progress=progress, cancelled=cancelled) for one in (before, now))
    changed = layer.mask(rate)
    found = _places(first.classes, second.classes, second.confidence, changed, layer.p_values(), smallest)
    return NewPlaces(
        found[0],
        found[1],
        first.classes,
        second.classes,
        now.grid,
        dict(saved.class_names),
        layer.years,
        rate,
        found[2],
    )


def _places(
    before: Bytes, now: Bytes, confidence: Bytes, changed: Bools, p_values: NDArray[np.float32], smallest: int
) -> tuple[tuple[NewPlace, ...], NDArray[np.int32], int]:
    new = changed & (before != now) & (before > 0) & (now > 0)
    groups = patches(np.where(new, before.astype(np.int32) * 256 + now, 0))
    sizes = np.bincount(groups.ravel())
    sizes[0] = 0
    kept = np.flatnonzero(sizes >= max(1, smallest))
    kept = kept[np.argsort(-sizes[kept], kind="stable")]
    renumber = np.zeros(len(sizes), np.int32)
    renumber[kept] = np.arange(1, len(kept) + 1)
    numbers = renumber[groups]
    order = np.argsort(numbers, axis=None, kind="stable")
    starts = np.searchsorted(numbers.ravel()[order], np.arange(1, len(kept) + 2))
    places = []
    for n in range(len(kept)):
        flat = order[starts[n] : starts[n + 1]]
        rows, cols = np.divmod(flat, numbers.shape[1])
        middle = int(np.argmin((rows - rows.mean()) ** 2 + (cols - cols.mean()) ** 2))
        sure = confidence.ravel()[flat].astype(float)
        p = float(np.median(p_values.ravel()[flat]))
        at = int(flat[middle])
        places.append(
            NewPlace(
                n + 1,
                int(before.ravel()[at]),
                int(now.ravel()[at]),
                len(flat),
                float(sure.mean()),
                p,
                *map(int, divmod(at, numbers.shape[1])),
            )
        )
    return tuple(places), numbers, int(sizes.sum() - sizes[kept].sum())


# ------------------------------------------------------------------ verdicts


@dataclass(frozen=True)
class Reviewed:
    """A list that somebody went through.

    Attributes:
        kept, rejected: places that are new, and that are as they were.
        open: without a verdict.
        repeated: lines that say of a place what another line is about, as where a file holds the list in two layers; a
            place counts once, with its verdict.
        unclear: what stands in the column and is no verdict -> how often.
        labels: a line for each verdict: the class that the place now has, as labels.
    """

    kept: int
    rejected: int
    open: int
    unclear: dict[str, int] = field(default_factory=dict)
    labels: ZoneTable | None = None
    repeated: int = 0

    def sentences(self) -> list[str]:
        """For people."""
        told = [
            f"New places: {self.kept}; as they were: {self.rejected}; without a verdict, and so no labels: {self.open}."
        ]
        if self.unclear:
            words = ", ".join(f"{word!r} ({count})" for word, count in list(self.unclear.items())[:5])
            told.append(f"Not understood as keep or reject: {words}.")
        if self.repeated:
            told.append(
                f"Lines that repeat a place, perhaps in another layer of the file: {self.repeated}. Each place counts once."
            )
        return told

    def write(self, path: str | Path) -> Path:
        """Write the verdicts as labels: ``.gpkg`` or ``.geojson``.

        Raises:
            LabelError: no place has a verdict.
            ExportError: the file cannot be written.
        """
        if self.labels is None or not self.labels.rows:
            raise LabelError(
                f"The list has no verdict yet; write keep or reject into the column verdict. {self.open} places are open."
            )
        return write_zone_table(Path(path), self.labels)


def read_review(path: str | Path) -> Reviewed:
    """Verdicts of a list of new places: kept ones are labels of the class that is new, rejected ones of the class that was.

    Args:
        path: the list as it was written (GeoPackage, GeoJSON, CSV), with the column ``verdict`` filled in.

    Raises:
        LabelError: the file cannot be read, or is no such list.
    """
    path = Path(path)
    read = read_features(path)
    columns = {name.casefold(): name for name in fields_of(read.features)}
    missing = [name for name in ("was", "now", "verdict") if name not in columns]
    if missing:
        raise LabelError(
            f"{path.name} is no list of new places: it has no column {missing[0]!r}. 'tessera monitor find' writes one."
        )
    counts: Counter[str] = Counter()
    unclear: Counter[str] = Counter()
    rows: list[list[Any]] = []
    outlines: list[Any] = []
    lines = _once(read.features, columns)
    for feature, given in lines:
        verdicts = {_verdict(word) for word in given} - {""}
        if len(verdicts) != 1:
            counts["open"] += 1
            if given:
                unclear[" / ".join(given)] += 1
            continue
        unclear.update(word for word in given if not _verdict(word))
        said = verdicts.pop()
        counts[said] += 1
        name = feature.properties.get(columns["now" if said == "keep" else "was"])
        rows.append([str(name), said, LISTED_KEPT if said == "keep" else "monitoring: reject"])
        outlines.append(feature.geometry)
    shapes = np.empty(len(outlines), object)
    shapes[:] = outlines
    grid = _frame(read.crs)
    table = ZoneTable(("class", "verdict", "note"), rows, shapes, grid, ())
    repeated = len(read.features) - len(lines)
    return Reviewed(counts["keep"], counts["reject"], counts["open"], dict(unclear), table, repeated)


def _once(features: Sequence[Feature], columns: Mapping[str, str]) -> list[tuple[Feature, list[str]]]:
    """Each place once, with the different words that stand in its column verdict.

    GeoPandas adds a layer to a GeoPackage rather than replacing that of another name, so that a list comes back with every
    place twice. Lines with the same number, classes and outline are of one place; where their verdicts differ, none counts.
    """
    found: dict[object, tuple[Feature, list[str]]] = {}
    for number, feature in enumerate(features):
        given = str(feature.properties.get(columns["verdict"]) or "").strip().casefold()
        key: object = number
        if "id" in columns and feature.geometry is not None:
            key = (*(str(feature.properties.get(columns[name])) for name in ("id", "was", "now")), feature.geometry.wkb)
        before = found[key][1] if key in found else []
        found[key] = (feature, before if not given or given in before else [*before, given])
    return list(found.values())


def _verdict(given: str) -> str:
    """What a word of the column means, ``keep`` or ``reject``; empty where it means neither."""
    return "keep" if given in KEEP else "reject" if given in REJECT else ""


def _frame(crs: str | None) -> Grid:
    """Something that says in which coordinates the labels are."""
    from affine import Affine

    return Grid(crs or "EPSG:4326", Affine(1, 0, 0, 0, -1, 0), (1, 1))


# ------------------------------------------------------------------- judging


@dataclass(frozen=True)
class NewJudged:
    """How right a list of what is new is, where the truth of both years is known.

    Attributes:
        precision: share of the pixels called new whose class truly changed; NaN where none was called.
        recall: share of the pixels whose class truly changed that were called new; NaN where none changed.
        right_class: share of the pixels called new that truly changed and are now what the list says.
        places: of the list, and ``places_right`` of which most pixels truly changed.
        called, changed: pixels.
    """

    precision: float
    recall: float
    right_class: float
    places: int
    places_right: int
    called: int
    changed: int


def judge_new(found: NewPlaces, before: NDArray[np.integer], now: NDArray[np.integer]) -> NewJudged:
    """Compare with the truth of both years, (H, W) with 0 where it is not known; ids are those of the head.

    Pixels whose truth is not known in both years count nowhere.
    """
    known = (before > 0) & (now > 0)
    truly = known & (before != now)
    called = known & (found.numbers > 0)
    both = called & truly
    size = np.bincount(found.numbers[called], minlength=len(found.places) + 1)[1:]
    right = np.bincount(found.numbers[both], minlength=len(found.places) + 1)[1:]

    def share(part: float, whole: float) -> float:
        return part / whole if whole else float("nan")

    return NewJudged(
        share(float(both.sum()), float(called.sum())),
        share(float(both.sum()), float(truly.sum())),
        share(float((both & (found.now == now)).sum()), float(called.sum())),
        len(found.places),
        int((2 * right > size).sum()),
        int(called.sum()),
        int(truly.sum()),
    )
