"""A small place on the loopback archive, embedded by our own weights as if published, with a gap cut into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tessera_core.grid import Grid, transformer
from tessera_core.models.zoo import SHIPPED
from tessera_core.project.filling import How, make_holes
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData
from tests.dpixels.sentinel_server import LAT, LON
from tests.factories import make_grid, random_raster

HOW = How("studio-nano", device="cpu")
SHAPE = (40, 60)
HOLE = (slice(10, 22), slice(20, 34))
HOLE_PIXELS = 12 * 14
THIN = (0, slice(0, 3))


def quiet(done: int, total: int, message: str = "") -> None:
    """Progress within its bounds."""
    assert 0 <= done <= total


def place() -> Grid:
    """Published pixels: in the zone of their store, which need not be that of the region's middle."""
    x, y = transformer("EPSG:4326", "EPSG:32631").transform(LON, LAT)
    return make_grid(SHAPE, west=round(x / 10) * 10 + 200, north=round(y / 10) * 10 + 300)


def published() -> EmbeddingRaster:
    """What the weights make of the whole place; needs the archive (``few_days``)."""
    stamp = Provenance("studio", "nano", SHIPPED["studio-nano.safetensors"][:8], 128, 2023)
    nothing = replace(
        random_raster(SHAPE, 128, grid=place(), provenance=stamp),
        scales=np.full(SHAPE, np.nan, np.float32),
        reasons=np.full(SHAPE, NoData.MISSING_TILE, np.uint8),
    )
    made = make_holes(nothing, HOW, quiet, lambda: False)
    return replace(made, provenance=replace(stamp, source="https://store.example/x"))


def with_hole(raster: EmbeddingRaster) -> EmbeddingRaster:
    """A gap in the middle, and three pixels that the publisher refused."""
    codes, scales, reasons = np.array(raster.codes), np.array(raster.scales), np.array(raster.nodata_reasons())
    for where, reason in ((HOLE, NoData.MISSING_TILE), (THIN, NoData.TOO_FEW)):
        codes[where], scales[where], reasons[where] = 0, np.nan, reason
    return replace(raster, codes=codes, scales=scales, reasons=reasons)


def project_of(raster: EmbeddingRaster, folder: Path) -> Project:
    """A project of 2023 with that raster in its own folder."""
    project = Project.create(folder, "Marsh")
    path = raster.save(folder / "data" / "2023")
    project.attach_embeddings(2023, path, raster.provenance, raster.grid)
    return project
