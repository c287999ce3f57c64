"""Missing pixels on the page Region: what is said of them, made here, joined or refused, and taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.hosting.settings import EMBEDDINGS_VARIABLE
from tessera_core.models.zoo import WEIGHTS_FOLDER
from tessera_core.project.folders import new_folder
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tests.dpixels.sentinel_server import few_days
from tests.factories import random_raster
from tests.project.gaps import HOLE_PIXELS, HOW, SHAPE, place, project_of, published, with_hole
from tests.waiting import run_until, shown

pytestmark = pytest.mark.skipif(
    not (WEIGHTS_FOLDER / f"{HOW.weights}.safetensors").exists(), reason="this checkout has no weights of its own"
)


def _open(app: AppTest, raster: EmbeddingRaster) -> Project:
    project = project_of(raster, new_folder("Marsh"))
    app.session_state["tessera_project"] = project.folder.name
    app.query_params["project"] = project.folder.name
    app.run()
    assert not app.exception
    return project


def _keys(app: AppTest) -> list[str]:
    return [str(button.key) for button in app.button]


def test_what_is_missing_is_told_with_what_can_be_done(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    raster = random_raster(SHAPE, dim=128)
    stamp = replace(
        raster.provenance, model="tessera", version="1.1", variant="dclimate", year=2023, source="1.1/dclimate"
    )
    _open(app, with_hole(replace(raster, grid=place(), provenance=stamp)))
    said = shown(app)
    assert f"{HOLE_PIXELS} pixels (7.0 %) are missing (not published)." in said
    assert "3 others were seen too rarely" in said
    assert app.selectbox(key="holes_model").value == "v1.1-dclimate"
    assert app.selectbox(key="holes_archive").value == "aws"
    assert "holes_make" in _keys(app)
    monkeypatch.setenv(EMBEDDINGS_VARIABLE, "0")
    app.run()
    assert "holes_make" not in _keys(app)
    assert "on a computer of your own" in shown(app)


@pytest.mark.soak
def test_the_gap_is_filled_by_the_same_weights_and_refused_for_others(
    app: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with few_days(tmp_path / "archive", monkeypatch):
        whole = published()
        project = _open(app, with_hole(whole))
        app.button(key="holes_make").click().run()
        run_until(app, lambda: "Made here were" in shown(app) or bool(app.error))
        assert not app.error
        assert "agree with the published ones" in shown(app)
        project = Project.open(project.folder)
        np.testing.assert_array_equal(EmbeddingRaster.open(project.embeddings_path(2023)).codes[5:], whole.codes[5:])
        app.button(key="holes_undo").click().run()
        assert "holes_make" in _keys(app)
        _open(app, with_hole(replace(whole, codes=np.roll(whole.codes, 7, axis=2))))
        app.button(key="holes_make").click().run()
        run_until(app, lambda: bool(app.error))
        assert "were not filled" in app.error[0].value
        assert "Likeness, 1 being the same" in shown(app)
