from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from tessera_core.analysis.change import detect_change
from tessera_core.analysis.transitions import (
    UNKNOWN,
    count_transitions,
    intervals,
    sankey,
    trajectories,
    year_of_change,
)
from tessera_core.errors import RasterError
from tests.analysis.two_years import two_years

NAMES = {1: "Wood", 2: "Field", 3: "Water"}
COLOURS = {1: "#008000", 2: "#ffcc00", 3: "#0000ff"}


def maps(seed: int = 0, years: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 4, (30, 40)).astype(np.uint8) for _ in range(years)]


def test_the_matrix_counts_pixels_that_both_years_know() -> None:
    first, second = maps()
    counted = count_transitions(first, second, 0.01, years=(2023, 2024))
    for i, a in enumerate(counted.ids):
        for j, b in enumerate(counted.ids):
            assert counted.pixels[i, j] == ((first == a) & (second == b)).sum()
    assert counted.pixels.sum() == ((first > 0) & (second > 0)).sum()
    rows = counted.rows(NAMES)
    assert rows[0]["area"] == pytest.approx(max(row["area"] for row in rows))
    assert rows[0]["area"] == pytest.approx(0.01 * (counted.pixels * (1 - np.eye(3))).max())
    matrix = counted.matrix(NAMES)
    np.testing.assert_allclose([[cell["area"] for cell in row] for row in matrix], 0.01 * counted.pixels)
    assert [row[0]["from"] for row in matrix] == [cell["to"] for cell in matrix[0]] == ["Wood", "Field", "Water"]


def test_only_ground_that_changed_confirms_a_transition() -> None:
    first, second = maps()
    changed = np.zeros(first.shape, bool)
    changed[:, :20] = True
    counted = count_transitions(first, second, 1.0, changed=changed)
    assert counted.confirmed is not None
    half = count_transitions(first[:, :20], second[:, :20], 1.0)
    away = ~np.eye(3, dtype=bool)
    np.testing.assert_array_equal(counted.confirmed[away], half.pixels[away])
    assert counted.confirmed.sum() == counted.pixels.sum()


class _Threshold:
    """A head that splits at a number."""

    classes_ = np.array([1, 2])

    def __init__(self, at: float) -> None:
        self.at = at

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        second = (x[:, 0] > self.at).astype(np.float32)
        return np.stack([1 - second, second], 1)


def test_intervals_are_as_wide_as_the_heads_disagree() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((4000, 1)).astype(np.float32), rng.random((4000, 1)).astype(np.float32)
    wide = [[(x > 0.5).astype(np.uint8) + 1 for x in (first.reshape(40, 100), second.reshape(40, 100))]][0]
    counted = count_transitions(wide[0], wide[1], 1.0)
    sure = intervals(counted, [_Threshold(0.5)] * 5, first, second)
    unsure = intervals(counted, [_Threshold(t) for t in np.linspace(0.3, 0.7, 9)], first, second)
    assert sure.low is not None
    assert sure.high is not None
    assert unsure.low is not None
    assert unsure.high is not None
    np.testing.assert_allclose(sure.high - sure.low, 0, atol=1e-6)
    assert (unsure.low < counted.pixels).all()
    # Splits above and below the middle both make fewer mixed pairs, so only the diagonal has room above.
    assert (np.diag(unsure.high) > np.diag(counted.pixels)).all()
    with pytest.raises(RasterError):
        intervals(counted, [], first, second)


def test_trajectories_are_the_sequences_of_pixels() -> None:
    three = maps(1, 3)
    found = trajectories(three, limit=500)
    stacked = np.stack(three, -1).reshape(-1, 3)
    expected = Counter(tuple(int(v) for v in row) for row in stacked if (row > 0).all())
    assert {t.classes: t.pixels for t in found} == dict(expected)
    assert [t.pixels for t in found] == sorted((t.pixels for t in found), reverse=True)
    assert all(t.changes == sum(a != b for a, b in zip(t.classes, t.classes[1:], strict=False)) for t in found)
    assert len(trajectories(three, limit=4)) == 4
    with pytest.raises(RasterError):
        trajectories(three[:1])


def test_the_year_of_change_is_that_of_the_step_in_which_it_lies() -> None:
    made = two_years(0)
    still = two_years(1, share=0.0)
    quiet = detect_change(still.first, still.second)
    moved = detect_change(made.first, made.second)
    when = year_of_change([quiet, moved], 0.05)
    called = moved.mask(0.05)
    assert (when[called] == 2).all()
    assert (when[~called & (when != UNKNOWN)] == 0).all()
    assert (when[0, :4] == UNKNOWN).all()
    with pytest.raises(RasterError):
        year_of_change([], 0.05)


def test_the_plot_carries_all_ground() -> None:
    three = maps(2, 3)
    steps = [count_transitions(a, b, 0.5, years=(y, y + 1)) for y, (a, b) in enumerate(itertools.pairwise(three), 2021)]
    plot = sankey(steps, NAMES, COLOURS)
    assert sum(plot["value"]) == pytest.approx(0.5 * sum(step.pixels.sum() for step in steps))
    assert max(plot["target"]) < len(plot["labels"]) == len(plot["colours"]) == 9
    assert {"Wood 2021", "Wood 2022", "Wood 2023"} <= set(plot["labels"])
    # Names of the years between would lie under those of the next year on a phone.
    for full, shown in zip(plot["labels"], plot["shown"], strict=True):
        assert shown == ("" if full.endswith("2022") else full)
    assert "" not in sankey(steps[:1], NAMES, COLOURS)["shown"]


def test_maps_that_do_not_fit_are_refused() -> None:
    first, second = maps()
    with pytest.raises(RasterError, match="same pixels"):
        count_transitions(first, second[:-1], 1.0)
    with pytest.raises(RasterError, match="in common"):
        count_transitions(first, np.zeros_like(first), 1.0)
