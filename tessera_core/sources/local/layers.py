"""Other rasters as features: elevation, slope, canopy height, a drone's mosaic, a map of soils; each on the grid of embeddings.

What comes out is a raster like embeddings: int8 with a provenance, to be mapped alone or joined with embeddings
(:mod:`tessera_core.analysis.stacking`). Numbers are standardised, and how is kept with them, so that another region can be made
the same way: a head knows its features by that.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.percents import percent
from tessera_core.errors import Cancelled, InputError, RasterError
from tessera_core.gate import open_raster, raster_errors
from tessera_core.grid import Grid
from tessera_core.language import later
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, valid_scales
from tessera_core.types import Cancel, Floats, Progress

MODEL = "layers"
# How a raster comes onto a grid, for people.
RULES = {
    "as it is": later("as it is"),
    "average": later("averaged"),
    "bilinear": later("interpolated"),
    "mode": later("the commonest"),
}
KINDS = ("number", "slope", "classes")
# Standard deviations that int8 reaches: a step is 0.03 of one.
REACH = 4.0
MAX_CODES = 32
MAX_DIM = 512
# Resolutions that differ by less are the same.
_SAME = 1.05
# Bands of a picture, at least, and the share of it that is black from which on that looks like a rim.
_PICTURE, _BLACK = 3, 0.01


@dataclass(frozen=True)
class LayerSource:
    """A raster that is to be a feature.

    Attributes:
        path: GeoTIFF; of numbers all bands are taken, of others the first.
        kind: ``"number"``, ``"slope"`` (degrees, from an elevation in metres), or ``"classes"``, a column for each class.
    """

    path: Path
    kind: str = "number"


@dataclass(frozen=True)
class Column:
    """One feature.

    Attributes:
        title: of it.
        kind: see :class:`LayerSource`.
        rule: how it came onto the grid.
        mean, sd: that were taken off and divided by; 0 and 1 for a class.
        code: of the class, or None.
    """

    title: str
    kind: str
    rule: str
    mean: float = 0.0
    sd: float = 1.0
    code: int | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "title": self.title, "kind": self.kind, "rule": self.rule, "mean": self.mean, "sd": self.sd, "code": self.code,
        }  # fmt: skip


def read_layers(
    sources: Sequence[LayerSource],
    grid: Grid,
    *,
    year: int | None = None,
    like: Provenance | None = None,
    progress: Progress | None = None,
    cancelled: Cancel | None = None,
) -> EmbeddingRaster:
    """Rasters as features on a grid.

    A finer raster is averaged over each pixel, a coarser one interpolated (bilinear), one on the very grid taken as it is; of
    classes the commonest counts. A pixel without data in one of them has none.

    Args:
        sources: the rasters, in their order.
        grid: of the embeddings.
        year: to say in the provenance.
        like: of features that were made earlier of rasters of the same kinds in the same order; means and deviations are theirs.

    Returns:
        int8 codes (H, W, D): of standardised numbers from -4 to 4, cut off there; of classes 0 or 1. What looks wrong is told in
        ``provenance.details["warnings"]``.

    Raises:
        InputError: a file does not meet the grid, is the same everywhere, or does not fit ``like``.
        RasterError: a file cannot be read, or no pixel has data in all.
        Cancelled: ``cancelled`` said so.
    """
    if not grid.georeferenced:
        raise InputError(
            "The place of these embeddings on Earth is not known, so no other raster can be laid over them."
        )
    if not sources:
        raise InputError("Name at least one raster.")
    known = None if like is None else _columns_of(like)
    columns: list[Column] = []
    planes: list[NDArray[np.int8]] = []
    titles: set[str] = set()
    warnings: list[str] = []
    valid = np.ones(grid.shape, bool)
    for number, source in enumerate(sources):
        if cancelled is not None and cancelled():
            raise Cancelled()
        if progress is not None:
            progress(number, len(sources), source.path.name)
        bands = _read(source, grid)
        warnings += _warnings(source, [values for values, _, _ in bands])
        for values, rule, called in bands:
            title = _unused(called, source, titles)
            titles.add(title)
            earlier = None if known is None else known[len(columns) :]
            made = _standardised(values, source, title, rule, earlier)
            for column, plane in made:
                columns.append(column)
                planes.append(plane)
            valid &= np.isfinite(values)
        if len(columns) > MAX_DIM:
            raise InputError(f"These are more than {MAX_DIM} features; take fewer rasters, or fewer bands.")
    if known is not None and len(known) != len(columns):
        raise InputError(
            f"{len(columns)} features were read, and those to follow are {len(known)}; name the same rasters in the same order."
        )
    if not valid.any():
        raise RasterError("Not one pixel has data in all of these rasters; check that they lie over the embeddings.")
    codes = np.stack(planes, -1)
    codes[~valid] = 0
    scales = np.where(valid, np.float32(REACH / 127), np.float32(np.nan)).astype(np.float32)
    facts = [column.to_json() for column in columns]
    # What makes two features the same is what was done, not what the files are called.
    same = json.dumps([{k: v for k, v in fact.items() if k != "rule"} for fact in facts], sort_keys=True)
    name = hashlib.sha256(same.encode()).hexdigest()[:8]
    details = {"layers": facts, "files": [source.path.name for source in sources], "without_data": int((~valid).sum())}
    if warnings:
        details["warnings"] = warnings
    return EmbeddingRaster(
        codes, scales, grid, Provenance(MODEL, "1", name, len(columns), year, source=MODEL, details=details)
    )


def _warnings(source: LayerSource, bands: Sequence[Floats]) -> list[str]:
    """What looks wrong with a picture: a black rim that it does not call empty would be taken for ground."""
    if len(bands) < _PICTURE:
        return []
    black = np.logical_and.reduce([band == 0 for band in bands])
    share = float(black.sum() / max(1, np.isfinite(bands[0]).sum()))
    if share < _BLACK:
        return []
    return [
        f"{percent(share)} % of {source.path.name} here is 0 in every band, and the file does not call 0 empty. If that is its "
        "rim, save it with 0 as no data and join it again; else black is taken for what the ground is like."
    ]


def _unused(title: str, source: LayerSource, taken: set[str]) -> str:
    """A title that no raster before has: that of the band, with the name of the file, or with a number."""
    names = (title, f"{source.path.stem} {title}", *(f"{title} ({number})" for number in range(2, MAX_DIM + 2)))
    return next(name for name in names if name not in taken)


def _columns_of(provenance: Provenance) -> list[Column]:
    if provenance.model != MODEL:
        raise InputError(f"{provenance.dataset} are no features of other rasters; name a folder of 'tessera features'.")
    try:
        return [Column(**fact) for fact in provenance.details["layers"]]
    except (KeyError, TypeError) as error:
        raise InputError("How these features were made is not in their folder; make them anew.") from error


def _standardised(
    values: Floats, source: LayerSource, title: str, rule: str, earlier: Sequence[Column] | None
) -> list[tuple[Column, NDArray[np.int8]]]:
    """Columns of one band, with their int8 codes (H, W)."""
    known = values[np.isfinite(values)]
    if not len(known):
        raise InputError(f"{source.path.name} has no data on these embeddings; check that they lie on the same ground.")
    if source.kind == "classes":
        return _one_hot(values, known, source, title, rule, earlier)
    if earlier is not None:
        if not earlier or earlier[0].kind != source.kind:
            raise InputError(
                f"{source.path.name} is not of the kind that stands in this place among the features to follow."
            )
        mean, sd, title = earlier[0].mean, earlier[0].sd, earlier[0].title
    else:
        mean, sd = float(known.mean(dtype=np.float64)), float(known.std(dtype=np.float64))
        if not sd > 1e-9 * max(1.0, abs(mean)):
            raise InputError(
                f"{title} is {mean:g} everywhere on these embeddings, which teaches nothing; leave it out."
            )
        mean, sd = float(f"{mean:.9g}"), float(f"{sd:.9g}")
    z = np.nan_to_num((values - np.float32(mean)) / np.float32(sd))
    codes = np.rint(np.clip(z, -REACH, REACH) * (127 / REACH)).astype(np.int8)
    return [(Column(title, source.kind, rule, mean, sd), codes)]


def _one_hot(
    values: Floats, known: Floats, source: LayerSource, title: str, rule: str, earlier: Sequence[Column] | None
) -> list[tuple[Column, NDArray[np.int8]]]:
    if not np.array_equal(known, np.rint(known)):
        raise InputError(f"{source.path.name} holds fractions, no classes.")
    if earlier is None:
        codes = [int(code) for code in np.unique(known)]
    else:
        codes = []
        before = earlier[0].title.rpartition(" ")[0] if earlier else title
        for column in earlier:
            # The next raster of classes has a title of its own, and may go on where this one's codes end.
            if column.code is None or column.title.rpartition(" ")[0] != before or (codes and column.code <= codes[-1]):
                break
            codes.append(column.code)
        title = before if codes else title
    if not 2 <= len(codes) <= MAX_CODES:
        raise InputError(f"{source.path.name} has {len(codes)} classes here; features are made of 2 to {MAX_CODES}.")
    one = np.int8(round(127 / REACH))
    return [
        (Column(f"{title} {code}", source.kind, rule, code=code), np.where(values == code, one, 0).astype(np.int8))
        for code in codes
    ]


def _read(source: LayerSource, grid: Grid) -> list[tuple[Floats, str, str]]:
    """Bands on the grid, float32 (H, W) with NaN for no data, how they came there, and what they are called."""
    from rasterio.enums import ColorInterp, Resampling
    from rasterio.vrt import WarpedVRT

    path = source.path
    found = []
    try:
        with open_raster(path) as file:
            if file.crs is None:
                raise InputError(f"{path.name} does not say where it lies; give it a coordinate system first.")
            same = (file.height, file.width) == grid.shape and file.transform.almost_equals(grid.transform, 1e-6)
            same = same and Grid(str(file.crs), file.transform, grid.shape).crs == grid.crs
            finer = _pixel(file) * _SAME < abs(grid.transform.determinant) ** 0.5
            rule = "as it is" if same else "average" if finer else "bilinear"
            rule = "mode" if source.kind == "classes" and not same else rule
            how = {"average": Resampling.average, "bilinear": Resampling.bilinear, "mode": Resampling.mode}
            # As mosaics of drones have it: what shows is a band of its own, and no feature.
            shows = [band for band in file.indexes if file.colorinterp[band - 1] == ColorInterp.alpha]
            bands = [band for band in file.indexes if band not in shows] if source.kind == "number" else [1]
            masked = file.nodata is None or bool(shows)
            options: dict[str, Any] = {
                "crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width,
                "resampling": how.get(rule, Resampling.nearest), "add_alpha": masked and not shows, "dtype": "float32",
            }  # fmt: skip
            if file.nodata is not None:
                options |= {"src_nodata": file.nodata, "nodata": np.nan}
            with WarpedVRT(file, **options) as moved:
                beyond = moved.read(shows[0] if shows else moved.count) == 0 if masked else np.zeros(grid.shape, bool)
                for band in bands:
                    values = moved.read(band).astype(np.float32)
                    values[beyond] = np.nan
                    name = file.descriptions[band - 1] or (path.stem if len(bands) == 1 else f"{path.stem} {band}")
                    found.append((values, rule, name))
    except raster_errors() as error:
        raise RasterError(f"{path.name} cannot be read: {str(error).splitlines()[0]}") from error
    if source.kind == "slope":
        return [(_slope(values, grid), f"{rule}, then slope", f"slope of {name}") for values, rule, name in found]
    return found


def _pixel(file: Any) -> float:
    """Edge of a pixel of a raster in metres, about."""
    grid = Grid(str(file.crs), file.transform, (file.height, file.width))
    return float(grid.pixel_area_m2**0.5)


def _slope(values: Floats, grid: Grid) -> Floats:
    """Slope in degrees (Horn 1981, Proc. IEEE 69, 14-47), NaN where one of the nine pixels has no data; the rim repeats."""
    edge = float(grid.pixel_area_m2**0.5)
    padded = np.pad(values, 1, mode="edge")
    part = {(i, j): padded[i : i + values.shape[0], j : j + values.shape[1]] for i in range(3) for j in range(3)}
    across = (part[0, 2] + 2 * part[1, 2] + part[2, 2] - part[0, 0] - 2 * part[1, 0] - part[2, 0]) / (8 * edge)
    down = (part[2, 0] + 2 * part[2, 1] + part[2, 2] - part[0, 0] - 2 * part[0, 1] - part[0, 2]) / (8 * edge)
    found: Floats = np.degrees(np.arctan(np.hypot(across, down))).astype(np.float32)
    return found


# ------------------------------------------------------------------- looking


@dataclass(frozen=True)
class Shown:
    """A raster among the features, as it can be looked at again.

    Attributes:
        title: of it.
        column: the first number of a pixel that is its.
        weight: what its numbers were multiplied by when it was joined with others; 1 where it was not.
        mean, sd: of the raster, in its own unit; 0 and 1 for classes.
        codes: of its classes, one a number; empty for a raster of numbers.
        rule: how it came onto the grid.
    """

    title: str
    column: int
    weight: float
    mean: float
    sd: float
    codes: tuple[int, ...] = ()
    rule: str = ""

    def values(self, raster: EmbeddingRaster) -> Floats:
        """float32 (H, W): the numbers in their own unit (cut off where features are), or the position of the class, from 0; NaN is
        no data."""
        found = np.full(raster.shape, np.nan, np.float32)
        columns = slice(self.column, self.column + max(1, len(self.codes)))
        step = max(1, (16 << 20) // (4 * raster.shape[1] * max(1, len(self.codes))))
        for top in range(0, raster.shape[0], step):
            rows = slice(top, top + step)
            scales = np.asarray(raster.scales[rows], np.float32)
            z = raster.codes[rows, :, columns] * scales[..., None] / np.float32(self.weight)
            found[rows] = np.where(valid_scales(scales), z.argmax(-1) if self.codes else z[..., 0], np.nan)
        return found if self.codes else found * np.float32(self.sd) + np.float32(self.mean)


def shown_layers(provenance: Provenance) -> list[Shown]:
    """The rasters that features were made of, also where these were joined with embeddings; none of other embeddings."""
    found: list[Shown] = []
    if provenance.model != MODEL:
        parts = provenance.details.get("parts") if provenance.model == "stack" else None
        at = 0
        for part in parts or ():
            inner = Provenance.from_json(part)
            for one in shown_layers(inner):
                found.append(replace(one, column=at + one.column, weight=one.weight * float(part.get("weight", 1))))
            at += int(part.get("dim", inner.dim))
        return found
    try:
        columns = _columns_of(provenance)
    except InputError:
        return []
    for number, column in enumerate(columns):
        title = column.title.rpartition(" ")[0] if column.code is not None else column.title
        last = found[-1] if found else None
        # Columns of one raster of classes follow each other by rising code.
        if last and last.codes and last.title == title and column.code is not None and column.code > last.codes[-1]:
            found[-1] = replace(last, codes=(*last.codes, column.code))
            continue
        codes = () if column.code is None else (column.code,)
        found.append(Shown(title, number, 1.0, column.mean, column.sd, codes, column.rule))
    return found
