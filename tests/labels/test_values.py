"""Labels that are numbers, from vector files and tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tessera_core.assess.evaluate import CrossValidation
from tessera_core.assess.regression import (
    RegressionSamples,
    evaluate_regression,
    judge_regression,
    map_r2,
    read_regression_samples,
    regression_samples,
    regression_scores,
    regression_sentence,
)
from tessera_core.errors import LabelError
from tessera_core.heads import make_regression_head
from tessera_core.labels.model import Label
from tessera_core.labels.values import name_and_unit, parse_number, read_value_plots, read_values, value_fields
from tests.factories import make_grid, make_raster

GRID = make_grid((40, 40))


def plots(path, **columns):
    features = []
    for n in range(12):
        x, y = 500055 + 30 * n, 5599900 - 20 * n
        properties = {name: values[n] for name, values in columns.items()}
        features.append(
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": properties}
        )
    crs = {"type": "name", "properties": {"name": "EPSG:32631"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def test_the_only_field_of_numbers_is_taken(tmp_path):
    values = [1.5 * n for n in range(12)]
    values[3] = None
    path = plots(tmp_path / "p.geojson", id=list(range(12)), height=values, who=["a"] * 12)
    labels, numbers = read_values(path, GRID)
    assert numbers.tolist() == [v for v in values if v is not None]
    assert {label.kind for label in labels} == {"point"}
    found = read_regression_samples(path, GRID)
    assert sorted(found.values) == sorted(numbers)


def test_more_numbers_than_classes_are_no_trouble(tmp_path):
    lines = [f"{500005 + 10 * (n % 40)},{5599995 - 10 * (n // 40)},{n / 7}" for n in range(600)]
    (tmp_path / "p.csv").write_text("x,y,mass\n" + "\n".join(lines) + "\n")
    found = read_regression_samples(tmp_path / "p.csv", GRID)
    assert len(found.values) == 600
    np.testing.assert_allclose(found.values, (found.rows * 40 + found.cols) / 7)


def test_which_field_has_to_be_said_where_several_would_do(tmp_path):
    path = plots(tmp_path / "p.geojson", height=list(range(12)), volume=list(range(12)), who=["a"] * 12)
    with pytest.raises(LabelError, match=r"2 fields of numbers \(height, volume\)"):
        read_values(path, GRID)
    assert read_values(path, GRID, "volume")[1].tolist() == list(range(12))
    with pytest.raises(LabelError, match=r"'who' of p\.geojson holds no numbers"):
        read_values(path, GRID, "who")
    with pytest.raises(LabelError, match="no field 'mass'"):
        read_values(path, GRID, "mass")


def test_rasters_of_numbers_are_laid_on_the_grid(tmp_path):
    values = np.full((40, 40), np.nan)
    values[5:8, 6:9] = np.arange(9).reshape(3, 3) / 2
    np.save(tmp_path / "v.npy", values)
    found = read_regression_samples(tmp_path / "v.npy", GRID)
    np.testing.assert_array_equal(values[found.rows, found.cols], found.values)
    np.save(tmp_path / "w.npy", np.full((40, 40), np.nan))
    with pytest.raises(LabelError, match="no number in this region"):
        read_regression_samples(tmp_path / "w.npy", GRID)


def test_scores_by_hand():
    scores = regression_scores(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, np.nan]), np.array([0.1, 0.1, 0.1, 0.1]))
    assert (scores["r2"], scores["rmse"], scores["n_test"], scores["coverage"]) == (1, 0, 3, 1)
    scores = regression_scores(np.array([0.0, 2]), np.array([1.0, 1]), np.array([0.5, 2]))
    assert scores == {"r2": 0, "rmse": 1, "mae": 1, "bias": 0, "n_test": 2, "coverage": 0.5}


def test_the_blocked_score_is_not_flattered_by_neighbours():
    """Numbers that vary smoothly by chance: a random split claims to know them, blocks of ground show that it does not."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    shape = (64, 64)
    x = np.stack([gaussian_filter(rng.normal(size=shape), 6) for _ in range(24)], -1)
    x = x / x.std() + 0.05 * rng.normal(size=x.shape)
    raster = make_raster(x)
    chance = gaussian_filter(rng.normal(size=shape), 6)
    rows, cols = (a.ravel()[::9] for a in np.indices(shape))
    samples = RegressionSamples(chance[rows, cols] / chance.std(), np.arange(len(rows)), rows, cols).with_embeddings(
        raster
    )
    result = evaluate_regression(samples, make_regression_head("ridge-regression"), CrossValidation("blocked"))
    assert result["naive"]["r2"] > result["r2"] + 0.2
    assert "A random split would have claimed" in regression_sentence(result)
    with pytest.raises(LabelError, match="no split"):
        evaluate_regression(samples, make_regression_head("ridge-regression"), CrossValidation("odd"))
    with pytest.raises(LabelError, match="in 1 of them"):
        evaluate_regression(samples, make_regression_head("ridge-regression"), CrossValidation("blocked", block_px=100))


