"""The page Compare without a browser: what it says, what the slider costs, and what it needs."""

from __future__ import annotations

import json
import re
import shutil
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from streamlit.testing.v1 import AppTest

from tessera_core.analysis import change
from tessera_core.dpixels.tile import write_tile
from tessera_core.heads.blocks import learnt
from tessera_core.labels.model import Label, LabelClass
from tessera_core.project import library
from tessera_core.project.classify import fit_labels, head_choice
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.session import payload
from tessera_core.sources.local.layers import shown_layers
from tessera_core.ui.results import Kept
from tests.analysis.two_years import two_years
from tests.factories import alphaearth_like, season_tile
from tests.waiting import PATIENCE_S, run_until

RASTERS = "other rasters (elevation, canopy height, soils)"


@pytest.fixture
def years(home: Path, tmp_path: Path) -> Project:
    """A project of two years with 25 % changed parcels and labels of four classes."""
    made = two_years(0, share=0.25, weather=2.0, size=96)
    for raster in (made.first, made.second):
        raster.save(tmp_path / "fields" / str(raster.provenance.year))
    project = library.start(library.identify(str(tmp_path / "fields")), "Fields")
    classes = [LabelClass(k, f"Kind {k}", f"#{40 * k:02x}8080") for k in range(1, 5)]
    labels = []
    for row in range(6, 96, 12):
        for col in range(6, 96, 12):
            kind = int(made.covers[row, col]) % 4 + 1
            x, y = made.first.grid.pixel_to_xy(row + 0.5, col + 0.5)
            labels.append(Label(f"l{row}-{col}", kind, "point", ((float(x), float(y)),)))
    project.log.import_labels(classes, labels)
    project.update(label_year=2023)
    return project


def _errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error] + [str(exception.value) for exception in app.exception]


def _open(app: AppTest, project: Project, part: str = "change") -> AppTest:
    app.query_params["project"] = project.folder.name
    app.session_state["compare_part"] = part
    app.run()
    app.switch_page("pages/compare.py").run()
    return app


def _compared(app: AppTest) -> bool:
    return any("Whole scene" in text.value for text in app.markdown)


def test_without_a_project_or_a_second_year_it_says_what_to_do(app: AppTest, home: Path, tmp_path: Path) -> None:
    app.run()
    app.switch_page("pages/compare.py").run()
    assert "two years" in app.info[0].value
    two_years(0, size=48).first.save(tmp_path / "one" / "2023")
    project = library.start(library.identify(str(tmp_path / "one")), "One")
    _open(app, project)
    assert _errors(app) == []
    assert "one year" in app.info[0].value


