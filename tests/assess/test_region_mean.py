"""Plots that lie on heaps are judged together; the mean of a region holds the truth as often as it says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.region_mean import region_mean
from tessera_core.assess.regression import HeldOutValues, RegressionSamples, held_together


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
