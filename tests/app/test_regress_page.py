"""The page Continuous map without a browser: plots by file, by click and as examples; map, score and files; no traceback."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from streamlit.testing.v1 import AppTest

from tessera_core.cli import main
from tessera_core.grid import Grid
from tessera_core.heads import REGRESSION_HEADS
from tessera_core.labels.plots import plots_of, values_of
from tessera_core.project import library, regress
from tessera_core.project.project import Project
from tessera_core.project.regress import chosen_measure
from tessera_core.session import payload
from tessera_core.ui import files
from tessera_core.ui.regress import plots
from tessera_core.ui.regress.context import RegressContext
from tessera_core.ui.regress.files import map_files
from tessera_core.ui.scene import open_scene
from tests.factories import CONTINUOUS_GRID, continuous_world
from tests.waiting import PATIENCE_S, run_until


@pytest.fixture
def field_work(home: Path, tmp_path: Path) -> Project:
    """A project whose embeddings know a number."""
    continuous_world()[0].save(tmp_path / "field work" / "2024")
    return library.start(library.identify(str(tmp_path / "field work")), "Field work")


def sheet(**columns: Any) -> bytes:
    """A table of 60 plots in degrees, with ``height_m`` unless other columns are given."""
    rng = np.random.default_rng(4)
    rows, cols = rng.integers(14, CONTINUOUS_GRID.height - 2, (2, 60))
    lon, lat = CONTINUOUS_GRID.pixel_to_lonlat(rows + 0.5, cols + 0.5)
    columns = columns or {"height_m": [f"{v:.2f}".replace(".", ",") for v in continuous_world()[1][rows, cols]]}
    lines = [";".join(["plot_id", "lat", "lon", *columns])]
    for n in range(60):
        lines.append(
            ";".join([str(n), f"{lat[n]:.7f}", f"{lon[n]:.7f}", *(str(c[n % len(c)]) for c in columns.values())])
        )
    return "\n".join(lines).encode()


def errors(app: AppTest) -> list[str]:
    return [error.value for error in app.error] + [str(exception.value) for exception in app.exception]


def told(app: AppTest) -> str:
    text = " ".join(element.value for element in (*app.markdown, *app.caption, *app.info, *app.warning))
    return text.replace("\\", "")


def sent(app: AppTest) -> dict[str, tuple[dict[str, Any], bytes]]:
    found = {}
    for element in app.get("bidi_component"):
        if element.proto.bytes:
            header, body = payload.unpack(element.proto.bytes)
            found[header.get("name", header["kind"])] = (header, body)
    return found


def key(project: Project, name: str) -> str:
    return f"continuous_{name}_{project.key}"


def open_page(app: AppTest, project: Project) -> AppTest:
    app.query_params["project"] = project.folder.name
    app.run()
    return app.switch_page("pages/continuous.py").run()


def upload(app: AppTest, project: Project, content: bytes, name: str = "plots.csv") -> AppTest:
    box = app.file_uploader(key=key(project, "file"))
    return box.upload(name, content, "text/csv").run()


def values(project: Project) -> list[float]:
    project.refresh()
    measure = chosen_measure(project)
    return [] if measure is None else values_of(plots_of(project.plots, measure.id)).tolist()


def mapped(project: Project) -> str:
    """What the project maps now."""
    project.refresh()
    measure = chosen_measure(project)
    assert measure is not None
    return measure.name


def test_without_a_project_the_page_says_where_to_go(app: AppTest) -> None:
    app.run()
    app.switch_page("pages/continuous.py").run()
    assert errors(app) == []
    assert "Open a region first" in app.info[0].value


def test_a_sheet_with_decimal_commas_becomes_a_map_at_once(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    assert errors(app) == []
    assert [layer["name"] for layer in sent(app)["map"][0]["layers"]] == ["pca"]
    upload(app, field_work, sheet())
    assert errors(app) == []
    header = sent(app)["map"][0]
    names = {layer["name"]: layer for layer in header["layers"]}
    assert list(names) == ["pca", "value", "margin", "guess"]
    assert (names["value"]["title"], names["value"]["scale"]["unit"]) == ("height", "m")
    assert len(names["value"]["scale"]["colours"]) == 254
    assert names["margin"]["scale"]["sign"] == "± "
    assert not names["guess"]["on"]
    assert len(header["markers"]) == 60
    assert {metric.label for metric in app.metric} == {"Differences explained (R²)", "Typically off by"}
    assert float(app.metric[0].value) > 0.6
    text = told(app)
    assert "60 plots of height added from plots.csv" in text
    assert "60 numbers with a decimal comma read" in text
    assert "Random split" in text
    assert len(values(field_work)) == 60
    assert field_work.plots.label_class(1).code == "m"


def test_the_files_equal_those_of_the_command_line(
    app: AppTest, field_work: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_page(app, field_work)
    upload(app, field_work, sheet())
    (tmp_path / "plots.csv").write_bytes(sheet())
    embeddings = field_work.embeddings_path(2024)
    words = ["map", embeddings, "--labels", tmp_path / "plots.csv", "--field", "height_m", "--head", "ridge-regression"]
    words += ["--out", tmp_path / "v.tif", "--margin", tmp_path / "m.tif"]
    assert main([str(word) for word in words]) == 0
    field_work.refresh()
    items = {item.button: item for item in map_files(field_work, open_scene(embeddings), 2024)}
    for button, theirs in (("Values (.tif)", "v.tif"), ("Margins (.tif)", "m.tif")):
        ours = tmp_path / f"ours-{theirs}"
        ours.write_bytes(files.build(items[button]))
        with rasterio.open(ours) as one, rasterio.open(tmp_path / theirs) as other:
            np.testing.assert_array_equal(one.read(1), other.read(1))
            assert (one.crs, one.transform, one.units) == (other.crs, other.transform, other.units)
            assert np.isnan(one.nodata)
            assert np.isnan(other.nodata)
    capsys.readouterr()
    # And the score is that of the command line, too.
    words = [
        "evaluate",
        embeddings,
        "--labels",
        tmp_path / "plots.csv",
        "--field",
        "height_m",
        "--head",
        "ridge-regression",
    ]
    assert main([*map(str, words), "--split", "blocked", "--folds", "5", "--json"]) == 0
    assert f"{json.loads(capsys.readouterr().out)['r2']:.2f}" == app.metric[0].value


def test_the_page_export_offers_the_same_files(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    upload(app, field_work, sheet())
    on_page = {button.proto.label for button in app.get("download_button")}
    app.switch_page("pages/export.py").run()
    assert errors(app) == []
    assert "The map of a number" in [head.value for head in app.header]
    styles = {"Value colours (.qml)", "Margin colours (.qml)"}
    pictures = {"Picture (.png)", "Page (.pdf)"}
    files = {"Continuous map for QGIS (.zip)", "Values (.tif)", "Margins (.tif)", "Plots (.gpkg)"}
    assert on_page == files | styles | pictures
    assert on_page <= {button.proto.label for button in app.get("download_button")}


def test_several_columns_are_asked_about(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    numbers = {
        "cover_pct": [str(n) for n in range(60)],
        "biomass (t/ha)": [str(2 * n) for n in range(60)],
        "tree": ["oak"],
    }
    upload(app, field_work, sheet(**numbers))
    assert errors(app) == []
    assert values(field_work) == []
    (field,) = [box for box in app.selectbox if box.label == "Which number"]
    assert field.options[0] == "cover_pct: 60 numbers, 0 to 59"
    assert {option.partition(":")[0] for option in field.options} == {"cover_pct", "biomass (t/ha)", "plot_id"}
    field.set_value("biomass (t/ha)").run()
    next(button for button in app.button if button.label == "Use these 60 plots").click().run()
    assert errors(app) == []
    assert sorted(values(field_work)) == [2.0 * n for n in range(60)]
    assert mapped(field_work) == "biomass"
    # The other one is kept beside it, and each can be looked at.
    (field,) = [box for box in app.selectbox if box.label == "Which number"]
    field.set_value("cover_pct").run()
    next(button for button in app.button if button.label == "Use these 60 plots").click().run()
    assert mapped(field_work) == "cover"
    app.selectbox(key=key(field_work, "measure")).set_value(1).run()
    assert errors(app) == []
    assert mapped(field_work) == "biomass"


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"tree": ["oak", "ash"]}, "plot_id"),
        ({"height": ["tall", "short"]}, "plot_id"),
        ({"height": ["nan", "inf", ""]}, "plot_id"),
        ({"height": ["5"]}, "the same number, 5"),
        ({"height": ["5", "n/a", "-9999"]}, "the same number, 5"),
        ({"height": ["5", "6"] + [""] * 58}, "three plots at least; there are 2"),
    ],
)
def test_poor_numbers_are_told_in_a_sentence(
    app: AppTest, field_work: Project, columns: dict[str, Any], says: str
) -> None:
    open_page(app, field_work)
    upload(app, field_work, sheet(**columns))
    assert errors(app) == []
    shown = told(app) + " ".join(option for box in app.selectbox for option in box.options)
    assert says in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "p.csv", "empty"),
        (b"a;b\n1;2\n", "p.csv", "no columns of coordinates"),
        (b"\x00\x01\x02", "p.csv", "not a text file"),
        (b"{", "p.geojson", "p.geojson"),
        (b'{"type": "FeatureCollection", "features": []}', "p.geojson", "no places"),
        (b"PK\x03\x04rubbish", "p.zip", "zip"),
        (b"rubbish", "p.gpkg", "not a readable .gpkg file"),
        (b"lat;lon;tree\n52;3;oak\n", "p.csv", "no numbers beside them"),
    ],
)
def test_files_that_are_none_are_one_sentence(
    app: AppTest, field_work: Project, content: bytes, name: str, says: str
) -> None:
    open_page(app, field_work)
    upload(app, field_work, content, name)
    assert errors(app)
    assert says in " ".join(errors(app))
    assert all("unforeseen" not in error and "Traceback" not in error for error in errors(app))
    assert values(field_work) == []


def test_a_map_of_nothing_is_grey_and_says_so_above_it(app: AppTest, field_work: Project) -> None:
    """Numbers drawn by chance: the legend has the range of the plots, the map no colours, and the file cannot be added twice."""
    open_page(app, field_work)
    noise = np.random.default_rng(1).uniform(2, 30, 60)
    upload(app, field_work, sheet(height_m=[f"{v:.2f}" for v in noise]))
    assert errors(app) == []
    assert any("This map says nothing yet" in warning.value for warning in app.warning)
    layer = next(one for one in sent(app)["map"][0]["layers"] if one["name"] == "value")
    low, high = layer["scale"]["low"], layer["scale"]["high"]
    assert (low, high) == pytest.approx(tuple(np.percentile(noise, (2, 98))), abs=0.02)
    assert all(colour[1:3] == colour[3:5] == colour[5:7] for colour in layer["scale"]["colours"])
    assert next(button for button in app.button if button.label == "These plots are in").disabled


def test_plots_elsewhere_are_told(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    upload(app, field_work, b"lat;lon;height\n-33;151;5\n-33.1;151;6\n-33.2;151;7\n")
    assert errors(app) == []
    assert "No plot of p" in told(app)
    assert "3 skipped: outside the region" in told(app)
    assert "They lie" in told(app)
    assert "Australia" in told(app)
    assert any(button.label == "Open that place" for button in app.button)


def test_swapped_axes_and_other_coordinates_are_found(app: AppTest, field_work: Project) -> None:
    rng = np.random.default_rng(0)
    rows, cols = rng.integers(14, CONTINUOUS_GRID.height - 2, (2, 30))
    x, y = CONTINUOUS_GRID.pixel_to_xy(rows + 0.5, cols + 0.5)
    lon, lat = CONTINUOUS_GRID.pixel_to_lonlat(rows + 0.5, cols + 0.5)
    open_page(app, field_work)
    table = "lat;lon;height\n" + "\n".join(f"{a};{b};{n}" for n, (a, b) in enumerate(zip(lon, lat, strict=True)))
    upload(app, field_work, table.encode(), "swapped.csv")
    assert sorted(values(field_work)) == list(range(30))
    assert "swapped" in told(app)
    app.session_state[key(field_work, "bring")] = True
    app.run()
    table = "x;y;depth\n" + "\n".join(f"{a};{b};{n}" for n, (a, b) in enumerate(zip(x, y, strict=True)))
    upload(app, field_work, table.encode(), "metres.csv")
    assert errors(app) == []
    assert sorted(values(field_work)) == list(range(30))


def test_a_click_and_a_number_make_a_plot(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    for n, (row, col) in enumerate(((20.5, 30.5), (40.5, 50.5), (60.5, 20.5), (70.5, 70.5))):
        app.session_state[key(field_work, "chosen")] = ("place", (row, col))
        app.run()
        if n == 0:
            app.text_input(key=key(field_work, "new_name")).input("height")
            app.text_input(key=key(field_work, "new_unit")).input("m")
        app.text_input(key=key(field_work, "new_value")).input(f"{10 + n},5")
        next(button for button in app.button if button.label == "Add plot").click().run()
        assert errors(app) == []
        assert values(field_work) == [10.5 + k for k in range(n + 1)]
    assert field_work.plots.label_class(1).code == "m"
    (plot,) = [p for p in plots_of(field_work.plots, 1) if p.value == 10.5]
    rows, cols = CONTINUOUS_GRID.xy_to_pixel(*np.array(plot.label.xy).T)
    assert (rows[0], cols[0]) == (pytest.approx(20.5), pytest.approx(30.5))
    assert "value" in sent(app)
    assert "cannot be told from 4 plots" in told(app)


@pytest.mark.parametrize(("typed", "says"), [("tall", "no number"), ("", "Type the number"), ("nan", "no number")])
def test_a_typed_text_is_refused_and_nothing_is_made(app: AppTest, field_work: Project, typed: str, says: str) -> None:
    open_page(app, field_work)
    app.session_state[key(field_work, "chosen")] = ("place", (20.5, 30.5))
    app.run()
    app.text_input(key=key(field_work, "new_name")).input("height")
    app.text_input(key=key(field_work, "new_value")).input(typed)
    next(button for button in app.button if button.label == "Add plot").click().run()
    assert says in errors(app)[0]
    field_work.refresh()
    assert field_work.plots.classes == []


def test_a_plot_is_changed_removed_and_brought_back(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    upload(app, field_work, sheet())
    field_work.refresh()
    plot = plots_of(field_work.plots, 1)[5]
    app.session_state[key(field_work, "chosen")] = ("plot", plot.label.id)
    app.run()
    assert "A map that has not seen this plot says" in told(app)
    app.text_input(key=key(field_work, f"value_{plot.label.id}_{plot.value!r}")).input("99,5")
    next(button for button in app.button if button.label == "Change").click().run()
    assert errors(app) == []
    assert values(field_work)[5] == 99.5
    next(button for button in app.button if button.label == "Remove plot").click().run()
    assert len(values(field_work)) == 59
    app.session_state[key(field_work, "bring")] = True
    app.run()
    for _ in range(2):
        app.button(key=key(field_work, "undo")).click().run()
    assert values(field_work)[5] == plot.value
    app.button(key=key(field_work, "clear")).click().run()
    assert errors(app) == []
    assert values(field_work) == []
    app.button(key=key(field_work, "undo")).click().run()
    assert len(values(field_work)) == 60


def test_the_table_changes_and_removes_plots(
    app: AppTest, field_work: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_page(app, field_work)
    upload(app, field_work, sheet())
    field_work.refresh()
    context = RegressContext.of(field_work, 2024)
    edited = {"edited_rows": {"3": {"height": 1.25}, "4": {"Error": 7}}, "deleted_rows": [0, 59], "added_rows": []}
    monkeypatch.setattr(plots.st, "session_state", {"table": edited})
    plots._edited(context, "table")
    before = [plot.value for plot in context.plots]
    assert values(field_work) == [*before[1:3], 1.25, *before[4:59]]


def test_areas_are_drawn_as_such(app: AppTest, field_work: Project) -> None:
    features = []
    for n in range(20):
        row, col = 14 + 16 * (n // 5), 4 + 18 * (n % 5)
        rows, cols = np.array([0, 0, 4, 4, 0]) + row, np.array([0, 4, 4, 0, 0]) + col
        ring = np.column_stack(CONTINUOUS_GRID.pixel_to_lonlat(rows, cols)).tolist()
        shape = {"type": "Polygon", "coordinates": [ring]}
        value = float(continuous_world()[1][row : row + 4, col : col + 4].mean())
        features.append({"type": "Feature", "geometry": shape, "properties": {"yield_t_ha": value, "farm": "a"}})
    open_page(app, field_work)
    content = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    upload(app, field_work, content, "fields.geojson")
    assert errors(app) == []
    header = sent(app)["map"][0]
    assert (len(header["markers"]), len(header["outlines"])) == (0, 20)
    assert "20 plots." in told(app)
    assert header["layers"][1]["scale"]["unit"] == "t/ha"
    field_work.refresh()
    app.session_state[key(field_work, "chosen")] = ("plot", field_work.plots.labels[0].id)
    app.run()
    assert errors(app) == []
    assert len(sent(app)["map"][0]["markers"]) == 1


def test_a_region_without_a_place_on_earth(app: AppTest, home: Path, tmp_path: Path) -> None:
    raster, truth = continuous_world()
    replace(raster, grid=Grid.local(raster.shape)).save(tmp_path / "strip" / "2024")
    project = library.start(library.identify(str(tmp_path / "strip")), "Strip")
    rows, cols = np.random.default_rng(4).integers(14, CONTINUOUS_GRID.height - 2, (2, 60))
    table = "row,col,height\n" + "\n".join(f"{r},{c},{truth[r, c]:.2f}" for r, c in zip(rows, cols, strict=True))
    open_page(app, project)
    upload(app, project, table.encode())
    assert errors(app) == []
    assert float(app.metric[0].value) > 0.6
    assert len(sent(app)["map"][0]["markers"]) == 60
    app.session_state[key(project, "bring")] = True
    app.session_state[key(project, "chosen")] = ("place", (40.5, 40.5))
    app.run()
    assert errors(app) == []
    assert "Nine of ten" in told(app)


def test_something_else_is_measured_beside_it(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    upload(app, field_work, sheet())
    app.selectbox(key=key(field_work, "measure")).set_value(0).run()
    assert errors(app) == []
    assert "value" not in sent(app)
    app.session_state[key(field_work, "chosen")] = ("place", (40.5, 40.5))
    app.run()
    app.text_input(key=key(field_work, "new_name")).input("depth_cm")
    app.text_input(key=key(field_work, "new_value")).input("3")
    next(button for button in app.button if button.label == "Add plot").click().run()
    assert errors(app) == []
    assert mapped(field_work) == "depth"
    assert values(field_work) == [3]
    assert "three plots at least; there is one" in told(app)
    app.selectbox(key=key(field_work, "measure")).set_value(1).run()
    assert "value" in sent(app)


def test_looking_about_computes_nothing(app: AppTest, field_work: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    for name in ("map_plots", "score_plots"):
        real = getattr(regress, name)

        def counted(*args: Any, real: Any = real, name: str = name, **options: Any) -> Any:
            runs.append(name)
            return real(*args, **options)

        monkeypatch.setattr(f"tessera_core.ui.regress.context.{name}", counted)
    open_page(app, field_work)
    upload(app, field_work, sheet())
    assert sorted(runs) == ["map_plots", "score_plots"]
    before = {name: body for name, (_, body) in sent(app).items()}
    app.toggle(key=key(field_work, "grey")).set_value(True).run()
    after = sent(app)
    assert {layer["name"] for layer in after["map"][0]["layers"] if layer["on"]} >= {"value", "guess"}
    assert after["guess"][1] == before["guess"]
    app.session_state[key(field_work, "by")] = "Error"
    app.run()
    colours = {marker[4] for marker in sent(app)["map"][0]["markers"]}
    assert colours != {marker[4] for marker in after["map"][0]["markers"]}
    assert "too little" in str(sent(app)["map"][0]["layers"])
    app.session_state[key(field_work, "chosen")] = ("place", (40.5, 40.5))
    app.run()
    assert "Nine of ten plots would lie between" in told(app)
    field_work.refresh()
    field_work.plots.edit_class(1, name="Tree height")
    app.run()
    assert errors(app) == []
    assert sorted(runs) == ["map_plots", "score_plots"]


def test_a_slow_method_runs_behind_and_can_be_cancelled(
    app: AppTest, field_work: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tessera_core.ui import jobs

    begun, go_on = threading.Event(), threading.Event()

    class Slow(REGRESSION_HEADS["forest-regression"]):  # type: ignore[misc,name-defined]
        def __init__(self, n_estimators=20, max_depth=None, min_samples_leaf=2, seed=0):  # type: ignore[no-untyped-def]
            super().__init__(n_estimators, max_depth, min_samples_leaf, seed)

        def _fit(self, X, y, weight):  # type: ignore[no-untyped-def]
            begun.set()
            go_on.wait(PATIENCE_S)
            super()._fit(X, y, weight)

    monkeypatch.setitem(REGRESSION_HEADS, "forest-regression", Slow)
    open_page(app, field_work)
    upload(app, field_work, sheet())
    app.radio(key=key(field_work, "head")).set_value("forest-regression").run()
    assert field_work.refresh() or field_work.settings.regression_head == "forest-regression"
    assert begun.wait(PATIENCE_S)
    assert errors(app) == []
    assert "Making the map: Random forest" in told(app)
    assert "value" not in sent(app)
    (job,) = [job for job in jobs._pool()._jobs.values() if job.active]
    job.cancel()
    go_on.set()
    assert job.wait(PATIENCE_S)
    app.run()
    assert "value" not in sent(app)
    next(button for button in app.button if button.label == "Try again").click().run()
    run_until(app, lambda: app.metric)
    assert errors(app) == []
    assert "value" in sent(app)
    assert app.metric


def test_examples_need_the_satellite_data(app: AppTest, field_work: Project) -> None:
    open_page(app, field_work)
    assert "Try with example plots" not in [button.label for button in app.button]
    assert "click the map where you measured" in told(app)


def test_a_reloaded_page_has_everything(app: AppTest, field_work: Project, root: Path) -> None:
    open_page(app, field_work)
    upload(app, field_work, sheet())
    again = AppTest.from_file(str(root / "app.py"), default_timeout=60)
    again.query_params["project"] = field_work.folder.name
    again.run()
    again.switch_page("pages/continuous.py").run()
    assert errors(again) == []
    assert len(sent(again)["map"][0]["markers"]) == 60
