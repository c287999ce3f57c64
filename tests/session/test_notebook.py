"""The map in a notebook: its layers lie where they belong, a click tells of a place, no network is asked unasked."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from typing import Any

import ipyleaflet
import ipywidgets
import numpy as np
import pytest
from affine import Affine
from PIL import Image

import tessera_core as tessera
from tessera_core.assess.reference import Reference
from tessera_core.errors import GridError, InputError
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.colormap import colormap, hexes
from tessera_core.session import base_maps, notebook
from tests.factories import make_raster

GRID = Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_600_000), (40, 50))
CLASSES = [LabelClass(1, "Wood & <b>", "#008856"), LabelClass(2, "Hay", "#f3c300")]


@pytest.fixture(scope="module")
def raster() -> EmbeddingRaster:
    rng = np.random.default_rng(0)
    kind = (np.indices(GRID.shape)[1] >= 25).astype(int)
    values = rng.normal(size=(2, 8))[kind] * 3 + rng.normal(size=(*GRID.shape, 8))
    return make_raster(values, GRID, Provenance("tessera", "1.1", "mpc", 8, 2024), empty=np.s_[0, 0])


@pytest.fixture(scope="module")
def labels() -> Reference:
    rows, cols = (a.ravel() for a in np.indices(GRID.shape)[:, 5:35:5, 5:50:10])
    return Reference(rows, cols, (1 + (cols >= 25)).astype(np.uint8), np.arange(len(rows)), CLASSES)


@pytest.fixture(scope="module")
def made(raster: EmbeddingRaster, labels: Reference) -> Any:
    return tessera.map_classes(raster, labels, "ridge", calibrated=False)


def overlays(shown: Any) -> dict[str, Any]:
    return {one.name: one for one in shown.layers if isinstance(one, ipyleaflet.ImageOverlay)}


def texts(shown: Any) -> list[ipywidgets.HTML]:
    widgets = [one.widget for one in shown.controls if isinstance(one, ipyleaflet.WidgetControl)]
    return [one for one in widgets if isinstance(one, ipywidgets.HTML)]


def pixels(overlay: Any) -> np.ndarray:
    assert overlay.url.startswith("data:image/png;base64,")
    with Image.open(BytesIO(b64decode(overlay.url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA"))


def test_layers_lie_on_each_other_and_nothing_comes_from_the_network(
    raster: EmbeddingRaster, labels: Reference, made: Any
) -> None:
    shown = raster.explore(labels=labels, map=made)
    found = overlays(shown)
    assert list(found) == ["embeddings", "classes", "confidence", "labels"]
    assert not any(isinstance(one, ipyleaflet.TileLayer) for one in shown.layers)
    assert [one.visible for one in found.values()] == [True, True, False, True]
    # What lies beneath does not change the colours that the key explains.
    assert {one.opacity for one in found.values()} == {1}
    kinds = {type(one) for one in shown.controls}
    assert {ipyleaflet.ZoomControl, ipyleaflet.AttributionControl, ipyleaflet.ScaleControl} <= kinds
    (south, west), (north, east) = found["classes"].bounds
    lon, lat = GRID.pixel_to_lonlat([0, 40], [0, 50])
    assert west == pytest.approx(lon[0], abs=2e-4)
    assert north == pytest.approx(lat[0], abs=2e-4)
    assert east == pytest.approx(lon[1], abs=2e-4)
    assert south == pytest.approx(lat[1], abs=2e-4)
    classes = pixels(found["classes"])
    height, width = classes.shape[:2]
    assert tuple(classes[height // 2, width // 4]) == (0x00, 0x88, 0x56, 255)
    assert tuple(classes[height // 2, 3 * width // 4]) == (0xF3, 0xC3, 0x00, 255)
    assert classes[0, 0, 3] == 0
    assert (pixels(found["labels"])[..., 3] > 0).sum() < 0.1 * height * width


def test_a_click_says_class_and_confidence(raster: EmbeddingRaster, labels: Reference, made: Any) -> None:
    shown = made.explore()
    line, key = texts(shown)

    def click(row: float, col: float) -> str:
        lon, lat = GRID.pixel_to_lonlat(row, col)
        # What the browser sends when somebody clicks.
        shown._handle_leaflet_event(None, {"event": "interaction", "type": "click", "coordinates": [lat, lon]}, None)
        return line.value

    assert 'background:#f3c300"></span> Hay' in key.value
    assert 'background:#008856"></span> Wood &amp; &lt;b&gt;' in key.value
    name = CLASSES[made.classes[10, 15] - 1].name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert click(10.5, 15.5) == f"row 10, column 15: {name}, {made.confidence[10, 15]} % sure; labelled {name}"
    assert click(0.5, 0.5) == "row 0, column 0: no data"
    assert click(-5, 3) == "outside the region"


def test_a_divider_has_the_map_on_one_side_and_the_embeddings_on_the_other(raster: EmbeddingRaster, made: Any) -> None:
    shown = raster.explore(map=made, split=True)
    (divider,) = [one for one in shown.controls if isinstance(one, ipyleaflet.SplitMapControl)]
    sides = [one.name for side in (divider.left_layer, divider.right_layer) for one in side]
    assert sides == ["classes", "embeddings"]
    # The divider cuts panes, so that the two sides must not share one.
    assert divider.left_layer[0].pane != divider.right_layer[0].pane
    assert {one.pane for one in overlays(shown).values()} <= set(shown.panes)


def test_a_base_map_is_taken_from_the_catalogue_when_it_is_named(raster: EmbeddingRaster) -> None:
    shown = raster.explore(base="OpenTopoMap")
    assert next(one.name for one in shown.layers) == "OpenTopoMap"
    assert isinstance(base_maps.layer("FWS NWI Wetlands"), ipyleaflet.WMSLayer)
    known = base_maps.names()
    assert {str(one["name"]) for one in base_maps.BASE_MAPS} <= set(known)
    assert len(known) > 100
    with pytest.raises(InputError, match="OpenTopoMap"):
        raster.explore(base="OpenTopMap")


def test_what_cannot_be_shown_is_said(raster: EmbeddingRaster, made: Any) -> None:
    local = replace(raster, grid=Grid.local(GRID.shape))
    with pytest.raises(GridError, match=r"\.plot\(\)"):
        local.explore()
    with pytest.raises(InputError, match="divider"):
        raster.explore(split=True)
    moved = replace(raster, grid=Grid(GRID.crs, Affine(10, 0, 0, 0, -10, 0), GRID.shape))
    with pytest.raises(InputError, match="another grid"):
        moved.explore(map=made)


def test_a_map_of_values_has_its_half_width_beside_it(raster: EmbeddingRaster) -> None:
    from tessera_core.heads import ValueMap
    from tessera_core.heads.regression import RidgeRegressionHead
    from tessera_core.project.maps import MappedValues

    values = np.linspace(1, 9, 2000, dtype=np.float32).reshape(GRID.shape)
    values[0, 0] = np.nan
    made = MappedValues(raster, ValueMap(values, values / 10), RidgeRegressionHead(), raster.provenance, "height_m")
    shown = made.explore()
    assert list(overlays(shown)) == ["embeddings", "height_m", "margin"]
    height, margin = texts(shown)[1].value.split("<br>")
    assert re.match("height_m: ≤ 1.1.* ≥ 8.8", height)
    assert hexes("amount", 9)[0] in height
    assert re.match("margin: ≤ 0.1.* ≥ 0.88", margin)
    assert hexes("uncertainty", 9)[0] in margin
    bright = pixels(overlays(shown)["margin"])
    assert tuple(bright[bright.shape[0] // 2, bright.shape[1] // 2, :3]) in set(map(tuple, colormap("uncertainty")))
    lon, lat = (float(v) for v in GRID.pixel_to_lonlat(39.5, 49.5))
    assert notebook.said_of(raster, made, None, lon, lat) == "row 39, column 49: height_m 9 ± 0.9"
