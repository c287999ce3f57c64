"""Packing keeps what is valid and nothing else; views are fair draws from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.models.normalisation import NORMALISATIONS
from tessera_core.pretrain.pixels import PixelSet, Series, pack, pack_pixels
from tessera_core.pretrain.views import Disturbance, draw_positions, draw_view

NORM = NORMALISATIONS["v2-student"]


def some_pixels(n: int = 40, seed: int = 0, dates: int = 30, passes: int = 20) -> PixelSet:
    """Pixels whose band values encode the date, so that a view can be traced back."""
    rng = np.random.default_rng(seed)
    doys = np.sort(rng.choice(np.arange(1, 367), dates, replace=False))
    s2 = np.broadcast_to(doys[None, :, None] * 10, (n, dates, 10)).astype(np.uint16)
    valid = rng.random((n, dates)) < rng.random((n, 1))
    asc = rng.integers(1000, 8000, (n, passes, 2)).astype(np.int16)
    desc = -asc
    asc[rng.random((n, passes)) < 0.2] = 0
    days = np.arange(1, passes + 1) * 12
    return pack_pixels(
        Series(s2, doys, valid), Series(asc, days), Series(desc, days + 3), max_s2=24, max_s1=32, seed=seed
    )


@given(st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 12), st.integers(1, 15))
@settings(max_examples=60, deadline=None)
def test_packing_keeps_valid_observations_in_order(seed, dates, capacity, n):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 1000, (n, dates, 3))
    valid = rng.random((n, dates)) < 0.6
    doys = np.arange(1, dates + 1)
    packed, days, counts, source = pack(values, valid, doys, capacity, rng)
    assert packed.shape == (n, capacity, 3)
    for i in range(n):
        k = min(int(valid[i].sum()), capacity)
        assert counts[i] == k
        assert (np.diff(source[i, :k]) > 0).all()
        assert valid[i, source[i, :k]].all()
        assert (packed[i, :k] == values[i, source[i, :k]]).all()
        assert (days[i, :k] == doys[source[i, :k]]).all()
        assert not packed[i, k:].any()
        assert not days[i, k:].any()


@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_positions_without_replacement_where_possible(seed, dates, k):
    rng = np.random.default_rng(seed)
    allowed = rng.random((25, dates)) < rng.random((25, 1))
    chosen = draw_positions(allowed, k, rng)
    for row, mask in zip(chosen, allowed, strict=True):
        n = int(mask.sum())
        if n == 0:
            assert (row == -1).all()
            continue
        assert mask[row].all()
        assert (np.diff(row) >= 0).all()
        times = np.bincount(row, minlength=dates)[mask]
        # Every observation as often as any other, give or take one.
        assert times.max() - times.min() <= 1
        assert len(np.unique(row)) == min(n, k)


def test_positions_are_fair():
    allowed = np.ones((20000, 10), bool)
    counts = np.bincount(draw_positions(allowed, 3, np.random.default_rng(0)).ravel(), minlength=10)
    assert counts == pytest.approx(np.full(10, 6000), rel=0.05)


def test_a_view_holds_the_pixels_own_normalised_observations():
    pixels = some_pixels()
    view = draw_view(pixels, 8, 6, NORM, np.random.default_rng(1))
    assert view.s2.shape == (len(pixels), 8, 11)
    assert view.s1.shape == (len(pixels), 6, 3)
    assert view.s2.dtype == view.s1.dtype == np.float32
    raw = view.s2[..., 0] * np.float32(NORM.s2_std[0]) + np.float32(NORM.s2_mean[0])
    seen = pixels.s2_count > 0
    assert np.abs(raw - 10 * view.s2[..., 10])[seen].max() < 0.01
    assert not view.s2[~seen].any()


def test_orbits_use_their_own_statistics():
    pixels = some_pixels()
    view = draw_view(pixels, 4, 20, NORM, np.random.default_rng(2))
    descending = view.s1[..., 2] % 12 == 3
    vv = np.where(
        descending,
        view.s1[..., 0] * np.float32(NORM.desc_std[0]) + np.float32(NORM.desc_mean[0]),
        view.s1[..., 0] * np.float32(NORM.asc_std[0]) + np.float32(NORM.asc_mean[0]),
    )
    assert (vv[descending] < 0).all()
    assert (vv[~descending] > 0).all()


def test_two_views_differ_and_the_seed_decides():
    pixels = some_pixels()
    first, second, again = (draw_view(pixels, 8, 8, NORM, np.random.default_rng(seed)) for seed in (1, 2, 1))
    assert (first.s2 == again.s2).all()
    assert (first.s1 == again.s1).all()
    assert (first.s2 != second.s2).any()


def test_a_dropped_modality_is_zeros_and_never_both():
    pixels = some_pixels(400, 3).take(np.arange(400))
    both = (pixels.s2_count > 0) & (pixels.s1_count > 0)
    view = draw_view(pixels, 8, 8, NORM, np.random.default_rng(0), Disturbance(drop_s1=0.5, drop_s2=0.5))
    no_s2, no_s1 = ~view.s2.any((1, 2)), ~view.s1.any((1, 2))
    assert (no_s2 ^ no_s1)[both].all()
    assert 0.3 < no_s2[both].mean() < 0.7


def test_one_orbit_and_a_window_of_the_year():
    pixels = some_pixels(300, 4)
    view = draw_view(pixels, 8, 12, NORM, np.random.default_rng(0), Disturbance(drop_orbit=1.0))
    descending = view.s1[..., 2] % 12 == 3
    assert (descending.all(1) | ~descending.any(1)).all()
    window = Disturbance(window=1.0, window_days=(60, 60))
    days = draw_view(pixels, 3, 3, NORM, np.random.default_rng(0), window).s2[..., 10]
    # Days on a circle of 366: the largest gap leaves at most the window; few pixels have nothing inside theirs.
    gaps = np.diff(np.concatenate([days, days[:, :1] + 366], axis=1), axis=1)
    assert (366 - gaps.max(1) <= 60).mean() > 0.8


def test_radiometric_disturbance_is_small_and_per_view():
    pixels = some_pixels(200, 5)
    plain = draw_view(pixels, 8, 8, NORM, np.random.default_rng(7))
    moved = draw_view(pixels, 8, 8, NORM, np.random.default_rng(7), Disturbance(gain=0.02, haze=0.005, radar_db=0.4))
    # The dates are drawn first for S2, so the same generator gives the same dates.
    assert (plain.s2[..., 10] == moved.s2[..., 10]).all()
    seen = pixels.s2_count > 0
    change = np.abs(plain.s2[seen] - moved.s2[seen])[..., :10]
    assert 0 < change.mean() < 0.1


def test_a_missing_polarisation_stays_raw_zero():
    pixels = some_pixels(50, 6)
    pixels.s1[:, :, 1] = 0
    view = draw_view(pixels, 4, 8, NORM, np.random.default_rng(0), Disturbance(radar_db=2.0))
    expected = {np.float32(-NORM.asc_mean[1] / NORM.asc_std[1]), np.float32(-NORM.desc_mean[1] / NORM.desc_std[1])}
    values = np.unique(view.s1[pixels.s1_count > 0][..., 1])
    assert all(min(abs(v - e) for e in expected) < 1e-5 for v in values)


def test_some_rows_get_the_views_they_would_get_among_all():
    """What lets several processes share a batch."""
    pixels = some_pixels(30)
    disturbed = Disturbance(drop_s1=0.2, drop_s2=0.2, drop_orbit=0.3, window=0.5, gain=0.1, haze=0.1, radar_db=1.0)
    rows = np.array([2, 3, 17, 29])
    whole = draw_view(pixels, 6, 5, NORM, np.random.default_rng(7), disturbed)
    part = draw_view(pixels, 6, 5, NORM, np.random.default_rng(7), disturbed, rows)
    assert (part.s2 == whole.s2[rows]).all()
    assert (part.s1 == whole.s1[rows]).all()
    assert (part.s2 != whole.s2[rows - 1]).any()