@pytest.mark.parametrize(
    ("typed", "number", "grouped"),
    [
        ("12,5", 12.5, 12.5),
        ("1 234,5", 1234.5, 1234.5),
        ("1.234,5", 1234.5, 1234.5),
        ("1,234.5", 1234.5, 1234.5),
        ("1,234", 1.234, 1234),
        ("35 %", 35, 35),
        ("−3", -3, -3),
        ("1e3", 1000, 1000),
        (4, 4, 4),
        *(
            (bad, None, None)
            for bad in ("", "tall", "nan", "inf", "1_000", "1,2,3", "1.2.3", None, True, float("inf"), [])
        ),
    ],
)
def test_numbers_as_people_write_them(typed, number, grouped):
    assert parse_number(typed) == number
    assert parse_number(typed, grouped=True) == grouped


@pytest.mark.parametrize(
    ("field", "name", "unit"),
    [
        ("height_m", "height", "m"),
        ("Canopy height (m)", "Canopy height", "m"),
        ("agb_t_ha", "agb", "t/ha"),
        ("yield t/ha", "yield", "t/ha"),
        ("soc_g_kg", "soc", "g/kg"),
        ("cover_pct", "cover", "%"),
        ("Höhe [m]", "Höhe", "m"),
        ("height", "height", ""),
        ("m", "m", ""),
        ("(m)", "(m)", ""),
        ("a_b_c", "a_b_c", ""),
    ],
)
def test_columns_often_end_in_their_unit(field, name, unit):
    assert name_and_unit(field) == (name, unit)


def messy(path):
    """A spreadsheet from a computer with decimal commas, as field sheets are."""
    cells = ["10,5", "12", "n/a", "-9999", "tall", "14,25", ""]
    places = [f"5000{n}5,0;5599905,0" for n in range(1, 8)]
    rows = [f"{n};{place};{cell};oak" for n, (place, cell) in enumerate(zip(places, cells, strict=True), 1)]
    path.write_text("plot_id;x;y;canopy height (m);tree\n" + "\n".join([*rows, "9;900000,0;5599905,0;3,5;oak"]) + "\n")
    return path


def test_a_messy_sheet_is_read_with_a_report(tmp_path):
    (field,) = [one for one in value_fields(messy(tmp_path / "sheet.csv")) if one.likely]
    assert (field.name, field.count, field.low, field.high) == ("canopy height (m)", 4, 3.5, 14.25)
    found = read_value_plots(tmp_path / "sheet.csv", GRID)
    assert found.values.tolist() == [10.5, 12, 14.25]
    report = found.report
    assert (report.read, report.labels, report.outside) == (8, 3, 1)
    told = " ".join(report.skipped)
    assert "3 skipped: no number in 'canopy height (m)'" in told
    assert "1 skipped: -9999" in told
    assert "outside the region" in told
    assert report.repaired == ["3 numbers with a decimal comma read"]
    assert "Not taken for numbers: 'n/a', 'tall'." in report.notes


