"""STAC beside embeddings: valid by the published schemas, in the right place, found again by pystac."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
from pyproj import Transformer
from pystac.validation.local_validator import get_local_schema_cache

from tessera_core.errors import GridError
from tessera_core.export.stac import Product, item, write_stac
from tessera_core.provenance import Provenance
from tests.factories import make_grid, make_raster


def saved(folder: Path, year: int | None = 2024, **provenance: Any) -> Path:
    """A raster on disk with counts."""
    raster = make_raster(np.random.default_rng(0).normal(size=(12, 20, 8)).astype(np.float32), make_grid((12, 20)))
    seen = np.full((12, 20, 6), 30, np.uint16)
    stamp = replace(Provenance("tessera", "1.1", "dclimate", 8, year), **provenance)
    return replace(raster, provenance=stamp, observations=seen).save(folder / str(year or "window"))


@pytest.fixture
def written(tmp_path: Path) -> list[Path]:
    return write_stac(tmp_path, [saved(tmp_path, year) for year in (2023, 2024)])


def test_items_and_collection_are_valid_by_the_schemas(written: list[Path]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    known = get_local_schema_cache()
    registry = referencing.Registry().with_resources(
        [(uri, referencing.Resource.from_contents(schema)) for uri, schema in known.items()]
    )
    for path, kind in zip(written, ("collection", "item", "item"), strict=True):
        schema = next(value for uri, value in known.items() if uri.endswith(f"/{kind}.json"))
        made = json.loads(path.read_text())
        validator = jsonschema.Draft7Validator(schema, registry=registry)
        assert [error.message for error in validator.iter_errors(made)] == []
        assert list(validator.iter_errors({key: value for key, value in made.items() if key != "links"}))


def test_pystac_walks_from_the_collection_to_files_that_are_there(written: list[Path]) -> None:
    whole = pystac.Collection.from_file(str(written[0]))
    items = list(whole.get_items())
    assert [one.id for one in items] == ["2023", "2024"]
    for one in items:
        assert set(one.assets) == {"embeddings", "scales", "observations"}
        for asset in one.assets.values():
            path = asset.get_absolute_href()
            assert path is not None
            assert Path(path).is_file()
        assert one.get_collection() == whole
    assert whole.extra_fields["emb:dimensions"] == 8
    assert {link.rel for link in whole.links} >= {"emb:model", "emb:source-data"}


def test_the_footprint_is_that_of_the_pixels(written: list[Path]) -> None:
    one = json.loads(written[1].read_text())
    grid = make_grid((12, 20))
    ring = np.array(one["geometry"]["coordinates"][0])
    x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(ring[:, 0], ring[:, 1])
    left, bottom, right, top = grid.bounds
    np.testing.assert_allclose([min(x), min(y), max(x), max(y)], [left, bottom, right, top], atol=0.02)
    # Counter-clockwise, as GeoJSON wants it.
    assert np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0
    assert one["properties"]["proj:transform"] == list(grid.transform)[:6]
    assert one["properties"]["tessera_studio:depth"]["optical_median"] == 30


def test_a_window_has_its_days_and_no_place_is_no_item(tmp_path: Path) -> None:
    stamp = {"details": {"window": ["2023-10-01", "2024-09-30"]}}
    (_, path) = write_stac(tmp_path, [saved(tmp_path, None, **stamp)])
    properties = json.loads(path.read_text())["properties"]
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "2023-10-01T00:00:00Z",
        "2024-09-30T23:59:59Z",
    )
    local = make_raster(np.ones((4, 5, 8), np.float32)).save(tmp_path / "local")
    assert write_stac(tmp_path, [local]) == []
    with pytest.raises(GridError, match="no place on Earth"):
        item(Product.open(local), tmp_path / "local.stac.json")
