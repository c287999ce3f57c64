"""Field plots to a map of a number: the map, how honestly it is judged, where it guesses, and the files."""

from __future__ import annotations

import json
import zipfile
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio
from scipy.ndimage import gaussian_filter

from tessera_core.assess.regression import HeldOutValues
from tessera_core.cli import main
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import ExportError, LabelError, ProjectError
from tessera_core.export.values import write_plots, write_regression_qgis
from tessera_core.heads import REGRESSION_HEADS
from tessera_core.labels.model import Label
from tessera_core.labels.plots import Plot, add_plot, measure_named, take_in
from tessera_core.project.project import Project
from tessera_core.project.regress import (
    BEYOND,
    OUTSIDE,
    REGRESSION_CHOICES,
    RegressionChoice,
    RegressionScore,
    _odd,
    chosen_measure,
    example_plots,
    guess_sentences,
    map_plots,
    place_remarks,
    plots_in,
    regression_product,
    score_plots,
)
from tessera_core.project.settings import ProjectSettings
from tests.factories import CONTINUOUS_GRID, continuous_world, make_raster

GRID = CONTINUOUS_GRID
SIZE = GRID.height


@pytest.fixture(scope="module")
def region():
    return continuous_world()


def plots_at(rows, cols, values):
    x, y = GRID.pixel_to_xy(np.asarray(rows) + 0.5, np.asarray(cols) + 0.5)
    return [
        Plot(Label(f"p{n}", 1, "point", ((float(a), float(b)),), note=repr(float(v))), float(v))
        for n, (a, b, v) in enumerate(zip(x, y, values, strict=True))
    ]


@pytest.fixture(scope="module")
def plots(region):
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(14, SIZE - 2, (2, 120))
    return plots_at(rows, cols, np.round(region[1][rows, cols] + rng.normal(0, 0.5, 120), 2))


def test_the_map_follows_the_plots_and_says_where_it_guesses(region, plots):
    raster, truth = region
    made = map_plots(plots, raster, RegressionChoice())
    inside = np.zeros(GRID.shape, bool)
    inside[14:-1] = True
    error = (made.map.values - truth)[inside]
    assert 1 - error.var() / truth[inside].var() > 0.9
    assert (np.abs(error) <= made.map.half_widths[inside]).mean() > 0.8
    assert np.isnan(made.map.values[-1]).all()
    assert (made.guesses[-1] == 0).all()
    assert (made.guesses[:12, :12] == OUTSIDE).mean() > 0.95
    assert (made.guesses[inside] == OUTSIDE).mean() < 0.15
    beyond = made.guesses == BEYOND
    assert beyond.any()
    low, high = made.range
    assert ((made.map.values[beyond] < low) | (made.map.values[beyond] > high)).all()
    told = " ".join(guess_sentences(made, "height"))
    assert "unlike any of your plots" in told
    assert f"{low:.4g}" in told


def test_a_forest_never_goes_beyond_its_plots(region, plots, monkeypatch):
    class Few(REGRESSION_HEADS["forest-regression"]):
        def __init__(self, n_estimators=20, max_depth=None, min_samples_leaf=2, seed=0):
            super().__init__(n_estimators, max_depth, min_samples_leaf, seed)

    monkeypatch.setitem(REGRESSION_HEADS, "forest-regression", Few)
    made = map_plots(plots, region[0], RegressionChoice("forest-regression", 3))
    assert made.share(BEYOND) == 0
    assert made.head.size == 3


def test_the_score_is_told_beside_a_random_split(region, plots):
    score = score_plots(plots, region[0], RegressionChoice())
    assert score.result["split"] == "blocked"
    assert score.result["r2"] > 0.8
    assert score.gap
    assert score.remarks == ()
    assert score.held_out is not None
    assert len(score.held_out.groups) >= 100
    json.dumps(score.result, allow_nan=False)