def test_points_make_commas_groups(tmp_path):
    (tmp_path / "p.csv").write_text('x,y,mass\n500015,5599905,"1,250"\n500025,5599905,0.5\n')
    assert read_value_plots(tmp_path / "p.csv", GRID).values.tolist() == [1250, 0.5]


def test_points_in_one_pixel_count_as_their_mean():
    def point(n, x, y):
        return Label(f"p{n}", 1, "point", ((x, y),))

    labels = [point(0, 500015, 5599905), point(1, 500018, 5599903), point(2, 500035, 5599905), point(3, 1, 1)]
    area = Label("a", 1, "polygon", ((500030, 5599890), (500050, 5599890), (500050, 5599910), (500030, 5599910)))
    found = regression_samples([*labels, area], np.array([10.0, 20, 30, 99, 7]), GRID)
    at = dict(zip(zip(found.rows.tolist(), found.cols.tolist(), strict=True), found.values.tolist(), strict=True))
    assert at[9, 1] == 15
    # An area painted over a point takes its pixel.
    assert {value for value in at.values()} == {15, 7}
    assert len(regression_samples([], np.zeros(0), GRID).values) == 0


def test_a_plot_of_many_pixels_counts_once():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 64, 16))
    raster = make_raster(x)
    rows, cols = (a.ravel() for a in np.indices((64, 64)))
    plot = (rows // 8) * 8 + cols // 8
    keep = (rows % 8 < 3) & (cols % 8 < 3)
    rows, cols, plot = rows[keep], cols[keep], plot[keep]
    samples = RegressionSamples(plot * 1.0, plot, rows, cols).with_embeddings(raster)
    judged = judge_regression(samples, make_regression_head("ridge-regression"), CrossValidation("blocked"))
    assert judged.result["n_test"] == 64
    assert judged.held_out.truth.tolist() == list(range(64))
    found = judged.result["map_r2"]
    assert found["low"] < found["value"] < found["high"] < 1
    # Each plot is a heap of its own, however many pixels it has.
    assert found["heaps"] == 64
    # Noise does not know the plots' numbers.
    assert judged.result["r2"] < 0.2
    json.dumps(judged.result, allow_nan=False)


def _plots(n: int, at: np.ndarray, seed: int = 1) -> RegressionSamples:
    """Plots of a number that vectors tell half of, n of them at rows and columns."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(64, 64, 8))
    values = x[..., 0] + rng.normal(size=(64, 64))
    rows, cols = at
    return RegressionSamples(values[rows, cols], np.arange(n), rows, cols).with_embeddings(make_raster(x))


def test_r2_of_the_map_itself_has_an_interval_that_narrows_with_plots_that_lie_apart():
    head, widths = make_regression_head("ridge-regression"), []
    for n in (30, 240):
        found = map_r2(_plots(n, np.divmod(np.random.default_rng(n).choice(4096, n, replace=False), 64)), head)
        assert found.low < 0.5 < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2
    # As many plots on six heaps are six things known: too few.
    corners = np.array([(0, 0), (0, 50), (25, 25), (50, 0), (50, 50), (25, 0)])
    within = np.stack(np.divmod(np.arange(40), 8), 1)
    assert map_r2(_plots(240, (corners.repeat(40, 0) + np.tile(within, (6, 1))).T), head) is None
    # On 25 heaps they are 25, and the interval is wider than that of as many plots apart.
    corners, within = (np.stack(np.divmod(np.arange(k**2), k), 1) for k in (5, 3))
    found = map_r2(_plots(225, (12 * corners.repeat(9, 0) + np.tile(within, (25, 1))).T), head)
    assert found.heaps == 25
    assert found.low < 0.5 < found.high
    assert found.high - found.low > widths[1]


def test_of_few_plots_or_equal_numbers_no_interval_is_made_up():
    head = make_regression_head("ridge-regression")
    at = np.array([(1, 60), (20, 5), (40, 33), (60, 12)]).T
    assert map_r2(_plots(4, at), head) is None
    many = _plots(30, np.divmod(np.random.default_rng(0).choice(4096, 30, replace=False), 64))
    assert map_r2(replace(many, values=np.full(30, 2.0)), head) is None
