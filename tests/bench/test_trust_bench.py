"""The measurement of intervals, on few draws."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.bench import trust, trust_demo, trust_numbers, trust_scores, trust_ways
from tessera_core.errors import InputError


def test_intervals_hold_where_plain_ones_do_not() -> None:
    regions = [r for r in trust.REGIONS if r.title in ("4 x 10 places, .99", "good map, stopped at 100 of 257")]
    assert len(regions) == 2
    result = trust.measure(regions, 120, seed=3)
    assert result["worst"] > 0.9
    assert result["plain_worst"] < 0.6
    assert {row["of"] for row in result["rows"]} >= {"right in all", "area of class 5", "found of class 5"}
    assert result["table"].count("\n") == len(result["rows"]) + 3


def test_who_stops_early_has_as_many_answers_as_said() -> None:
    (region,) = (r for r in trust.REGIONS if r.title == "middling map, stopped at 100 of 257")
    seen = trust.drawn(region, 50, 1)
    assert (seen.sum((1, 2)) == 100).all()
    assert (seen.sum(2) <= np.array(region.places)).all()


def test_what_people_err_by_stopping_two_maps_and_the_certified_part_are_measured() -> None:
    rng = np.random.default_rng(2)
    strata, opinions, taken = trust_ways.answered(trust_ways.THREE, 0.2, True, rng)
    twice = (opinions.answers > 0).all(1)
    assert twice.sum() == 24 + 12 + 6
    assert ((opinions.answers > 0).sum(1) >= 1).all()
    assert (opinions.settled[~twice] == 0).all()
    assert len(strata) == len(taken) == 210
    looked = trust_ways.verdicts(300, 1)
    equal = [row for row in looked if row["truth"] == "none is better"]
    assert all(row["at_any_time"] <= 0.06 for row in equal)
    assert equal[-1]["test_at_every_look"] > 0.1
    assert all(row["broken"] <= 0.1 for row in trust_ways.parts(60, 1))
    (row,) = trust_ways.stopping(10, 1, [("two", np.array([0.6, 0.4]), np.array([0.95, 0.9]), (40, 30))])
    assert row["holds"] >= 0.8
    assert row["stop"] <= 70
    # A sample that is answered to its end is as narrow sooner than one that may be stopped at any answer.
    assert 20 <= trust_ways.fixed_places(np.array([0.6, 0.4]), np.array([0.95, 0.9]), (105, 70), 40, 1) < 350


def test_two_maps_and_the_certified_part_are_measured_where_the_truth_is_known() -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(1, 4, (60, 60)).astype(np.uint8)
    sure = rng.integers(40, 100, truth.shape).astype(np.uint8)
    wrong = truth % 3 + 1
    good, bad = (np.where(rng.random(truth.shape) < share, wrong, truth).astype(np.uint8) for share in (0.05, 0.3))
    one, other = trust_demo.evened(good, bad, truth, 1)
    assert abs(int((one == truth).sum()) - int((other == truth).sum())) <= 1
    assert ((one != other) == (good != bad)).all()
    better, even = (trust_demo.named("", *pair, truth, 80, 2) for pair in ((good, bad), (one, other)))
    assert better[-1]["settled"] > 0.95
    assert better[-1]["settled_false"] == 0
    assert even[-1]["settled"] is None
    assert even[-1]["settled_false"] < 0.2
    # Where it is sure it is right, and where it is not it mostly is not.
    made = trust_demo.Made(np.where(sure < 50, wrong, truth).astype(np.uint8), sure)
    rows = trust_demo.certified(made, truth, 10, 3)
    assert [row["draws"] for row in rows] == [10, 10, 10, 2]
    assert all(row["broken"] <= 0.2 and row["share"] < 0.95 for row in rows)
    assert rows[2]["share"] > 0.5
    told = {"demo_draws": 80, "demo_maps": [*better, *even], "demo_parts": rows}
    assert "| none is |" in " ".join(trust_demo.tables(told))


def test_numbers_are_measured_on_landscapes_of_which_all_is_known() -> None:
    result = trust_numbers.measure(1, 5)
    assert [row["plots"] for row in result["plots"]][-1] == "100, ten in a field"
    assert all(0 <= row["holds"] <= 1 and row["r2_true"] < 1 for row in result["plots"])
    easy, *_, hopeless = result["changes"]
    assert easy["found"] > 0.9
    assert easy["power"] > 0.6
    assert hopeless["found"] == hopeless["power"] == 0
    assert len(list(trust_numbers.tables(result))) > 18


def test_scores_are_measured_by_how_labels_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust_scores, "ROWS", (("suggestions", 2, 30),))
    result = trust_scores.measure(2, 5)
    (row,) = result["scores"]
    # Suggestions lie where the map is least sure: who does not know that thinks too little of it.
    assert row["blind_off"] < row["off"]
    assert 0 <= row["holds"] <= 1
    assert "2 a class and 30 suggested" in " ".join(trust_scores.tables(result))


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    region = next(r for r in trust.REGIONS if r.title == "4 x 10 places, .99")
    path = tmp_path / "state.json"
    first = trust.measure([region], 40, 3, once=trust.Once(path, "3"))
    # Another seed, were it measured again; the file knows it.
    assert trust.measure([region], 40, 8, once=trust.Once(path, "3"))["rows"] == first["rows"]
    assert trust.measure([region], 40, 8, once=trust.Once(path, "8"))["rows"] != first["rows"]
    # Neither the rows of another method nor those of other regions are taken for these.
    core = Path(trust.__file__).parents[1]
    numbers = {str(path.relative_to(core)) for path in trust.rests_on(trust.SOURCES["numbers"])}
    assert numbers >= {
        *("analysis/pca.py", "analysis/applicability.py", "labels/sampling.py", "raster.py", "areas.py"),
        *("analysis/change/measure.py", "assess/region_mean.py", "heads/regression.py", "bench/trust_numbers.py"),
    }
    assert not {name for name in numbers if name.startswith(("ui/", "cli/", "language/"))}
    scores = {str(path.relative_to(core)) for path in trust.rests_on(trust.SOURCES["scores"])}
    assert scores >= {"assess/origins.py", "assess/live.py", "assess/crossfit.py", "analysis/active_learning.py"}
    key = trust.fingerprint("regions")
    assert key == trust.fingerprint("regions")
    monkeypatch.setattr(trust, "REGIONS", (region,))
    other = trust.fingerprint("regions")
    monkeypatch.setitem(trust.SOURCES, "regions", ("assess/intervals.py",))
    assert len({key, other, trust.fingerprint("regions"), trust.fingerprint("ways")}) == 4
    # Nor do few landscapes stand for many.
    asked: list[str] = []
    monkeypatch.setattr(trust.Once, "__call__", lambda self, name, make: asked.append(name) or {"rows": []})
    monkeypatch.setattr(trust, "measure", lambda *args, **kwargs: {"table": ""})
    for module in (trust_ways, trust_demo, trust_numbers, trust_scores):
        monkeypatch.setattr(module, "tables", lambda result: [])
    monkeypatch.setattr(trust_ways, "measure", lambda *args: {})
    monkeypatch.setattr(trust, "DRAWS_A_LANDSCAPE", 10)
    trust.run(Namespace(draws=100))
    assert {"numbers of 10 landscapes", "scores of 10 landscapes"} <= set(asked)
    monkeypatch.undo()
    # A part that rests on something more has rows of its own in the same file.
    once = trust.Once(path, "3")
    assert [once.resting_on(one)("part", lambda one=one: one) for one in "aba"] == ["a", "b", "a"]
    assert trust.Once(path, "3").resting_on("a")("part", lambda: "anew") == "a"
    with pytest.raises(InputError, match="says nothing"):
        trust.run(Namespace(draws=3))