def test_neighbours_flatter_and_the_gap_is_one_sentence():
    """Numbers that vary smoothly by chance: only neighbours know them."""
    rng = np.random.default_rng(0)
    x = np.stack([gaussian_filter(rng.normal(size=(SIZE, SIZE)), 6) for _ in range(24)], -1)
    x = x / x.std() + 0.05 * rng.normal(size=x.shape)
    raster = make_raster(x, GRID)
    chance = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 6)
    rows, cols = (a.ravel() for a in np.mgrid[:64:3, :64:3])
    plots = plots_at(rows, cols, chance[rows, cols] / chance.std())
    score = score_plots(plots, raster, RegressionChoice())
    honest, naive = score.result["r2"], score.result["naive"]["r2"]
    assert naive > honest + 0.2
    assert score.gap.startswith(f"A random split would have claimed R² {naive:.2f}, {naive - honest:.2f} too much")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: [], "no plots yet"),
        (lambda p: p[:2], "three plots at least; there are 2"),
        (lambda p: [Plot(one.label, 5.0) for one in p], "the same number, 5"),
        (lambda p: plots_at([-50] * 5, [3] * 5, range(5)), "Not one plot lies"),
        (lambda p: plots_at([SIZE - 1] * 5, range(5), range(5)), "Not one plot lies"),
    ],
)
def test_what_cannot_be_mapped_is_one_sentence(region, plots, make, says):
    with pytest.raises(LabelError, match=says):
        map_plots(make(plots), region[0], RegressionChoice())


def test_too_few_plots_are_mapped_but_not_judged(region, plots):
    map_plots(plots[:4], region[0], RegressionChoice())
    score = score_plots(plots[:4], region[0], RegressionChoice())
    assert (score.result, score.held_out) == ({}, None)
    assert "cannot be told from 4 plots" in score.remarks[0]
    few = score_plots(plots[:12], region[0], RegressionChoice())
    assert few.result
    assert any("With 12 plots the score itself is hardly known" in line for line in few.remarks)


def test_plots_in_one_block_say_so(region):
    rows, cols = (a.ravel() for a in np.mgrid[32:48:2, 32:48:2])
    score = score_plots(plots_at(rows, cols, region[1][rows, cols]), region[0], RegressionChoice())
    assert score.result["split"] == "field"
    assert "All plots lie within one square of 160 m" in score.remarks[0]


def test_a_wrong_plot_is_found(region, plots):
    wrong = [*plots]
    wrong[17] = Plot(plots[17].label, plots[17].value + 200)
    score = score_plots(wrong, region[0], RegressionChoice())
    assert score.odd[0] == 17
    assert any("One plot is missed by far more" in line for line in score.remarks)


def test_steady_errors_are_not_odd():
    held = HeldOutValues(np.arange(20), np.zeros(20), np.linspace(-1, 1, 20), np.ones(20), np.arange(20))
    assert _odd(held) == ()


def test_numbers_that_are_no_measure_are_told(region, plots):
    classes = score_plots([Plot(p.label, float(p.value > 20)) for p in plots], region[0], RegressionChoice())
    assert any("only 2 different numbers" in line for line in classes.remarks)
    many = [Plot(p.label, 0.0 if n % 3 else p.value) for n, p in enumerate(plots)]
    assert any("have the same number, 0" in line for line in score_plots(many, region[0], RegressionChoice()).remarks)


def test_a_map_worse_than_the_mean_is_not_recommended(region, plots):
    rng = np.random.default_rng(3)
    score = score_plots([Plot(p.label, rng.normal()) for p in plots], region[0], RegressionChoice())
    assert score.result["r2"] <= 0
    assert "do not use it yet" in score.remarks[0]
    assert "claimed" not in score.gap


def test_plots_that_do_not_count_are_told(region):
    rows, cols = np.array([20, 20, 40, SIZE - 1, -30]), np.array([30, 30, 50, 4, 5])
    told = place_remarks(plots_at(rows, cols, range(5)), region[0])
    assert told == [
        "One plot is outside the region and so not counted.",
        "Plots that share a pixel count as one, with their mean.",
        "One plot is where the embeddings have no data, and so not counted.",
    ]
    assert place_remarks(plots_at([20], [30], [1]), region[0]) == []


def test_settings_that_are_damaged_fall_back(tmp_path):
    assert (
        RegressionChoice.from_settings(ProjectSettings(regression_head="svm", regression_neighbourhood=4))
        == RegressionChoice()
    )
    assert (
        RegressionChoice.from_settings(
            ProjectSettings(regression_head="mlp-regression", regression_neighbourhood=5)
        ).neighbourhood
        == 5
    )
    assert set(REGRESSION_CHOICES) == set(REGRESSION_HEADS)
    project = Project.create(tmp_path / "p", "P")
    assert chosen_measure(project) is None
    first, second = (measure_named(project.plots, name) for name in ("height", "biomass"))
    assert chosen_measure(project) == second
    project.update(regression_measure=first.id)
    assert chosen_measure(project) == first
    project.update(regression_measure=0)
    assert chosen_measure(project) is None
    with pytest.raises(ProjectError, match="regression_measure"):
        project.update(regression_measure="?")
    assert chosen_measure(project) is None
    project.update(regression_measure=77)
    assert chosen_measure(project) == second


