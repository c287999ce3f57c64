"""Intervals of stratified estimates: known ones, invariants, and how often they hold."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.assess.area import assess_sample
from tessera_core.assess.intervals import mean_interval, ratio_interval
from tessera_core.errors import LabelError


def wilson(hits: float, n: float) -> tuple[float, float]:
    """Wilson (1927), the score interval of one share."""
    z2 = 1.959964**2
    middle, half = hits + z2 / 2, 1.959964 * np.sqrt(hits * (n - hits) / n + z2 / 4)
    return (middle - half) / (n + z2), (middle + half) / (n + z2)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (5, 10), (45, 50), (199, 200)])
def test_one_stratum_is_never_narrower_than_wilsons(hits: int, n: int) -> None:
    low, high = mean_interval([hits], [n], [1.0])
    expected = wilson(hits, n)
    assert low <= expected[0] + 1e-4
    assert high >= expected[1] - 1e-4
    # Nor wider than the exact interval of Clopper and Pearson, of which it is said that it is too wide.
    from scipy.stats import beta

    assert low >= (beta.ppf(0.025, hits, n - hits + 1) if hits else 0) - 0.01
    assert high <= (beta.ppf(0.975, hits + 1, n - hits) if hits < n else 1) + 0.01


@pytest.mark.parametrize("n_strata", [1, 2, 5])
def test_an_interval_is_possible_holds_its_estimate_and_mirrors(n_strata: int) -> None:
    rng = np.random.default_rng(n_strata)
    counts = rng.integers(5, 60, n_strata).astype(float)
    weights = rng.dirichlet(np.ones(n_strata))
    # All from none to all, so that strata without and with nothing but hits are among them.
    hits = np.round(counts * np.clip(rng.uniform(-0.3, 1.3, (40, n_strata)), 0, 1))
    estimate = hits / counts @ weights
    low, high = mean_interval(hits, counts, weights)
    assert ((low >= 0) & (low <= estimate + 1e-6) & (estimate - 1e-6 <= high) & (high <= 1)).all()
    # Never without doubt, however good the sample looks.
    assert (high - low > 0.5 / counts.sum()).all()
    others = mean_interval(counts - hits, counts, weights)
    np.testing.assert_allclose(others[0], 1 - high, atol=1e-4)
    np.testing.assert_allclose(others[1], 1 - low, atol=1e-4)
    # A ratio to everything is the mean.
    np.testing.assert_allclose(ratio_interval(hits, counts - hits, counts, weights), (low, high), atol=2e-3)


def test_ground_that_lies_in_one_stratum_only_is_judged_by_that() -> None:
    can = [[[True, True], [False, False]]]
    low, high = ratio_interval([[15.0, 0.0]], [[5.0, 0.0]], [20.0, 30.0], [0.4, 0.6], can)
    alone = mean_interval([15.0], [20.0], [1.0])
    assert (low[0], high[0]) == (pytest.approx(float(alone[0]), abs=1e-3), pytest.approx(float(alone[1]), abs=1e-3))


def test_of_nothing_nothing_is_known() -> None:
    low, high = ratio_interval([0.0, 0.0], [0.0, 0.0], [10.0, 10.0], [0.5, 0.5])
    assert (low, high) == (0, 1)
    with pytest.raises(LabelError, match="at least one place"):
        mean_interval([0.0, 0.0], [10.0, 0.0], [0.5, 0.5])


def test_a_stratum_without_a_mistake_is_not_without_doubt() -> None:
    """67 % of the region, 10 of 10 right: the papers' interval took that for certain."""
    mapped = np.repeat([1, 2, 3], [10, 15, 15])
    reference = mapped.copy()
    reference[[12, 20, 30, 31]] = 1
    found = assess_sample(mapped, mapped, reference, {1: 67_000, 2: 20_000, 3: 13_000})
    assert found.overall.wald_margin < 0.06
    assert found.overall.high - found.overall.low > 0.2
    for one in found.classes:
        assert 0 <= one.area.low <= one.area.value <= one.area.high <= 100_000
        assert one.area.high > one.area.low
        assert one.users.high - one.users.low > 0.1


def test_a_stratum_that_was_seen_whole_leaves_no_doubt() -> None:
    mapped = np.repeat([1, 2], [30, 20])
    reference = np.where(np.arange(50) % 5 == 0, 3 - mapped, mapped)
    found = assess_sample(mapped, mapped, reference, {1: 30, 2: 20})
    assert found.overall.high - found.overall.low < 1e-3
    half = assess_sample(mapped, mapped, reference, {1: 60, 2: 40})
    most = assess_sample(mapped, mapped, reference, {1: 60_000, 2: 40_000})
    assert half.overall.high - half.overall.low < 0.8 * (most.overall.high - most.overall.low)


def test_a_stratum_with_a_single_place_has_an_interval() -> None:
    found = assess_sample([1, 1, 2], [1, 1, 2], [1, 2, 2], {1: 10_000, 2: 10_000})
    assert np.isnan(found.overall.se)
    assert 0.2 < found.overall.high - found.overall.low < 1
    assert any("single place" in note for note in found.notes)


# Places and truths of the strata, their sizes: where the papers' interval held .26 to .89 of 3,000 draws.
HARD = [
    ((12, 12), (0.95, 0.9), (0.5, 0.5)),
    ((70,), (0.97,), (1.0,)),
    ((20, 20, 20), (0.9, 0.9, 0.9), (0.6, 0.3, 0.1)),
    ((10, 10, 10, 10), (0.99, 0.99, 0.99, 0.99), (0.67, 0.2, 0.1, 0.03)),
    ((2, 2, 2, 2, 8), (0.9,) * 5, (0.3, 0.3, 0.2, 0.1, 0.1)),
]


@pytest.mark.parametrize(("counts", "right", "sizes"), HARD)
def test_intervals_hold_where_mistakes_are_few(
    counts: tuple[int, ...], right: tuple[float, ...], sizes: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(11)
    n, p, w = np.array(counts, float), np.array(right), np.array(sizes)
    low, high = mean_interval(rng.binomial(counts, p, (600, len(counts))).astype(float), n, w)
    truth = w @ p
    # 600 draws of 95 % vary by 0.9 points.
    assert ((low <= truth) & (truth <= high)).mean() > 0.925


def test_a_class_that_is_not_on_the_map_is_never_found_and_has_nothing_to_be_right() -> None:
    for sizes in ({1: 60_000, 2: 40_000}, {1: 100_000}):
        mapped = np.repeat(list(sizes), 20)
        reference = np.where(np.arange(len(mapped)) % 10 == 0, 9, mapped)
        *_, missed = assess_sample(mapped, mapped, reference, sizes).classes
        assert missed.id == 9
        assert missed.producers.interval == (0, 0)
        assert np.isnan([missed.users.value, *missed.users.interval]).all()
        assert 0 < missed.share.low < missed.share.value < missed.share.high
