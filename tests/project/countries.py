"""Tiles of several zones and both hemispheres with labels on some: what maps tile by tile are tested on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from affine import Affine

from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tests.factories import make_raster

SIDE = 10
ORIGIN = Provenance("studio", "nano", dim=16, year=2024)
KINDS = np.random.default_rng(7).normal(size=(3, 16))


def stripes(crs: str, x: float, y: float, seed: int) -> EmbeddingRaster:
    """A tile of three stripes of kinds, with a hole."""
    rng = np.random.default_rng(seed)
    kind = np.minimum(np.arange(SIDE) // 3, 2)[None].repeat(SIDE, 0)
    values = KINDS[kind] + 0.1 * rng.normal(size=(SIDE, SIDE, 16))
    grid = Grid(crs, Affine(10, 0, x, 0, -10, y), (SIDE, SIDE))
    return make_raster(values, grid, ORIGIN, empty=np.s_[0, :2])


def make_country(tmp_path: Path) -> Path:
    """Six tiles: three in one zone, one of which is apart, two south of the equator, one in the next zone; and labels on four."""
    places = [
        ("EPSG:32631", 500_000, 100_000), ("EPSG:32631", 500_100, 100_000), ("EPSG:32631", 500_300, 99_900),
        ("EPSG:32731", 500_000, 9_999_000), ("EPSG:32731", 500_100, 9_999_000), ("EPSG:32632", 300_000, 50_000),
    ]  # fmt: skip
    features = []
    for number, (crs, x, y) in enumerate(places):
        raster = stripes(crs, x, y, number)
        raster.save(tmp_path / "E" / f"t{number}")
        if number in (1, 4):
            continue
        for name, col in (("wheat", 1.5), ("rye", 4.5), ("oats", 8.5)):
            for row in (3.5, 6.5):
                lon, lat = (float(v) for v in raster.grid.pixel_to_lonlat(row, col))
                point = {"type": "Point", "coordinates": [lon, lat]}
                features.append({"type": "Feature", "properties": {"crop": name}, "geometry": point})
    (tmp_path / "labels.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return tmp_path
