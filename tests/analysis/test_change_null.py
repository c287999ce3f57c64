"""What unchanged ground does is read off the scene: peaks, tails, contrasts, kinds of ground and borders."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.analysis.change import NO_LEVEL, ChangeLayer, detect_change
from tessera_core.analysis.change.borders import (
    PRIOR_SHARES,
    SHARE_BINS,
    Borders,
    around,
    border_levels,
    fit_borders,
    share_bins,
)
from tessera_core.analysis.change.judge import judge_differences
from tessera_core.analysis.change.levels import (
    LOWEST,
    STEPS,
    coarse,
    first_peak,
    log_ratio,
    right_spread,
    tail_chance,
    tail_score,
    to_levels,
)
from tessera_core.analysis.change.measure import CONTRAST_STEPS, FAINTEST, Measured
from tests.analysis.two_years import TwoYears, two_years


def _scores(n: int, centre: float, spread: float, seed: int = 0) -> np.ndarray:
    return centre + spread * np.random.default_rng(seed).normal(size=n)


def _false_and_found(layer: ChangeLayer, years: TwoYears, rate: float) -> tuple[float, float]:
    called = layer.mask(rate)
    return (
        float((called & ~years.changed).sum() / max(int(called.sum()), 1)),
        float((called & years.changed).sum() / years.changed.sum()),
    )


# ------------------------------------------------------------------ histograms


@pytest.mark.parametrize("spread", [0.2, 0.45])
def test_the_first_peak_is_found_beside_much_change(spread: float) -> None:
    changed = _scores(12_000, 3 * spread + 1.0, 0.5, seed=1)
    counts = coarse(to_levels(np.r_[_scores(20_000, -0.1, spread), changed]))
    centre, found, used = first_peak(counts)
    assert centre == pytest.approx(-0.1, abs=0.1 * spread)
    assert found == pytest.approx(spread, rel=0.1)
    assert 0.7 * 20_000 < used < 20_000


def test_the_right_side_is_as_wide_as_it_falls() -> None:
    plain = coarse(to_levels(_scores(60_000, 0.0, 0.4)))
    assert right_spread(plain, 0.0, 0.4) == pytest.approx(0.4, rel=0.06)
    heavy = coarse(to_levels(np.r_[_scores(50_000, 0.0, 0.4), np.abs(_scores(10_000, 0.0, 1.0, seed=1))]))
    assert right_spread(heavy, 0.0, 0.4) > 0.5
    # Change behind a valley is no tail.
    behind = coarse(to_levels(np.r_[_scores(60_000, 0.0, 0.4), _scores(20_000, 3.0, 0.3, seed=2)]))
    assert right_spread(behind, 0.0, 0.4) == pytest.approx(0.4, rel=0.06)


def test_chances_fall_and_their_scores_lead_back() -> None:
    scores = np.linspace(-3, 20, 200)
    chances = tail_chance(scores)
    assert (np.diff(chances) < 0).all()
    np.testing.assert_allclose(tail_score(chances), scores, atol=1e-3)
    # Heavier than a normal distribution (0.00135 beyond 3 spreads), near it in the middle.
    assert tail_chance(np.array(3.0)) == pytest.approx(2 * 0.00135, rel=0.2)
    assert tail_chance(np.array(0.0)) == pytest.approx(0.5)


# ------------------------------------------------------------------ borders


def test_the_neighbourhood_is_of_eight_and_leaves_out_what_has_no_data() -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 60_000, (9, 7)).astype(np.uint16)
    levels[4, 3] = NO_LEVEL
    own, largest, smallest = around(levels, slice(2, 7))
    assert (own == levels[2:7]).all()
    for row in range(2, 7):
        for col in range(7):
            near = levels[row - 1 : row + 2, max(col - 1, 0) : col + 2]
            near = near[near != NO_LEVEL]
            assert largest[row - 2, col] == near.max()
            assert smallest[row - 2, col] == near.min()
    whole = around(levels, slice(0, 9))
    assert (whole[1][2:7] == largest).all()


@pytest.mark.parametrize(("share", "spread"), [(0.15, 0.06), (0.3, 0.1), (0.45, 0.12)])
def test_the_share_that_borders_show_is_found_again(share: float, spread: float) -> None:
    rng = np.random.default_rng(3)
    outside = np.clip(rng.normal(share, spread, 4_000), 0.01, 1)
    inside = np.clip(rng.normal(0.85, 0.1, 4_000), 0.01, 1)
    below = np.rint(-np.log(np.r_[outside, inside]) * STEPS).astype(np.int64)
    counts = np.bincount(share_bins(below), minlength=SHARE_BINS)
    found = fit_borders(counts)
    assert found.share == pytest.approx(share, abs=0.03)
    assert found.spread == pytest.approx(spread, abs=0.025)
    assert found.pixels == 8_000


def test_few_borders_are_judged_by_what_is_known_beforehand() -> None:
    counts = np.zeros(SHARE_BINS, np.int64)
    counts[150] = 40
    assert fit_borders(counts).share == PRIOR_SHARES[0]
    counts[150] = 0
    assert fit_borders(counts).pixels == 0


def test_a_pixel_that_is_hardly_below_its_neighbour_may_be_called_and_one_far_below_may_not() -> None:
    borders = Borders(0.35, 0.12, 5_000)
    most = (border_levels(borders, 0.3, 0.0, 0.4) / STEPS + LOWEST) / 0.4
    at = (-np.log(np.array([1.0, 0.9, 0.5, 0.35, 0.1])) * STEPS).astype(int)
    scores = most[at]
    assert (np.diff(scores) < 0).all()
    assert tail_chance(scores[:1])[0] < 1e-4
    assert tail_chance(scores[3:4])[0] == pytest.approx(0.15, rel=0.02)


@pytest.mark.parametrize("blur", [0.45, 0.7, 0.9])
def test_the_promise_holds_however_wide_the_footprint_is(blur: float) -> None:
    for seed in range(2):
        years = two_years(seed, blur=blur)
        layer = detect_change(years.first, years.second)
        for rate in (0.05, 0.1, 0.2):
            false, found = _false_and_found(layer, years, rate)
            assert false <= rate
            assert found > 0.9
    assert layer.borders.pixels > 1_000


def test_borders_are_what_keeps_it_where_images_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    years = two_years(1, blur=0.9)
    kept, _ = _false_and_found(detect_change(years.first, years.second), years, 0.05)
    monkeypatch.setattr(
        "tessera_core.analysis.change.judge.border_levels",
        lambda borders, weight, centre, spread: border_levels(borders, 1e-12, centre, spread),
    )
    broken, _ = _false_and_found(detect_change(years.first, years.second), years, 0.05)
    assert kept <= 0.05 < broken


def test_the_share_that_borders_show_grows_with_the_footprint() -> None:
    shares = [detect_change(y.first, y.second).borders.share for y in (two_years(0, blur=b) for b in (0.45, 0.7, 0.9))]
    assert shares[0] < shares[1] < shares[2]


# ------------------------------------------------------------------ contrasts and kinds of ground


def _measured(levels: np.ndarray, contrasts: np.ndarray, groups: np.ndarray) -> Measured:
    return Measured(
        to_levels(levels).astype(np.uint16),
        np.clip((contrasts - FAINTEST) * CONTRAST_STEPS, 0, 255).astype(np.uint8),
        groups.astype(np.uint8),
    )


def test_sharp_places_must_differ_more_as_far_as_the_scene_shows_it() -> None:
    rng = np.random.default_rng(5)
    shape = (200, 200)
    sharp = rng.uniform(-1, 5, shape)
    # The offset of the images adds to the noise where contrast is high.
    spread = 0.5 * np.log1p(0.05 * np.exp(sharp))
    noise = 0.35 * rng.normal(size=shape)
    found = judge_differences(_measured(noise + spread, sharp, np.zeros(shape)), 1)
    evidence = log_ratio(found.levels)
    calm, steep = evidence[sharp < 0], evidence[sharp > 4]
    assert np.median((noise + spread)[sharp > 4]) - np.median((noise + spread)[sharp < 0]) > 0.6
    assert np.median(steep) - np.median(calm) < 0.15
    assert found.null.centre == pytest.approx(np.median(calm), abs=0.05)
    assert found.null.spread == pytest.approx(0.35, rel=0.1)
    # Where contrast does not matter, nothing is taken off.
    plain = log_ratio(judge_differences(_measured(noise, sharp, np.zeros(shape)), 1).levels)
    assert abs(np.median(plain[sharp > 4]) - np.median(plain[sharp < 0])) < 0.05


def test_noisier_kinds_are_raised_and_quieter_or_changed_ones_are_not() -> None:
    rng = np.random.default_rng(6)
    shape = (200, 200)
    kinds = rng.integers(0, 8, shape)
    kinds = np.repeat(np.repeat(kinds[::20, ::20], 20, 0), 20, 1)
    off = np.array([0.0, 0.0, 0.0, 0.5, -0.6, 2.5, 0.0, 0.0])
    # Changed ground differs far more than its noise is.
    levels = np.where(kinds == 5, 0.05, 0.35) * rng.normal(size=shape) + off[kinds]
    found = judge_differences(_measured(levels, np.zeros(shape), kinds), 8)
    # Within what 5,000 pixels tell; the last digits differ between processors.
    assert [factor for _, factor in found.raised] == pytest.approx([float(np.exp(0.5))], rel=0.1)
    evidence = log_ratio(found.levels)
    assert np.median(evidence[kinds == 5]) > 2.0
    assert np.median(evidence[kinds == 4]) < -0.4
    assert abs(np.median(evidence[kinds == 3])) < 0.1


def test_heavy_tails_of_sharp_places_are_not_called() -> None:
    rng = np.random.default_rng(7)
    shape = (250, 250)
    sharp = rng.uniform(-1, 5, shape)
    # Single pixels: their neighbours are quiet, so that no border explains them.
    levels = 0.35 * rng.normal(size=shape)
    steep = sharp > 4
    levels[steep] = np.where(
        rng.random(int(steep.sum())) < 0.4, np.abs(1.1 * rng.normal(size=int(steep.sum()))), levels[steep]
    )
    found = judge_differences(_measured(levels, sharp, np.zeros(shape)), 1)
    z = (log_ratio(found.levels) - found.null.centre) / found.null.spread
    before = (levels[steep] / 0.35 > 3).mean()
    assert (z[steep] > 3).mean() < 0.5 * before
    assert (z[~steep] > 2).mean() == pytest.approx((levels[~steep] / 0.35 > 2).mean(), abs=0.01)


def test_evidence_does_not_depend_on_where_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    shape = (60, 90)
    measured = _measured(rng.normal(size=shape), rng.uniform(-1, 4, shape), rng.integers(0, 3, shape))
    whole = judge_differences(measured, 3)
    monkeypatch.setattr("tessera_core.analysis.change.judge.BLOCK_PIXELS", 90 * 7)
    parts = judge_differences(measured, 3)
    assert (whole.levels == parts.levels).all()
    assert whole.null == parts.null
