"""Which of two maps: places only where they differ, and verdicts that are wrong as seldom as said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from tessera_core.assess.two_maps import (
    difference,
    difference_interval,
    draw_where_different,
    judge,
    p_at_any_time,
    p_value,
    places_needed,
    power,
    power_at_any_time,
)
from tessera_core.errors import LabelError


def test_maps_are_compared_where_both_say_something_and_the_rest_is_counted() -> None:
    first = np.array([[1, 1, 2, 2], [0, 3, 3, 1]])
    second = np.array([[10, 20, 20, 30], [10, 0, 10, -1]])
    found = difference(first, second, {10: 1, 20: 2})
    assert found.where.tolist() == [[False, True, False, False], [False, False, True, False]]
    assert (found.compared, found.unmatched) == (4, 1)
    assert found.share == 0.5
    assert found.other.tolist() == [[1, 2, 2, 0], [1, 0, 1, 0]]
    same = difference(first, first)
    assert (same.compared, same.share) == (7, 0.0)
    with pytest.raises(LabelError, match="differ nowhere"):
        draw_where_different(same, 5)
    with pytest.raises(LabelError, match="same grid"):
        difference(first, second[:1])


def test_places_lie_where_the_maps_differ_and_each_is_as_likely() -> None:
    rng = np.random.default_rng(5)
    found = difference(rng.integers(0, 4, (6, 8)), rng.integers(0, 4, (6, 8)))
    total = np.zeros((6, 8))
    for seed in range(400):
        rows, cols = draw_where_different(found, 10, seed)
        assert found.where[rows, cols].all()
        assert len({*zip(rows.tolist(), cols.tolist(), strict=True)}) == 10
        total[rows, cols] += 1
    expected = 400 * 10 / found.where.sum()
    assert np.abs(total[found.where] - expected).max() < 5 * np.sqrt(expected)
    assert len(draw_where_different(found, 1000)[0]) == found.where.sum()


@pytest.mark.parametrize(("first", "second"), [(0, 0), (5, 0), (6, 0), (9, 1), (30, 18), (7, 7), (0, 40)])
def test_the_test_is_the_exact_binomial(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert p_value(first, second) == pytest.approx(expected, abs=1e-12)
    assert p_value(first, second) == p_value(second, first)


def test_power_is_what_draws_find_and_the_risk_is_kept() -> None:
    rng = np.random.default_rng(8)
    for n, a, b in ((50, 0.5, 0.2), (100, 0.45, 0.35), (60, 0.4, 0.4)):
        seen = rng.multinomial(n, (a, b, 1 - a - b), 20_000)
        called = p_value(seen[:, 0], seen[:, 1]) <= 0.05
        # Power counts the map that is better; where none is, half of the false verdicts.
        found = (called & (seen[:, 0] > seen[:, 1])).mean()
        assert power(n, a, b) == pytest.approx(found, abs=0.012)
        if a == b:
            assert called.mean() <= 0.05


def test_places_needed_are_enough_and_hardly_more() -> None:
    needed = places_needed(0.6, 0.3)
    assert needed is not None
    assert all(power(n, 0.6, 0.3) >= 0.8 for n in range(needed, needed + 60))
    assert power(needed - 1, 0.6, 0.3) < 0.8
    assert places_needed(0.3, 0.6) == needed
    assert places_needed(0.4, 0.4) is None
    assert places_needed(0.0, 0.0) is None
    smaller = places_needed(0.5, 0.4)
    assert smaller is not None
    assert smaller > 5 * needed
    with pytest.raises(LabelError):
        places_needed(0.7, 0.5)


def test_who_looks_after_every_answer_finds_no_more_than_the_risk_and_the_power_is_as_said() -> None:
    rng = np.random.default_rng(3)
    called = {}
    for a, b in ((0.4, 0.4), (0.6, 0.3)):
        seen = rng.choice(3, (600, 100), p=(a, b, 1 - a - b))
        ever = [p_at_any_time(row == 0, row == 1)[-1] <= 0.05 for row in seen]
        called[a, b] = np.mean(ever)
    looked = p_value(np.cumsum(seen_equal := rng.random((600, 100)) < 0.5, 1), np.cumsum(~seen_equal, 1)) <= 0.05
    assert looked.any(1).mean() > 0.12
    assert called[0.4, 0.4] <= 0.05
    assert power_at_any_time(100, 0.6, 0.3)[-1] == pytest.approx(called[0.6, 0.3], abs=0.06)
    assert power_at_any_time(100, 0.6, 0.3)[-1] < power(100, 0.6, 0.3)


@pytest.mark.parametrize(
    ("n", "a", "b"), [(20, 0.5, 0.1), (50, 0.9, 0.05), (50, 0.3, 0.3), (150, 0.02, 0.01), (30, 1.0, 0.0)]
)
def test_the_interval_of_the_difference_holds_and_mirrors(n: int, a: float, b: float) -> None:
    rng = np.random.default_rng(n)
    draws, counts = np.unique(rng.multinomial(n, (a, b, max(1 - a - b, 0.0)), 3000), axis=0, return_counts=True)
    held = 0
    for (x, y, _), count in zip(draws.tolist(), counts.tolist(), strict=True):
        low, high = difference_interval(x, y, n)
        assert -1 <= low <= (x - y) / n <= high <= 1
        back = difference_interval(y, x, n)
        assert (low, high) == pytest.approx((-back[1], -back[0]), abs=1e-6)
        held += count * (low - 1e-6 <= a - b <= high + 1e-6)
    assert held / 3000 > 0.93


def test_a_verdict_names_the_better_map_and_says_when_it_does_not_know() -> None:
    first, second = np.full(40, 1), np.full(40, 2)
    reference = np.array([1, 1, 1, 2, 3, 1, 1, 1, 1, 2] * 4)
    for planned, unclear in ((None, 1), (43, 3)):
        verdict = judge(reference, first, second, 0.25, unclear=unclear, planned=planned)
        assert (verdict.first, verdict.second, verdict.neither, verdict.better, verdict.more) == (28, 8, 4, 1, 0)
        assert 0 < verdict.low < 0.25 * 0.5 < verdict.high < 0.25
        assert verdict.whatever_is_unclear
        assert not judge(reference, first, second, 0.25, unclear=20, planned=planned).whatever_is_unclear
    early = judge(reference, first, second, 0.25, planned=60)
    assert (early.better, early.more) == (0, 20)
    late = judge(np.concatenate([reference[:10], np.full(30, 2)]), first, second, 0.25, planned=10)
    assert (late.first, late.second) == (7, 2)
    turned = judge(reference, second, first, 0.25)
    assert turned.better == 2
    straight = judge(reference, first, second, 0.25)
    assert (turned.low, turned.high) == pytest.approx((-straight.high, -straight.low), abs=1e-6)
    close = judge(np.array([1, 2] * 16 + [1] * 8), first, second, 0.25)
    assert close.better == 0
    assert close.low < 0 < close.high
    assert close.more is not None
    assert close.more > 50
    empty = np.empty(0, int)
    nothing = judge(empty, empty, empty, 0.25)
    assert (nothing.better, nothing.more, nothing.low, nothing.high) == (0, None, -0.25, 0.25)
    with pytest.raises(LabelError, match="differ"):
        judge(reference, first, first, 0.25)
