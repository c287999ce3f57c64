"""Filling what published embeddings lack with embeddings made here, if the two agree where both are.

Around every hole the embeddings made here are compared with the published ones of the very same pixels. Only where they are
practically the same (:mod:`tessera_core.assess.agreement`, green) does one raster come of both, which says of every pixel whence it
is; else the vectors do not belong together, and what was made here is a dataset of its own. Knows no stores and no projects.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tessera_core._utils.atomic import atomic_path
from tessera_core.assess.agreement import Agreement, aligned, compare
from tessera_core.errors import InputError, TesseraError
from tessera_core.gate import is_missing
from tessera_core.grid import Grid
from tessera_core.observations import percent
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.types import PixelBox

ORIGIN_FILE = "origin.npy"
NOBODY, PUBLISHED, MADE_HERE = range(3)
# What its publisher may have forgotten or lost; what it refused was seen too rarely for anybody.
FILLABLE = frozenset({NoData.MISSING_TILE, NoData.BAD_TILE, NoData.YEAR_NOT_PUBLISHED, NoData.UNKNOWN})
REFUSED = frozenset({NoData.TOO_FEW, NoData.NO_OBSERVATIONS})
# Pixels around a hole that are made too, for comparison.
MARGIN = 32
# Fewer neighbours prove nothing.
LEAST = 200


class DisagreementError(TesseraError):
    """Embeddings made here do not agree with the published ones around a hole.

    Attributes:
        agreement: the figures.
    """

    def __init__(self, message: str, agreement: Agreement) -> None:
        super().__init__(message)
        self.agreement = agreement


@dataclass(frozen=True)
class Filled:
    """Published embeddings with their holes filled.

    Attributes:
        raster: of both.
        origin: uint8 (H, W): 0 without data, 1 published, 2 made here.
        agreement: of the pixels around the holes.
        filled: pixels that were made here.
    """

    raster: EmbeddingRaster
    origin: NDArray[np.uint8]
    agreement: Agreement
    filled: int

    @property
    def sentence(self) -> str:
        """For people."""
        share = self.filled / max(int(np.count_nonzero(self.origin)), 1)
        return (
            f"Made here were {self.filled:,} pixels ({percent(share)}); around them {self.agreement.pixels:,} pixels were made "
            f"too, and agree with the published ones (median cosine {self.agreement.cosine_median:.5f}, "
            f"{percent(self.agreement.equal_codes)} of the codes equal)."
        )

    def save(self, folder: str | Path) -> Path:
        """Write the raster in our own layout, with ``origin.npy`` beside it.

        Raises:
            InputError: the folder holds something else than such a raster.
            ExportError: it cannot be written.
        """
        path = self.raster.save(folder)
        with atomic_path(path / ORIGIN_FILE) as part, part.open("wb") as file:
            np.save(file, self.origin)
        return path


def keep_origin(source: Path, target: Path) -> None:
    """Let a raster that was made of the one in ``source`` say, too, which of its pixels were made here; where that is known.

    Raises:
        ExportError: it cannot be written.
    """
    if not is_missing(source / ORIGIN_FILE):
        with atomic_path(target / ORIGIN_FILE) as part:
            shutil.copyfile(source / ORIGIN_FILE, part)


def holes(raster: EmbeddingRaster, reasons: Collection[NoData] = FILLABLE) -> NDArray[np.bool_]:
    """Which pixels of a raster are holes: bool (H, W)."""
    return np.isin(raster.nodata_reasons(), [int(reason) for reason in reasons])


def near_holes(
    raster: EmbeddingRaster, margin: int = MARGIN, reasons: Collection[NoData] = FILLABLE
) -> NDArray[np.bool_]:
    """Which pixels of a raster lie within so many pixels of a hole, or in one: bool (H, W)."""
    from scipy import ndimage

    size = 2 * margin + 1
    # A square around each pixel, along one axis after the other: the work does not grow with the margin.
    return np.asarray(ndimage.maximum_filter(holes(raster, reasons).view(np.uint8), size, mode="constant"), bool)


def boxes_to_make(
    raster: EmbeddingRaster, margin: int = MARGIN, reasons: Collection[NoData] = FILLABLE
) -> list[PixelBox]:
    """What has to be made: boxes around the holes with a margin, those that meet brought together; within the raster.

    Args:
        raster: with holes.
        margin: pixels around each hole.
        reasons: that count as holes.

    Example:
        >>> boxes_to_make(raster)  # doctest: +SKIP
        [(0, 12, 80, 92)]
    """
    from scipy import ndimage

    height, width = raster.shape
    wide = np.zeros(raster.shape, bool)
    for rows, cols in ndimage.find_objects(ndimage.label(holes(raster, reasons), np.ones((3, 3)))[0]):
        wide[max(rows.start - margin, 0) : rows.stop + margin, max(cols.start - margin, 0) : cols.stop + margin] = True
    found = ndimage.find_objects(ndimage.label(wide)[0])
    return [(rows.start, cols.start, min(rows.stop, height), min(cols.stop, width)) for rows, cols in found]


def fill_holes(
    published: EmbeddingRaster,
    made: EmbeddingRaster,
    *,
    margin: int = MARGIN,
    reasons: Collection[NoData] = FILLABLE,
) -> Filled:
    """Fill the holes of published embeddings with embeddings made here.

    Args:
        published: with holes.
        made: of at least the holes and some pixels around them, on the same pixels.
        margin: how far around the holes the two are compared.
        reasons: that count as holes.

    Returns:
        Both as one raster, whose provenance is that of the published ones and tells the rest under ``filled``.

    Raises:
        DisagreementError: the two do not agree around the holes; nothing is joined.
        MixedDatasetsError: they are of different datasets.
        InputError: there is no hole, the pixels do not lie on each other, nothing was made of the holes, or too few pixels around
            them were made to know.
    """
    made.provenance.require_same_dataset(published.provenance, "one raster of both")
    if published.provenance.year != made.provenance.year:
        raise InputError(
            f"The published embeddings are of {published.provenance.year or 'no year'}, those made here of "
            f"{made.provenance.year or 'no year'}; make the same year."
        )
    gone = holes(published, reasons)
    if not gone.any():
        raise InputError("Nothing is missing in the published embeddings that could be filled.")
    codes, scales, seen = _onto(made, published.grid)
    there = np.isfinite(scales) & (scales > 0)
    near = near_holes(published, margin, reasons) & published.valid() & there
    fresh = gone & there
    if not fresh.any():
        raise InputError("The embeddings made here have nothing where the published ones lack something.")
    if int(near.sum()) < LEAST:
        raise InputError(
            f"Only {int(near.sum())} pixels around the holes are in both, too few to know whether they agree; make at least "
            f"{margin} pixels around each hole too."
        )
    around = replace(
        published,
        codes=codes,
        scales=np.where(near, scales, np.float32(np.nan)),
        reasons=None,
        observations=None,
        provenance=made.provenance,
    )
    agreement = compare(around, published)
    if agreement.verdict != "green":
        raise DisagreementError(
            f"The holes were not filled: {agreement.sentence()} (median cosine {agreement.cosine_median:.4f} over "
            f"{agreement.pixels:,} pixels around the holes). Keep what was made here as a dataset of its own.",
            agreement,
        )
    whole, told = np.array(published.codes), published.nodata_reasons()
    whole[fresh], told[fresh] = codes[fresh], NoData.VALID
    counts = None if published.observations is None else np.array(published.observations)
    if counts is not None:
        counts[fresh] = 0 if seen is None else seen[fresh]
    origin = np.where(published.valid(), PUBLISHED, NOBODY).astype(np.uint8)
    origin[fresh] = MADE_HERE
    stamp = replace(published.provenance, checksum="").with_details(
        filled={"pixels": int(fresh.sum()), "by": made.provenance.to_json(), "agreement": agreement.to_json()}
    )
    raster = EmbeddingRaster(
        whole, np.where(fresh, scales, published.scales).astype(np.float32), published.grid, stamp, told, counts
    )
    return Filled(raster, origin, agreement, int(fresh.sum()))


def _onto(made: EmbeddingRaster, grid: Grid) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.uint16] | None]:
    """Codes, scales and counts of a raster on another grid whose pixels lie on its own; NaN where it does not reach."""
    if not aligned(made.grid, grid):
        raise InputError(
            "The pixels made here do not lie on the published ones, so they cannot be one raster; make them on the published grid."
        )
    corner = made.grid.transform
    row, col = (round(float(value)) for value in grid.xy_to_pixel(corner.c, corner.f))
    codes = np.zeros((*grid.shape, made.dim), np.int8)
    scales = np.full(grid.shape, np.nan, np.float32)
    seen = None if made.observations is None else np.zeros((*grid.shape, made.observations.shape[2]), np.uint16)
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + made.shape[0], grid.height), min(col + made.shape[1], grid.width)
    if top < bottom and left < right:
        ours, theirs = (
            (slice(top, bottom), slice(left, right)),
            (slice(top - row, bottom - row), slice(left - col, right - col)),
        )
        codes[ours], scales[ours] = made.codes[theirs], made.scales[theirs]
        if seen is not None and made.observations is not None:
            seen[ours] = made.observations[theirs]
    return codes, scales, seen