def test_the_slider_looks_up_and_computes_nothing(
    app: AppTest, years: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    real = change.detect_change
    monkeypatch.setattr("tessera_core.project.change.detect_change", lambda *a, **k: runs.append(1) or real(*a, **k))
    monkeypatch.setattr(change, "detect_change", lambda *a, **k: runs.append(1) or real(*a, **k))
    _open(app, years)
    run_until(app, lambda: _compared(app))
    assert _errors(app) == []
    shown = {app.metric[0].value}
    (slider,) = app.select_slider
    for rate in (0.001, 0.01, 0.2, 0.05):
        slider.set_value(rate).run()
        assert _errors(app) == []
        shown.add(app.metric[0].value)
        (slider,) = app.select_slider
    assert len(shown) >= 4
    assert len(runs) == 1
    # A click tells what both years saw there; the file of the same map is a picture for a slide.
    assert any("Click a place on the map" in caption.value for caption in app.caption)
    for place, said in (((5, 5), "from 2023 to 2024"), ((500, 5), "Click a place")):
        app.session_state[f"compare_place_{years.key}"] = place
        app.run()
        assert _errors(app) == []
        assert any(said in text.value for text in (*app.markdown, *app.caption))
    assert {"Picture (.png)", "Page (.pdf)"} <= {button.proto.label for button in app.get("download_button")}
    assert len(runs) == 1


def _project_of(share: float, tmp_path: Path) -> Project:
    """Two years of 96 x 96 pixels of which so much changed, without labels."""
    made = two_years(0, share=share, weather=2.0, size=96)
    for raster in (made.first, made.second):
        raster.save(tmp_path / str(share) / str(raster.provenance.year))
    return library.start(library.identify(str(tmp_path / str(share))), f"Changed {share}")


def test_where_nothing_is_called_it_says_whether_anything_could_be(app: AppTest, home: Path, tmp_path: Path) -> None:
    def said(project: Project) -> str:
        _open(app, project)
        run_until(app, lambda: _compared(app))
        app.select_slider[0].set_value(0.001).run()
        assert _errors(app) == []
        assert app.metric[0].value.startswith("0.0 ha")
        return " ".join(caption.value for caption in app.caption)

    # A few parcels changed, but the strictest stop finds none of them.
    few = said(_project_of(0.02, tmp_path))
    assert "Accept more of them" in few
    assert "Nothing here differs" not in few
    none = said(_project_of(0.0, tmp_path))
    assert "Nothing here differs more than unchanged ground does" in none
    assert "Accept more" not in none


def test_years_beside_each_other_can_be_seen_through_the_change(app: AppTest, years: Project) -> None:
    def opacity() -> float:
        sent = [payload.unpack(e.proto.bytes)[0] for e in app.get("bidi_component") if e.proto.bytes]
        (header,) = [header for header in sent if header["kind"] == "map"]
        (found,) = [layer["opacity"] for layer in header["layers"] if layer["name"] == "change"]
        return float(found)

    _open(app, years)
    run_until(app, lambda: _compared(app))
    assert opacity() == 0.8
    for view in ("swipe", "beside"):
        app.segmented_control(key="compare_view").set_value(view).run()
        assert _errors(app) == []
        assert opacity() < 0.5


def test_p_values_are_a_layer_that_is_made_when_it_is_looked_at(app: AppTest, years: Project) -> None:
    from io import BytesIO

    from PIL import Image

    def pictures() -> dict[str, bytes]:
        sent = [payload.unpack(e.proto.bytes) for e in app.get("bidi_component") if e.proto.bytes]
        return {header["name"]: body for header, body in sent if header["kind"] == "layer"}

    _open(app, years)
    run_until(app, lambda: _compared(app))
    assert "p" not in pictures()
    app.session_state[f"_view_map_looks_compare_map_{years.key}"] = frozenset({"p"})
    app.run()
    assert _errors(app) == []
    colours = np.asarray(Image.open(BytesIO(pictures()["p"])).convert("RGBA"))
    drawn = colours[..., 3] > 0
    # A quarter of the parcels changed; p is below 0.2 there and on a fifth of the rest at most.
    assert 0.2 < drawn.mean() < 0.5
    strongest = (colours[..., :3] == (0x67, 0, 0x0D)).all(-1) & drawn
    assert strongest.mean() > 0.1


def test_the_shift_of_the_scene_is_told_apart(app: AppTest, years: Project) -> None:
    _open(app, years)
    run_until(app, lambda: _compared(app))
    assert "Whole scene" in " ".join(text.value for text in app.markdown)
    assert "taken out and not counted" in " ".join(text.value for text in app.markdown)
    # Nobody counted how often these years were seen.
    assert "Seen unequally often" not in " ".join(caption.value for caption in app.caption)
    assert "false alarm" in " ".join(caption.value for caption in app.caption)


def test_years_that_were_seen_unequally_often_are_said_to_be(app: AppTest, home: Path, tmp_path: Path) -> None:
    made = two_years(0, share=0.25, size=48)
    for raster, times in ((made.first, 20), (made.second, 45)):
        seen = np.zeros((*raster.shape, 6), np.uint16)
        seen[..., 0] = times
        replace(raster, observations=seen).save(tmp_path / "fields" / str(raster.provenance.year))
    project = library.start(library.identify(str(tmp_path / "fields")), "Fields")
    _open(app, project)
    run_until(app, lambda: _compared(app))
    assert not _errors(app)
    told = [caption.value for caption in app.caption if "Seen unequally often" in caption.value]
    first, last = (str(raster.provenance.year) for raster in (made.first, made.second))
    assert [f"{first} was seen clearly 20 times (median), {last} 45 times." in one for one in told] == [True]


def test_marked_ground_takes_the_place_of_the_estimate(app: AppTest, years: Project) -> None:
    _open(app, years)
    run_until(app, lambda: _compared(app))
    key = f"compare_marks_{years.key}"
    app.session_state[key] = [((10.0, 10.0, 12.0, 12.0), (10.0, 12.0, 12.0, 10.0), ())]
    app.run()
    assert "mark at least" in app.warning[0].value
    app.session_state[key] = [((4.0, 4.0, 90.0, 90.0), (4.0, 90.0, 90.0, 4.0), ())]
    app.run()
    assert not app.warning
    assert any("marked pixels" in text.value for text in app.markdown)


def test_classes_and_labels_over_the_years(app: AppTest, years: Project, root: Path) -> None:
    _open(app, years, "classes")
    run_until(app, lambda: len(app.dataframe) > 0)
    assert _errors(app) == []
    table = app.dataframe[0].value
    assert {"From", "To", "Changed"} <= set(table.columns)
    assert (np.diff(table["Changed"]) <= 0).all()
    matrix = app.dataframe[1].value
    assert list(matrix.index) == list(matrix.columns) == [f"Kind {k}" for k in range(1, 5)]
    # Area and interval: the areas of all cells are the region with data in both years.
    cells = [re.fullmatch(r"([\d.,]+) \(([\d.,]+) to ([\d.,]+)\)", text).groups() for text in matrix.to_numpy().ravel()]  # type: ignore[union-attr]
    areas = np.array(cells, float)
    assert areas[:, 0].sum() == pytest.approx(0.01 * (96 * 96 - 8), abs=0.8)
    assert (areas[:, 1] <= areas[:, 0]).all()
    assert (areas[:, 0] <= areas[:, 2]).all()
    # The plot's names are as dark as other text, so that they can be read on its bands.
    plot = json.loads(app.get("plotly_chart")[0].proto.spec)
    theme = tomllib.loads((root / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
    assert plot["data"][0]["textfont"]["color"] == theme["light"]["textColor"]
    # The address carries the part, so that a reload stays on it.
    assert app.query_params["part"] == "classes"
    app.segmented_control(key="compare_part").set_value("labels").run()
    assert app.query_params["part"] == "labels"
    assert _errors(app) == []
    held = app.dataframe[0].value
    assert held["Labels"].sum() == 64
    assert 0 < held["Hold"].sum() < 64
    assert any("labels of 2023 hold in 2024" in text.value for text in app.markdown)


def test_an_area_is_held_against_land_like_it(app: AppTest, years: Project) -> None:
    _open(app, years, "control")
    assert _errors(app) == []
    assert any("Draw the area" in text.value for text in app.markdown)
    key = f"compare_area_{years.key}"
    app.session_state[key] = [((24.0, 24.0, 40.0, 40.0), (24.0, 40.0, 40.0, 24.0), ())]
    app.run()
    run_until(app, lambda: any("placebo areas" in text.value for text in app.markdown))
    assert "times as far" in app.metric[0].value
    # A class of the project's own map.
    app.selectbox(key=f"compare_control_class_{years.key}").select(1).run()
    run_until(app, lambda: any("points on matched" in text.value for text in app.markdown))
    assert app.metric[0].label == "Kind 1, beside land like it"
    assert _errors(app) == []
    app.session_state[key] = [((24.0, 24.0, 26.0, 26.0), (24.0, 26.0, 26.0, 24.0), ())]
    app.run()
    run_until(app, lambda: bool(_errors(app)))
    assert "Draw a larger one" in _errors(app)[0]


def test_another_head_or_colour_draws_the_maps_anew(app: AppTest, years: Project) -> None:
    def shown() -> tuple[str, bytes]:
        run_until(app, lambda: len(app.dataframe) > 0)
        assert _errors(app) == []
        sent = [payload.unpack(e.proto.bytes) for e in app.get("bidi_component") if e.proto.bytes]
        (found,) = [(header["version"], body) for header, body in sent if header.get("name") == "classes2024"]
        return found

    _open(app, years, "classes")
    first = shown()
    # Another head may happen to draw the same map, but not under the same name: the browser keeps pictures by it.
    years.update(head="knn")
    app.run()
    assert shown()[0] != first[0]
    years.update(head="prototype")
    years.log.edit_class(1, color="#123456")
    app.run()
    recoloured = shown()
    assert recoloured[0] != first[0]
    assert recoloured[1] != first[1]


def test_leaving_the_page_cancels_its_work(app: AppTest, years: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from tessera_core.errors import Cancelled
    from tessera_core.ui import jobs

    def endless(*_: object, cancelled: Any, **__: object) -> None:
        for _turn in range(3000):
            if cancelled():
                raise Cancelled
            time.sleep(0.02)

    monkeypatch.setattr("tessera_core.ui.compare.change.compare_steps", endless)
    _open(app, years)
    (job,) = jobs._pool()._jobs.values()
    assert job.active
    app.switch_page("pages/label.py").run()
    assert job.wait(PATIENCE_S)
    assert job.state == "cancelled"


def test_what_is_kept_is_bounded() -> None:
    kept = Kept(3)
    for number in range(10):
        kept.put(str(number), number)
        kept.get("0")
    assert [number for number in range(10) if kept.get(str(number)) is not None] == [0, 8, 9]


def test_joined_years_become_a_region(app: AppTest, years: Project) -> None:
    _open(app, years, "join")
    app.selectbox(key="compare_join_second").set_value(2023).run()
    next(button for button in app.button if button.label == "Join them").click().run()
    run_until(app, lambda: len(app.success) > 0)
    assert _errors(app) == []
    assert "96 numbers a pixel" in app.success[0].value
    next(button for button in app.button if button.label == "Open it as a region").click().run()
    assert _errors(app) == []
    assert [box.value for box in app.text_input if box.label == "Name"] == ["Fields joined"]


def test_another_model_joins_all_years_and_labels_come_along(app: AppTest, years: Project, tmp_path: Path) -> None:
    made = two_years(0, share=0.25, weather=2.0, size=96)
    alphaearth_like((made.first, made.second), tmp_path / "ae")
    _open(app, years, "join")
    app.selectbox(key="compare_join_first").set_value("all years").run()
    app.text_input(key="compare_join_path").set_value(str(tmp_path / "ae")).run()
    next(button for button in app.button if button.label == "Join them").click().run()
    run_until(app, lambda: len(app.success) > 0)
    assert _errors(app) == []
    assert "112 numbers a pixel, 2023 and 2024" in app.success[0].value
    table = app.dataframe[0].value
    assert table["Embeddings"].tolist() == ["Tessera Studio test", "AlphaEarth 1"]
    assert table["Numbers"].tolist() == [48, 64]
    next(button for button in app.button if button.label == "Open it as a region").click().run()
    assert _errors(app) == []
    (entry,) = [entry for entry in library.recent() if entry.name == "Fields joined"]
    joined = Project.open(entry.folder)
    assert joined.years == [2023, 2024]
    assert len(joined.log.labels) == 64
    assert any("Tessera Studio test + AlphaEarth 1" in text.value.replace("\\", "") for text in app.markdown)
    _open(app, joined)
    run_until(app, lambda: _compared(app))
    assert _errors(app) == []


def test_seasons_join_and_the_page_label_says_how_much_they_count(app: AppTest, years: Project, tmp_path: Path) -> None:
    _open(app, years, "join")
    assert "the seasons of this year" not in app.selectbox(key="compare_join_second").options
    ref = years.embeddings[2023]
    tile = season_tile(ref.grid)
    days = {"doys": tile.doys, "doys_asc": tile.doys_asc, "doys_desc": tile.doys_desc}
    write_tile(
        tmp_path / "tile",
        bands=tile.bands,
        masks=tile.masks,
        sar_asc=tile.sar_asc,
        sar_desc=tile.sar_desc,
        grid=ref.grid,
        meta={"year": 2023},
        **days,
    )
    years.attach_embeddings(2023, ref.path, ref.provenance, ref.grid, dpixels=tmp_path / "tile")
    app.run()
    app.selectbox(key="compare_join_first").set_value(2023).run()
    app.selectbox(key="compare_join_second").set_value("the seasons of this year").run()
    assert any("monthly medians" in text.value for text in app.caption)
    next(button for button in app.button if button.label == "Join them").click().run()
    run_until(app, lambda: len(app.success) > 0)
    assert _errors(app) == []
    assert app.dataframe[0].value["Embeddings"].tolist() == ["Tessera Studio test", "seasonal statistics"]
    next(button for button in app.button if button.label == "Open it as a region").click().run()
    (entry,) = [entry for entry in library.recent() if entry.name == "Fields joined"]
    joined = Project.open(entry.folder)
    assert joined.years == [2023]
    # Its seasons are in it already.
    _open(app, joined, "join")
    assert app.selectbox(key="compare_join_second").options == ["a folder or file", RASTERS]

    app.session_state[f"label_method_{joined.key}"] = True
    app.switch_page("pages/label.py").run()
    assert _errors(app) == []
    raster = EmbeddingRaster.open(joined.embeddings_path(2023))
    said = learnt(fit_labels(joined.log.labels, raster, head_choice(joined)), raster.provenance)
    assert "seasonal statistics" in said
    assert said in [text.value for text in app.caption]


def test_other_rasters_join_by_a_stated_rule_and_are_layers_of_explore(
    app: AppTest, years: Project, tmp_path: Path
) -> None:
    grid = years.embeddings[2024].grid
    rows, cols = np.mgrid[:192, :192]
    # Twice as fine as the embeddings; and classes on their very pixels.
    fine = replace(grid, transform=grid.transform @ grid.transform.scale(0.5), shape=(192, 192))
    height, soils = (rows + 3.0 * cols).astype(np.float32), (1 + (rows[:96, :96] > 40)).astype(np.uint8)
    for name, values, where in (("dem", height, fine), ("soils", soils, grid)):
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", width=values.shape[1], height=values.shape[0], count=1,
            dtype=values.dtype, crs=str(grid.crs), transform=where.transform,
        ) as file:  # fmt: skip
            file.write(values, 1)
    _open(app, years, "join")
    app.selectbox(key="compare_join_second").set_value(RASTERS).run()
    assert next(button for button in app.button if button.label == "Join them").disabled
    files = [(f"{name}.tif", (tmp_path / f"{name}.tif").read_bytes(), "image/tiff") for name in ("dem", "soils")]
    uploader = app.file_uploader(key=f"compare_join_rasters_{years.key}")
    uploader.set_value(files).run()
    next(box for box in app.selectbox if box.label == "soils.tif").set_value("classes").run()
    next(button for button in app.button if button.label == "Join them").click().run()
    run_until(app, lambda: len(app.success) > 0)
    assert _errors(app) == []
    assert app.dataframe[1].value["Onto the grid"].tolist() == ["averaged", "as it is", "as it is"]
    next(button for button in app.button if button.label == "Open it as a region").click().run()
    assert _errors(app) == []
    (entry,) = [entry for entry in library.recent() if entry.name == "Fields joined"]
    raster = EmbeddingRaster.open(Project.open(entry.folder).embeddings_path(2024))
    dem, classes = shown_layers(raster.provenance)
    assert (dem.title, classes.title, classes.codes) == ("dem", "soils", (1, 2))
    wanted = height.reshape(96, 2, 96, 2).mean((1, 3))
    # Rounded to int8 twice.
    assert np.nanmedian(np.abs(dem.values(raster) - wanted)) < 0.05 * wanted.std()
    np.testing.assert_array_equal(classes.values(raster)[raster.valid()] + 1, soils[raster.valid()])
    sent = [payload.unpack(e.proto.bytes)[0] for e in app.get("bidi_component") if e.proto.bytes]
    titles = {one["title"] for message in sent for one in message.get("layers", ())}
    assert {"dem", "soils"} <= titles
    # One is chosen beside the map, and is the one that lies on it.
    app.switch_page("pages/explore.py").run()
    box = next(one for one in app.selectbox if one.label == "On the map")
    assert box.options == ["Embedding picture", "dem", "soils"]
    for title in ("dem", "soils"):
        next(one for one in app.selectbox if one.label == "On the map").set_value(title).run()
        sent = [payload.unpack(e.proto.bytes)[0] for e in app.get("bidi_component") if e.proto.bytes]
        layers = next(message["layers"] for message in sent if "layers" in message)
        assert [one["title"] for one in layers if one["on"]] == [title]
    assert any(one.value == "soils: classes of another raster (as it is)." for one in app.caption)
    # The next region can be joined as this one was, so that a head of the one maps the other.
    _open(app, years, "join")
    app.selectbox(key="compare_join_second").set_value(RASTERS).run()
    assert app.selectbox(key=f"compare_join_like_{years.key}").options == ["Fields joined"]


def test_strangers_may_not_name_folders(app: AppTest, years: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from tessera_core.ui import state

    for year, ref in years.embeddings.items():
        own = shutil.copytree(ref.path, years.folder / "data" / str(year))
        years.attach_embeddings(year, own, ref.provenance, ref.grid)
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    app.query_params["project"] = state.key_of(years.folder)
    app.session_state["compare_part"] = "join"
    app.run()
    app.switch_page("pages/compare.py").run()
    assert _errors(app) == []
    assert app.selectbox(key="compare_join_second").options == ["2023", RASTERS]
    assert app.selectbox(key="compare_join_second").value == 2023
