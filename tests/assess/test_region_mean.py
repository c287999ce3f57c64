"""Plots that lie on heaps are judged together; the mean of a region holds the truth as often as it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess import regression
from tessera_core.assess.region_mean import region_mean
from tessera_core.assess.regression import HeldOutValues, RegressionSamples, held_together, judge_regression
from tessera_core.heads import make_regression_head


def samples(rows: np.ndarray, cols: np.ndarray) -> RegressionSamples:
    return RegressionSamples(np.zeros(len(rows)), np.arange(len(rows)), rows, cols)


def test_plots_of_a_field_are_one_and_plots_by_chance_are_mostly_their_own() -> None:
    rng = np.random.default_rng(1)
    corners = np.stack(np.divmod(rng.choice(100, 10, replace=False), 10), 1) * 40
    rows, cols = (corners.repeat(10, 0) + rng.integers(0, 8, (100, 2))).T
    heaps = held_together(samples(rows, cols))
    assert len(np.unique(heaps)) == 10
    assert all(len(np.unique(heaps[10 * k : 10 * k + 10])) == 1 for k in range(10))
    rows, cols = rng.integers(0, 400, (2, 100))
    assert len(np.unique(held_together(samples(rows, cols)))) > 50
    # Three heaps say nothing, and pixels of one plot stay together whatever they do.
    rows, cols = np.repeat([0, 200, 390], 5), np.tile(np.arange(5), 3)
    assert len(np.unique(held_together(samples(rows, cols)))) == 15


def test_plots_on_few_heaps_are_not_taken_for_plots_drawn_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, head = np.random.default_rng(2), make_regression_head("ridge-regression")

    def judged(rows: np.ndarray, cols: np.ndarray) -> dict[str, Any] | None:
        x = rng.normal(size=(len(rows), 3)).astype(np.float32)
        made = replace(samples(rows, cols), values=x[:, 0] + rng.normal(0, 0.3, len(rows))).with_matrix(x)
        told: list[tuple[int, int]] = []
        result = judge_regression(made, head, progress=lambda done, total, _="": told.append((done, total))).result
        # Every fit is one of those that were announced.
        assert told == [(k + 1, len(told)) for k in range(len(told))]
        found: dict[str, Any] | None = result["map_r2"]
        return found

    for heaps in (2, 3, 4):
        corners = np.repeat(np.arange(heaps) * 400, 12)
        assert judged(corners + rng.integers(0, 8, len(corners)), rng.integers(0, 8, len(corners))) is None
    rows, cols = rng.integers(0, 400, (2, 60))
    found = judged(rows, cols)
    assert found is not None
    assert found["low"] < found["value"] < found["high"]
    # So many are the pixels of a raster.
    monkeypatch.setattr(regression, "MOST_HEAPED", 59)
    assert judged(rows, cols) is None


@given(st.integers(0, 1000), st.integers(2, 60))
@settings(max_examples=25, deadline=None)
def test_the_order_of_plots_does_not_matter(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    flat = rng.choice(64 * 64, n, replace=False)
    rows, cols = np.divmod(flat, 64)
    order = rng.permutation(n)
    one, other = held_together(samples(rows, cols))[order], held_together(samples(rows[order], cols[order]))
    assert ((one[:, None] == one) == (other[:, None] == other)).all()


def test_the_mean_holds_where_the_map_is_biased() -> None:
    rng, held, plain = np.random.default_rng(3), 0, 0
    for _ in range(300):
        truth = rng.normal(5, 2, 40)
        guess = 0.6 * truth + 1 + rng.normal(0, 0.5, 40)
        # Of a map whose mean is 4 where the truth is 5.
        found = region_mean(np.full((5, 5), 4.0), HeldOutValues(np.arange(40), truth, guess, truth, np.arange(40)))
        assert found is not None
        held += found.low <= 5 <= found.high
        plain += found.low <= 4 <= found.high
    assert 0.9 <= held / 300 <= 0.99
    assert plain < 30
    few = HeldOutValues(np.arange(4), np.ones(4), np.ones(4), np.ones(4), np.arange(4))
    assert region_mean(np.ones((2, 2)), few) is None