def test_plots_travel_with_the_project(region, tmp_path):
    project = Project.create(tmp_path / "p", "P")
    project.attach_embeddings(2024, region[0].save(tmp_path / "e"), region[0].provenance, GRID)
    height = measure_named(project.plots, "height", "m")
    add_plot(project.plots, height.id, 500_100.0, 5_599_900.0, 7)
    again = Project.import_file(project.export_file(tmp_path / "p.tessera"), tmp_path / "q")
    assert [plot.value for plot in plots_in(again, chosen_measure(again))] == [7]
    from tessera_core.project.pack import make_pack, open_pack

    (packed,) = open_pack(make_pack([project], tmp_path / "pack"), into=tmp_path / "opened")
    assert [plot.value for plot in plots_in(packed, chosen_measure(packed))] == [7]
    add_plot(again.plots, height.id, 500_200.0, 5_599_900.0, 8)
    assert again.refresh() is False
    other = Project.open(again.folder)
    add_plot(other.plots, height.id, 500_300.0, 5_599_900.0, 9)
    assert again.refresh()
    assert [plot.value for plot in plots_in(again, chosen_measure(again))] == [7, 8, 9]


def test_examples_are_read_off_the_satellite_data(region):
    raster = region[0]
    bands = np.full((3, SIZE, SIZE, 10), 1000, np.uint16)
    bands[..., 3] = (1000 + 30 * np.arange(SIZE)[:, None] + 20 * np.arange(SIZE)).astype(np.uint16)
    masks = np.ones((3, SIZE, SIZE), np.uint8)
    none = np.zeros((0, SIZE, SIZE, 2), np.int16)
    tile = DPixelTile(
        bands, masks, np.array([160, 200, 240]), none, np.zeros(0, int), none, np.zeros(0, int), None, GRID, "t", 2024
    )
    found = example_plots(raster, tile, 100)
    assert 90 <= len(found.labels) <= 121
    rows, cols = (np.floor(v).astype(int) for v in GRID.xy_to_pixel(*np.array([lb.xy[0] for lb in found.labels]).T))
    near = bands[0, rows, cols, 3].astype(float)
    np.testing.assert_allclose(found.values, (near - 1000) / (near + 1000), atol=5e-4)
    assert example_plots(raster, tile, 100).values.tolist() == found.values.tolist()
    masks[:] = 0
    with pytest.raises(LabelError, match="saw too little"):
        example_plots(raster, tile, 100)


# ---------------------------------------------------------------------- files


@pytest.fixture
def project(region, plots, tmp_path):
    from tessera_core.labels.importing import ImportReport
    from tessera_core.labels.values import ImportedValues

    project = Project.create(tmp_path / "project", "Field work")
    project.attach_embeddings(2024, region[0].save(tmp_path / "E"), region[0].provenance, GRID)
    values = np.array([plot.value for plot in plots])
    take_in(project.plots, ImportedValues("height_m", [p.label for p in plots], values, ImportReport(120, 120)))
    square = tuple((500_000.0 + 10 * c, 5_600_000.0 - 10 * r) for r, c in ((50, 50), (50, 54), (54, 54), (54, 50)))
    measure = chosen_measure(project)
    project.plots.add("polygon", measure.id, square, note=repr(float(region[1][52, 52])))
    return project


