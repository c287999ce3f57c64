"""Data, a folder of maps: where tiles lie, what classes cover of all and of one, and nothing of it on a server for strangers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from streamlit.testing.v1 import AppTest

from tessera_core.export.geotiff import write_class_map
from tessera_core.grid import Grid
from tessera_core.labels.model import LabelClass
from tessera_core.provenance import Provenance
from tests.waiting import run_until, shown


def _maps(folder: Path) -> Path:
    """Two tiles of two zones."""
    folder.mkdir()
    for name, crs in (("a<b>", "EPSG:32631"), ("c", "EPSG:32632")):
        grid = Grid(crs, Affine(10, 0, 500_000, 0, -10, 5_600_000), (10, 10))
        legend = [LabelClass(1, "Wood", "#06480c")]
        write_class_map(
            folder / f"{name}.tif",
            np.ones((10, 10), np.uint8),
            None,
            grid,
            legend,
            Provenance("studio", "nano", dim=16),
        )
        note = {"format": "tessera-map-tile/1", "grid": grid.to_json(), "classes": {"0": 0, "1": 100}}
        (folder / f"{name}.json").write_text(json.dumps(note | {"hectares": {"1": 1.0}}))
    return folder


def test_a_folder_of_maps_is_seen_with_its_areas_and_those_of_a_tile(
    app: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _maps(tmp_path / "maps")
    app.run()
    app.switch_page("pages/data.py").run()
    app.text_input(key="data_maps_path").set_value(str(tmp_path)).run()
    app.button(key="data_maps_look").click().run()
    run_until(app, lambda: "no maps made tile by tile" in shown(app))
    app.text_input(key="data_maps_path").set_value(str(folder)).run()
    app.button(key="data_maps_look").click().run()
    run_until(app, lambda: app.selectbox)
    table = app.dataframe[0].value
    assert (table["All tiles"].tolist(), table["All tiles share"].tolist()) == (["2.0"], ["100.0"])
    assert "shift them" in shown(app)
    app.selectbox(key="data_maps_tile").select("c").run()
    assert app.dataframe[0].value["This tile"].tolist() == ["1.0"]
    assert not app.exception
    # Nobody else may name folders of this computer.
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    app.run()
    assert "data_maps_path" not in [box.key for box in app.text_input]
