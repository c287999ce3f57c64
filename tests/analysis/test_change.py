from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.analysis import change
from tessera_core.analysis.change import NO_LEVEL, detect_change, false_discovery, log_ratio
from tessera_core.errors import Cancelled, MixedDatasetsError, RasterError
from tests.analysis.two_years import two_years


def _false_share(layer: change.ChangeLayer, changed: np.ndarray, rate: float) -> float:
    called = layer.mask(rate)
    return float((called & ~changed).sum() / max(called.sum(), 1))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_false_discoveries_stay_below_the_chosen_rate_and_most_change_is_found(seed: int) -> None:
    years = two_years(seed)
    layer = detect_change(years.first, years.second)
    for rate in (0.05, 0.1, 0.2):
        assert _false_share(layer, years.changed, rate) <= rate
    assert (layer.mask(0.05) & years.changed).sum() > 0.85 * years.changed.sum()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("weather", [0.0, 2.0])
def test_without_change_no_more_than_the_chosen_share_is_called_changed(seed: int, weather: float) -> None:
    years = two_years(seed, share=0.0, weather=weather)
    layer = detect_change(years.first, years.second)
    for rate in (0.01, 0.05, 0.2):
        assert layer.count(rate) <= rate * layer.pixels


@pytest.mark.parametrize("seed", [0, 1])
def test_noisier_ground_is_not_called_changed_for_its_noise(seed: int) -> None:
    years = two_years(seed, share=0.15, noisy_cover=1.8)
    layer = detect_change(years.first, years.second)
    noisy = (years.covers == 0) & ~years.changed
    assert max(factor for _, factor in layer.raised) > 1.3
    assert layer.mask(0.05)[noisy].mean() < 0.05


def test_the_shift_of_the_scene_is_told_apart_from_change() -> None:
    still, moved = (detect_change(y.first, y.second) for y in (two_years(3, weather=0.0), two_years(3, weather=3.0)))
    assert moved.shift.relative > 2 * still.shift.relative
    assert moved.shift.share > 0.4 > still.shift.share
    assert moved.shift.after == pytest.approx(still.shift.after, rel=0.25)


def test_levels_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    years = two_years(0)
    whole = detect_change(years.first, years.second)
    monkeypatch.setattr("tessera_core.analysis.change.measure.BLOCK_PIXELS", 144 * 3)
    monkeypatch.setattr("tessera_core.analysis.change.judge.BLOCK_PIXELS", 144 * 5)
    parts = detect_change(years.first, years.second)
    difference = np.abs(whole.levels.astype(int) - parts.levels.astype(int))
    assert difference.max() <= 2


def test_pixels_without_data_have_no_level_and_do_not_disturb_neighbours() -> None:
    years = two_years(0)
    layer = detect_change(years.first, years.second)
    missing = ~(years.first.valid() & years.second.valid())
    assert (layer.levels[missing] == NO_LEVEL).all()
    assert (layer.levels[~missing] != NO_LEVEL).all()
    assert layer.pixels == (~missing).sum()
    assert not layer.mask(1.0)[missing].any()
    assert np.isnan(layer.p_values()[missing]).all()
    assert (layer.rates(np.array([0.05, 0.2]))[missing] == 0).all()


def test_false_discovery_rates_are_those_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    table = np.sort(rng.random(50))[::-1]
    histogram = rng.integers(0, 9, 50)
    p = np.repeat(table, histogram)
    order = np.argsort(p)
    stepped = p[order] * len(p) / np.arange(1, len(p) + 1)
    expected = np.empty(len(p))
    expected[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1)
    got = false_discovery(table, histogram)
    np.testing.assert_allclose(np.repeat(got, histogram), expected)


def test_what_the_slider_shows_are_look_ups_of_one_layer() -> None:
    years = two_years(1)
    layer = detect_change(years.first, years.second)
    stops = np.array([0.01, 0.05, 0.1, 0.2])
    ranks = layer.rates(stops)
    for position, rate in enumerate(stops):
        mask = layer.mask(rate)
        assert layer.count(rate) == mask.sum()
        np.testing.assert_array_equal(mask, (ranks >= 1) & (ranks <= position + 1))
    q = layer.q_table()
    assert (np.diff(q[:NO_LEVEL]) <= 0).all()
    assert layer.threshold(0.0) == NO_LEVEL or q[layer.threshold(0.0)] == 0


def test_marked_stable_ground_replaces_the_fitted_null() -> None:
    years = two_years(2, share=0.7)
    stable = ~years.changed
    stable[:, ::2] = False
    marked = detect_change(years.first, years.second, stable=stable)
    assert marked.null.source == "marked"
    assert marked.null.pixels > 500
    assert _false_share(marked, years.changed, 0.05) <= 0.05
    assert (marked.mask(0.05) & years.changed).sum() > 0.8 * years.changed.sum()
    again = detect_change(years.first, years.second).with_stable(stable)
    assert again.null.source == "marked"
    with pytest.raises(RasterError, match="mark at least 500"):
        again.with_stable(np.zeros_like(stable))


def test_p_values_of_unchanged_ground_are_not_too_small() -> None:
    years = two_years(5, share=0.25)
    p = detect_change(years.first, years.second).p_values()
    calm = p[~years.changed & np.isfinite(p)]
    for level in (0.01, 0.05, 0.2):
        assert (calm <= level).mean() < 1.4 * level


def test_what_cannot_be_compared_is_refused() -> None:
    years = two_years(0, size=48)
    other = replace(years.second, provenance=replace(years.second.provenance, version="else"))
    with pytest.raises(MixedDatasetsError):
        detect_change(years.first, other)
    with pytest.raises(RasterError, match="same pixels"):
        detect_change(years.first, two_years(0, size=60).second)
    empty = replace(years.second, scales=np.full_like(years.second.scales, np.nan))
    with pytest.raises(RasterError, match="too few"):
        detect_change(years.first, empty)
    with pytest.raises(RasterError, match="copy"):
        detect_change(years.first, years.first)
    with pytest.raises(Cancelled):
        detect_change(years.first, years.second, cancelled=lambda: True)


def test_log_ratio_covers_what_levels_can_hold() -> None:
    assert log_ratio(np.array([0]))[0] == -8
    assert log_ratio(np.array([change.TOP_LEVEL]))[0] == 8