def test_the_zip_opens_styled_and_its_plots_can_be_mapped_again(region, project, tmp_path):
    measure = chosen_measure(project)
    product = regression_product(project, measure, plots_in(project, measure), region[0], RegressionChoice())
    with zipfile.ZipFile(write_regression_qgis(tmp_path / "out", product)) as archive:
        assert set(archive.namelist()) == {
            "README.txt", "margins.qml", "margins.tif", "plots.gpkg", "project.qgz", "values.qml", "values.tif",
        }  # fmt: skip
        archive.extractall(tmp_path / "x")
    with rasterio.open(tmp_path / "x" / "values.tif") as file:
        np.testing.assert_array_equal(file.read(1), product.values)
        assert (file.descriptions, file.units) == (("height",), ("m",))
        assert file.tags()["tessera_head"] == "ridge-regression"
    with rasterio.open(tmp_path / "x" / "margins.tif") as file:
        np.testing.assert_array_equal(file.read(1), product.half_widths)
    items = ElementTree.parse(tmp_path / "x" / "values.qml").findall(".//colorrampshader/item")
    levels = [float(item.get("value")) for item in items]
    assert levels == sorted(levels)
    assert np.nanmin(product.values) <= levels[0] < levels[-1] <= np.nanmax(product.values)
    readme = (tmp_path / "x" / "README.txt").read_text(encoding="utf-8")
    assert "the 121 plots" in readme
    assert "With blocks of ground held out" in readme
    points = pyogrio.raw.read(tmp_path / "x" / "plots.gpkg", layer="plots")
    assert points[0]["fields"].tolist() == ["height", "map_unseen", "difference", "paint_order"]
    np.testing.assert_allclose(points[3][2], points[3][1] - points[3][0])
    words = ["map", tmp_path / "E", "--labels", tmp_path / "x" / "plots.gpkg", "--field", "height"]
    assert main([*map(str, words), "--head", "ridge-regression", "--out", str(tmp_path / "again.tif")]) == 0
    with rasterio.open(tmp_path / "again.tif") as file:
        np.testing.assert_allclose(file.read(1), product.values, rtol=1e-5, atol=1e-4)


def test_the_command_line_exports_the_same(region, project, tmp_path, capsys):
    words = ["export", str(project.folder), "--to", "numbers", "--out", str(tmp_path / "n.zip")]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["measure"], told["unit"], told["plots"], told["head"]) == ("height", "m", 121, "ridge-regression")
    made = map_plots(plots_in(project, chosen_measure(project)), region[0], RegressionChoice())
    with zipfile.ZipFile(tmp_path / "n.zip") as archive:
        archive.extract("values.tif", tmp_path)
    with rasterio.open(tmp_path / "values.tif") as file:
        np.testing.assert_array_equal(file.read(1), made.map.values)
    assert main(words) == 0
    assert "With blocks of ground held out" in capsys.readouterr().out
    project.plots.clear()
    project.plots.remove_class(1)
    assert main(words) == 2
    assert "no field plots" in capsys.readouterr().err


@pytest.mark.parametrize("most", [20_000, 90])
def test_every_door_maps_and_scores_the_same_number(region, project, tmp_path, capsys, monkeypatch, most):
    """The page, the zip for QGIS and the command line on its plots, also where there are more pixels than a head is taught."""
    from tessera_core.heads import training

    monkeypatch.setattr(training.training_draw, "__defaults__", (0, most))
    raster, choice = region[0], RegressionChoice()
    plots = plots_in(project, chosen_measure(project))
    page, score = map_plots(plots, raster, choice), score_plots(plots, raster, choice)
    assert (page.n_train < len(plots)) == (most == 90)

    def told(*words):
        assert main([str(word) for word in (*words, "--json")]) == 0
        return json.loads(capsys.readouterr().out)

    export = told("export", project.folder, "--to", "numbers", "--out", tmp_path / "n.zip")
    with zipfile.ZipFile(tmp_path / "n.zip") as archive:
        archive.extractall(tmp_path / "x")
    labels = ("--labels", tmp_path / "x" / "plots.gpkg", "--field", "height", "--head", "ridge-regression")
    made = told("map", tmp_path / "E", *labels, "--out", tmp_path / "v.tif", "--margin", tmp_path / "w.tif")
    assert made["n_train"] == page.n_train
    for array, files in (
        (page.map.values, (tmp_path / "x" / "values.tif", tmp_path / "v.tif")),
        (page.map.half_widths, (tmp_path / "x" / "margins.tif", tmp_path / "w.tif")),
    ):
        for name in files:
            with rasterio.open(name) as file:
                np.testing.assert_array_equal(file.read(1), array)
    scored = told("evaluate", tmp_path / "E", *labels)
    for name in ("r2", "rmse", "mae", "bias", "coverage", "n_test", "split"):
        assert scored[name] == export["score"][name] == score.result[name]
    assert scored["map_r2"] == export["score"]["map_r2"] == score.result["map_r2"]
    assert scored["map_r2"]["low"] < scored["map_r2"]["high"]
    assert tuple(scored["remarks"]) == score.remarks


def test_no_plots_no_file(region, project, tmp_path):
    measure = chosen_measure(project)
    product = regression_product(project, measure, plots_in(project, measure), region[0], RegressionChoice())
    from dataclasses import replace

    with pytest.raises(ExportError, match="no plots"):
        write_plots(tmp_path / "p", replace(product, plots=()))
    assert RegressionScore({}, None, (), ()).gap == ""
