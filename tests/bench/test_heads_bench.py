"""The race of heads: fair splits, results that survive an interruption, tables."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.bench import calibration, heads
from tessera_core.bench.calibration import measure as measure_calibration
from tessera_core.bench.sites import Site, alphaearth, belgium_medians, sites
from tessera_core.errors import InputError
from tests.factories import make_raster

ENTRIES = (
    heads.RaceEntry("ridge", "ridge", repeats=3, sizes=(3, 10)),
    heads.RaceEntry("ridge 3x3", "ridge", neighbourhood=3, repeats=3, sizes=(3, 10)),
)


def small_site() -> Site:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.repeat(rng.integers(0, 3, (6, 6)), 8, 0), 8, 1)
    x = rng.normal(size=(3, 8))[truth] + rng.normal(size=(48, 48, 8))
    raster = make_raster(x)
    rows, cols = (a.ravel() for a in np.indices((48, 48)))
    groups = rows // 8 * 6 + cols // 8
    return Site("small", "Small", raster.sample(rows, cols), truth.ravel() + 1, groups, "squares", raster, rows, cols)


@pytest.mark.parametrize("seed", range(4))
def test_no_group_is_learnt_from_and_judged_on(seed) -> None:
    site = small_site()
    pool, test = site.split(seed)
    assert not set(site.groups[pool]) & set(site.groups[test])
    assert len(pool) + len(test) == len(site.y)
    assert set(site.y[pool]) == set(site.y[test]) == {1, 2, 3}
    again = site.split(seed)
    np.testing.assert_array_equal(again[0], pool)
    counts = np.bincount(site.y[heads.draw(site.y, pool, 7, seed)])
    assert counts.tolist() == [0, 7, 7, 7]


def test_real_sites_hold_whole_fields_and_cells_out(shared) -> None:
    for site in (belgium_medians(shared / "data"), alphaearth(shared / "data")):
        for seed in range(5):
            pool, test = site.split(seed)
            assert not set(site.groups[pool]) & set(site.groups[test])
            assert set(np.unique(site.y[pool])) == set(np.unique(site.y[test])) == set(np.unique(site.y))
    with pytest.raises(InputError, match="does not hold the folder"):
        sites(shared)


def test_an_interrupted_race_goes_on_where_it_stopped(tmp_path, monkeypatch) -> None:
    state = tmp_path / "state.jsonl"
    whole = heads.measure([small_site()], ENTRIES, state)
    rows = whole["sites"]["small"]["heads"]["ridge"]["labels"]
    assert rows["3"]["repeats"] == 3
    assert rows["10"]["macro_f1"] > rows["3"]["macro_f1"] - 0.1
    assert whole["sites"]["small"]["heads"]["ridge 3x3"]["labels"]["10"]["macro_f1"] > rows["10"]["macro_f1"]
    lines = state.read_text().splitlines()
    state.write_text("\n".join(lines[:4]) + "\n" + lines[4][:20])
    calls = []
    once = heads._once
    monkeypatch.setattr(heads, "_once", lambda *words: calls.append(words) or once(*words))
    again = heads.measure([small_site()], ENTRIES, state)
    assert len(calls) == 8
    scores = [
        {n: row["macro_f1"] for n, row in one["sites"]["small"]["heads"]["ridge"]["labels"].items()}
        for one in (whole, again)
    ]
    assert scores[0] == scores[1]


def test_all_labels_by_folds_give_the_known_figures_of_plain_regression(shared) -> None:
    """AlphaEarth points, logistic regression with C = 10: known to be .728 with cells held out and .767 with random folds."""
    site = alphaearth(shared / "data")
    plain = heads.all_labels(site, heads._plain)
    assert plain["grouped"] == pytest.approx(0.728, abs=0.03)
    assert plain["random"] == pytest.approx(0.767, abs=0.01)
    ours = heads.all_labels(site, heads.RaceEntry("logistic", "logistic").make)
    assert ours["grouped"] > plain["grouped"] - 0.02


def test_tables_go_between_the_marks(tmp_path) -> None:
    result = heads.measure([small_site()], ENTRIES)
    page = tmp_path / "heads.md"
    page.write_text(f"Before\n{heads.MARK}\nformer\n{heads.MARK}\nAfter\n")
    for _ in range(2):
        heads.write_between(page, heads.MARK, heads.tables(result))
    text = page.read_text()
    assert text.startswith("Before\n")
    assert text.endswith("After\n")
    assert "former" not in text
    assert text.count("| ridge 3x3 |") == 1
    assert "scikit-learn's logistic regression" in text
    heading, _, *rows = (line for line in text.splitlines() if line.startswith("|"))
    assert "all labels" in heading
    assert {row.count("|") for row in rows} == {heading.count("|")}
    page.write_text("no marks")
    with pytest.raises(InputError, match="two lines"):
        heads.write_between(page, heads.MARK, heads.tables(result))


def test_confidence_and_sets_keep_their_promise_on_real_points(shared) -> None:
    """AlphaEarth points: sets hold the truth as often as said, on cells with labels and without; calibrating does no harm."""
    found = measure_calibration([alphaearth(shared / "data")], ("prototype",), repeats=30)
    one = found["sites"]["alphaearth-points"]["heads"]["prototype"]
    for nominal, row in one["coverage"].items():
        assert abs(row["like_labels"] - float(nominal)) < 0.03
        assert abs(row["held_out"] - float(nominal)) < 0.03
        assert row["size"] > 1
        assert row["endless"] == 0
    assert one["ece_after"] < one["ece_before"] + 0.01
    assert 20 < one["places"] < 80


def test_the_table_of_calibration_says_where_nothing_can_be_promised(tmp_path) -> None:
    found = measure_calibration([small_site()], ("ridge",), repeats=3, per_class=6)
    page = tmp_path / "heads.md"
    page.write_text(f"Before\n{calibration.MARK}\n{calibration.MARK}\nAfter\n")
    heads.write_between(page, calibration.MARK, calibration.table(found))
    (row,) = (line for line in page.read_text().splitlines() if line.startswith("| small |"))
    one = found["sites"]["small"]["heads"]["ridge"]
    assert f"| ridge | {one['places']:.0f}, " in row
    assert one["coverage"]["0.95"]["endless"] == 1
    assert "(100 % endless)" in row
    (heading,) = (line for line in page.read_text().splitlines() if line.startswith("| site |"))
    assert row.count("|") == heading.count("|")
