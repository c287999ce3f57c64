"""The measurement of class maps, on one small class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.bench import classroom_map as bench
from tessera_core.project import demo


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Patches of all classes of the list."""
    kinds = np.random.default_rng(0).integers(1, 1 + len(bench.LEGEND), (8, 8)).astype(np.uint8)
    kinds[0, :6] = range(1, 7)
    return kinds.repeat(16, 0).repeat(16, 1)


def test_each_habit_labels_as_it_says(truth: np.ndarray) -> None:
    random = np.random.default_rng(1)
    clicks = {name: bench.placed(habit, truth, random) for name, habit in bench.HABITS.items()}
    right = {name: float((truth[rows, cols] == ids).mean()) for name, (rows, cols, ids) in clicks.items()}
    assert right["careful, 10 labels a class"] == right["few labels, 3 a class"] == 1
    assert len(clicks["few labels, 3 a class"][0]) == 3 * len(bench.LEGEND)
    assert right["takes one class for another"] < 1
    assert right["every fifth click wrong"] < 1
    assert right["labels at borders"] < 1
    assert set(clicks["labels all as one class"][2].tolist()) == {1}
    assert set(clicks["lazy: two classes, 2 labels each"][2].tolist()) == {1, 2}
    rows, cols, _ = clicks["labels one corner only"]
    assert np.hypot(rows - rows.mean(), cols - cols.mean()).max() <= 120
    assert sum(habit.count for habit in bench.HABITS.values()) == 20


def test_a_class_is_measured_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    region = demo.take_start(tmp_path / "demo")
    assert region is not None
    region = replace(region, embeddings=region.ready)
    habits = {name: bench.HABITS[name] for name in ("careful, 10 labels a class", "labels all as one class")}
    result = bench.measure(region, 1, habits)
    rows = {row["map"]: row["mean"] for row in result["rows"]}
    assert rows["mean of the single maps"] <= rows["best single map, known only in hindsight"]
    assert rows["class map: the weighted vote"] > 0.7
    assert (result["learners"], result["voters"]) == (5, 4)
    assert result["habits"][1]["right"] is None
    assert "| all labels as one head |" in result["table"]
