"""Agreement: are embeddings made here the same as published ones of the same place and dataset?

Compares two rasters pixel by pixel, a block at a time, and says in one sentence what the figures mean. Refuses to know where
either raster came from and how the verdict is shown.

The direction of a vector does not depend on its pixel's scale, so cosines come from the int8 codes alone. Quantising to int8
moves a vector of 128 numbers by an angle whose cosine is about 0.99998, so the limits below are far from rounding: green
allows for other rounding, amber for other images of the same year (archives reprocess scenes) and for the other arithmetic of
TESSERA 1.1 (median cosine 0.997 over Iowa; docs/spec/model.md, "The published arithmetic"), red for another model, other
preparation or another place.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tessera_core.errors import Cancelled, InputError
from tessera_core.grid import Grid, transformer
from tessera_core.raster import BLOCK_BYTES, EmbeddingRaster, valid_scales
from tessera_core.types import Cancel

Verdict = Literal["green", "amber", "red"]

GREEN_MEDIAN, GREEN_LOW, GREEN_SCALE = 0.999, 0.99, 0.02
AMBER_MEDIAN = 0.95
_ARITHMETICS = {
    "trained": "as the model was trained",
    "dclimate": "with the arithmetic of the published store",
}
_SNAP = 1e-3  # pixels; georeference of files is rounded


@dataclass(frozen=True)
class Agreement:
    """How alike two rasters are, over the pixels where both have data.

    Attributes:
        pixels: compared.
        cosine_median, cosine_p1: median and 1st percentile of the cosine of the two vectors of a pixel.
        equal_codes: share of int8 codes that are equal, 0..1.
        scale_difference: median relative difference of the scales, 0 where they are equal.
        aligned: whether the pixels lie on each other; otherwise the nearest published pixel was taken.
        arithmetics: how TESSERA 1.1 was computed here and there; empty for other models.
    """

    pixels: int
    cosine_median: float
    cosine_p1: float
    equal_codes: float
    scale_difference: float
    aligned: bool
    arithmetics: tuple[str, str] = ("", "")

    @property
    def verdict(self) -> Verdict:
        """Green: the same; amber: alike; red: different."""
        if self.cosine_median < AMBER_MEDIAN:
            return "red"
        same = self.cosine_median >= GREEN_MEDIAN and self.cosine_p1 >= GREEN_LOW
        return "green" if same and self.scale_difference <= GREEN_SCALE else "amber"

    def sentence(self, others: str = "the published ones") -> str:
        """What it means, for people; ``others`` names what these were compared with."""
        if self.verdict == "green":
            if self.equal_codes == 1 and self.scale_difference == 0:
                return f"These embeddings equal {others}, number for number."
            return f"These embeddings match {others}; maps learnt on either can be used on both."
        if self.verdict == "amber" and len(set(self.arithmetics)) > 1:
            ours, theirs = (_ARITHMETICS[name] for name in self.arithmetics)
            wanted = "v1.1-dclimate" if self.arithmetics[1] == "dclimate" else "v1.1-aws"
            return (
                f"These embeddings are like {others} but not the same: they were computed {ours}, {others} {theirs}. "
                f"Make them with the model {wanted}, and a map learnt on one can be used on the other."
            )
        if self.verdict == "amber":
            shifted = "" if self.aligned else ", also because their pixels do not lie on each other"
            return (
                f"These embeddings are like {others} but not the same{shifted}; "
                "check a map learnt on one before you use it on the other."
            )
        return (
            f"These embeddings differ from {others}; do not mix them. "
            "Check that model, year, source of the images and place are the same."
        )

    def to_json(self) -> dict[str, Any]:
        """JSON object with the figures and the verdict."""
        return asdict(self) | {"verdict": self.verdict}


def compare(made: EmbeddingRaster, published: EmbeddingRaster, *, cancelled: Cancel | None = None) -> Agreement:
    """Compare every pixel of ``made`` with the published pixel that its centre falls on.

    Args:
        made, published: rasters of one dataset; on grids of any CRS, or both on local grids of one shape.
        cancelled: asked between blocks.

    Raises:
        MixedDatasetsError: the two are of different weights.
        InputError: they have no pixel with data in common, or only one of them has a place on Earth.
        Cancelled: ``cancelled`` returned true.
    """
    if not made.provenance.same_weights(published.provenance):
        made.provenance.require_same_dataset(published.provenance, "a comparison")
    if made.grid.georeferenced != published.grid.georeferenced or (
        not made.grid.georeferenced and made.shape != published.shape
    ):
        raise InputError(
            "The published embeddings cannot be compared: one of the two has no place on Earth, or both have none and "
            "differ in size."
        )
    cosines: list[NDArray[np.float32]] = []
    scales: list[NDArray[np.float32]] = []
    equal = 0
    # Codes of both rasters and their float32 products are in memory at once.
    for rows in made.row_slices(BLOCK_BYTES // 3):
        if cancelled is not None and cancelled():
            raise Cancelled
        row, col = _published_pixels(made.grid, published.grid, rows)
        here = made.valid(rows) & published.grid.inside(row, col)
        r, c = (np.floor(index[here]).astype(np.intp) for index in (row, col))
        both = valid_scales(published.scales[r, c])
        r, c = r[both], c[both]
        here[here] = both
        if not len(r):
            continue
        ours, theirs = made.codes[rows][here], published.codes[r, c]
        equal += int(np.count_nonzero(ours == theirs))
        cosines.append(_cosine(ours, theirs))
        scales.append(np.abs(made.scales[rows][here] / published.scales[r, c] - 1))
    if not cosines:
        raise InputError("The published embeddings have no pixel with data in common with these.")
    cosine = np.concatenate(cosines)
    return Agreement(
        pixels=len(cosine),
        cosine_median=float(np.median(cosine)),
        cosine_p1=float(np.percentile(cosine, 1)),
        equal_codes=equal / (len(cosine) * made.dim),
        scale_difference=float(np.median(np.concatenate(scales))),
        aligned=aligned(made.grid, published.grid),
        arithmetics=(made.provenance.arithmetic, published.provenance.arithmetic),
    )


def aligned(first: Grid, second: Grid) -> bool:
    """Whether the pixels of two grids lie on each other (the grids may be shifted by whole pixels)."""
    if first.crs != second.crs:
        return False
    a, b = first.transform, second.transform
    if not np.allclose([a.a, a.b, a.d, a.e], [b.a, b.b, b.d, b.e], rtol=1e-9, atol=1e-9):
        return False
    corner = np.array(second.xy_to_pixel(a.c, a.f))
    return bool(np.abs(corner - np.round(corner)).max() < _SNAP)


def _published_pixels(made: Grid, published: Grid, rows: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractional pixel coordinates on ``published`` of the pixel centres of some rows of ``made``: two (h, W) arrays."""
    row, col = np.mgrid[rows.start : rows.stop, : made.width] + 0.5
    x, y = made.pixel_to_xy(row, col)
    if made.crs is not None and published.crs is not None and made.crs != published.crs:
        x, y = transformer(made.crs, published.crs).transform(x, y)
    return published.xy_to_pixel(x, y)


def _cosine(ours: NDArray[np.int8], theirs: NDArray[np.int8]) -> NDArray[np.float32]:
    """float32 (N,) cosines of int8 (N, D) rows; two rows of zeros are equal, a single one is like nothing."""
    a, b = ours.astype(np.float32), theirs.astype(np.float32)
    # Sums of products of int8 codes are whole numbers that float32 holds exactly up to a thousand dimensions.
    dot, norms = np.einsum("nd,nd->n", a, b), np.einsum("nd,nd->n", a, a) * np.einsum("nd,nd->n", b, b)
    cosine = np.where(norms > 0, dot / np.sqrt(np.where(norms > 0, norms, 1)), (a == b).all(1))
    return np.asarray(np.clip(cosine, -1, 1), np.float32)
