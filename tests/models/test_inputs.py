"""Sampling rules and input preparation beyond the golden tiles."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.errors import CheckpointError, TileError
from tessera_core.models.config import PRESETS, Sampling
from tessera_core.models.inputs import (
    PixelSeries,
    choose_positions,
    distinct_positions,
    draw_positions,
    prepare,
    runnable,
    sequence_length,
)
from tessera_core.models.normalisation import NORMALISATIONS, Normalisation

V11, V2 = Sampling("v1.1"), Sampling("v2")
RULES = st.sampled_from([V11, V2])


def arrays(t: int = 6, n: int = 5, asc: int = 3, desc: int = 2, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "bands": rng.integers(1, 9000, (t, n, 10)).astype(np.uint16),
        "masks": rng.integers(0, 2, (t, n)).astype(np.uint8),
        "doys": np.sort(rng.integers(1, 367, t)).astype(np.uint16),
        "sar_asc": rng.integers(1, 9000, (asc, n, 2)).astype(np.int16),
        "doys_asc": rng.integers(1, 367, asc).astype(np.int16),
        "sar_desc": rng.integers(1, 9000, (desc, n, 2)).astype(np.int16),
        "doys_desc": rng.integers(1, 367, desc).astype(np.int16),
    }


@given(n=st.integers(1, 700), sampling=RULES)
def test_positions_are_valid_and_complete(n: int, sampling: Sampling) -> None:
    length = sequence_length(n, sampling)
    positions = choose_positions(n, sampling)
    assert positions.shape == (length,)
    assert positions.dtype == np.int64
    assert positions.min() >= 0
    assert positions.max() < n
    if n <= length:
        np.testing.assert_array_equal(positions[:n], np.arange(n))
    else:
        assert (np.diff(positions) > 0).all()
        assert len(set(positions.tolist())) == length
    if sampling.rule == "v2" and n >= length:
        assert (positions[0], positions[-1]) == (0, n - 1)


@given(n=st.integers(1, 700), sampling=RULES)
def test_distinct_positions_count_every_row(n: int, sampling: Sampling) -> None:
    ordinals, times = distinct_positions(n, sampling)
    rebuilt = np.sort(np.repeat(ordinals, times))
    np.testing.assert_array_equal(rebuilt, np.sort(choose_positions(n, sampling)))
    assert not ordinals.flags.writeable


@given(n=st.integers(1, 255))
def test_both_rules_repeat_evenly_but_not_alike(n: int) -> None:
    for sampling in (V11, V2):
        _, times = distinct_positions(n, sampling)
        assert times.sum() == sequence_length(n, sampling)
        if sampling.rule == "v2":
            assert times.max() - times.min() <= 1


def test_sequence_lengths() -> None:
    assert [sequence_length(n, V11) for n in (0, 1, 8, 9, 256, 300)] == [8, 8, 8, 16, 256, 256]
    assert [sequence_length(n, V2) for n in (0, 1, 8, 9, 256, 300)] == [1, 8, 8, 16, 256, 256]
    assert choose_positions(0, V2).shape == (0,)
    with pytest.raises(ValueError, match=r"v1\.0"):
        choose_positions(3, Sampling("v1.0"))
    for bins in ((), (0, 8), (8, 8), (16, 8)):
        with pytest.raises(CheckpointError):
            Sampling("v2", bins)


@given(valid=st.lists(st.booleans(), min_size=1, max_size=90), seed=st.integers(0, 2**31))
def test_draws(valid: list[bool], seed: int) -> None:
    mask = np.array(valid)
    drawn = draw_positions(mask, 40, np.random.RandomState(seed))
    assert drawn.shape == (40,)
    assert (np.diff(drawn) >= 0).all()
    if mask.any():
        assert mask[drawn].all()
    if mask.sum() >= 40:
        assert len(set(drawn.tolist())) == 40
    np.testing.assert_array_equal(drawn, draw_positions(mask, 40, np.random.RandomState(seed)))


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(["v1.1-mpc", "v2-nano", "v2-teacher"]), n=st.integers(1, 9))
def test_every_row_is_a_valid_observation_of_its_pixel(seed: int, name: str, n: int) -> None:
    series, config = PixelSeries.of_arrays(**arrays(12, n, 7, 4, seed)), PRESETS[name]
    seen = np.zeros(n, int)
    for bucket in prepare(series, config):
        seen[bucket.pixels] += 1
        for row, pixel in enumerate(bucket.pixels):
            at = bucket.s2_positions[row]
            if at[0] < 0:
                assert not series.s2_valid[:, pixel].any()
                assert not bucket.s2[row].any()
            else:
                assert series.s2_valid[at, pixel].all()
                np.testing.assert_array_equal(bucket.s2[row, :, -1], series.doys[at])
                np.testing.assert_array_equal(bucket.s2[row, :, :-1], config.normalisation.s2(series.bands[at, pixel]))
            asc = bucket.s1_positions[row] < series.ascending
            raw = series.sar[bucket.s1_positions[row], pixel]
            np.testing.assert_array_equal(bucket.s1[row, asc, :-1], config.normalisation.ascending(raw[asc]))
            np.testing.assert_array_equal(bucket.s1[row, ~asc, :-1], config.normalisation.descending(raw[~asc]))
    np.testing.assert_array_equal(seen, runnable(series, config).astype(int))


def test_missing_sensors() -> None:
    a = arrays()
    a["masks"][:, :2] = 0
    for orbit in ("sar_asc", "sar_desc"):
        a[orbit][:, 1:3] = 0
    series = PixelSeries.of_arrays(**a)
    assert runnable(series, PRESETS["v1.1-mpc"]).tolist() == [True] * 5
    assert runnable(series, PRESETS["v2-nano"]).tolist() == [True, False, True, True, True]
    v2 = {p: b for b in prepare(series, PRESETS["v2-nano"]) for p in b.pixels.tolist()}
    assert v2[0].s2.shape[1:] == (1, 11)
    assert v2[2].s1.shape[1:] == (1, 3)
    assert not v2[2].s1.any()
    v11 = {p: b for b in prepare(series, PRESETS["v1.1-mpc"]) for p in b.pixels.tolist()}
    assert v11[1].s2.shape[1:] == (8, 11)
    assert v11[1].s1.shape[1:] == (8, 3)


def test_no_dates_at_all() -> None:
    a = arrays(asc=0, desc=0)
    # Stackers write a wrong spatial shape for absent radar.
    a["sar_asc"] = np.zeros((0, 868, 782, 2), np.int16)
    series = PixelSeries.of_arrays(**a)
    assert all(b.s1.shape[1] == 1 for b in prepare(series, PRESETS["v2-nano"]))
    with pytest.raises(TileError, match="Sentinel-1"):
        list(prepare(series, PRESETS["v1.0-fp32"]))
    for bucket in prepare(series, PRESETS["v1.0-qat"]):
        assert (bucket.s1[..., -1] == 180).all()
    empty = PixelSeries.of_arrays(**arrays(t=0, asc=0, desc=0))
    assert list(prepare(empty, PRESETS["v2-nano"])) == []
    assert next(prepare(empty, PRESETS["v1.1-mpc"])).s2.shape == (5, 8, 11)


def test_one_orbit_gets_a_dummy_pass_in_its_place() -> None:
    series = PixelSeries.of_arrays(**arrays(asc=0, desc=2)).with_dummy_passes()
    assert series.doys_sar[0] == 180
    assert (series.ascending, len(series.doys_sar)) == (1, 3)
    assert not series.s1_valid[0].any()
    whole = PixelSeries.of_arrays(**arrays())
    assert whole.with_dummy_passes() is whole


def test_v1_0_filter_and_repeats() -> None:
    a = arrays(n=4)
    a["bands"][:, 0] = 0
    a["masks"][:, 1] = 0
    series = PixelSeries.of_arrays(**a)
    config = PRESETS["v1.0-qat"]
    assert runnable(series, config).tolist() == [False, True, True, True]
    strict = replace(config, sampling=replace(config.sampling, min_valid=1))
    assert runnable(series, strict).tolist() == [False, False, True, True]
    buckets = list(prepare(series, config, seed=3, repeats=4, batch_size=2))
    assert [b.pixels.tolist() for b in buckets] == [[1, 2]] * 4 + [[3]] * 4
    assert sum(b.weight for b in buckets[:4]) == pytest.approx(1)
    again = list(prepare(series, config, seed=3, repeats=4, batch_size=2))
    assert all(np.array_equal(x.s2, y.s2) and np.array_equal(x.s1, y.s1) for x, y in zip(buckets, again, strict=True))
    other = list(prepare(series, config, seed=4, repeats=4, batch_size=2))
    assert not all(np.array_equal(x.s2, y.s2) for x, y in zip(buckets, other, strict=True))


def test_single_polarisation_counts_and_stays_zero() -> None:
    a = arrays(asc=1, desc=0)
    a["sar_asc"][0, 0] = (4000, 0)
    series = PixelSeries.of_arrays(**a)
    assert series.s1_valid[0, 0]
    bucket = next(b for b in prepare(series, PRESETS["v2-nano"]) if 0 in b.pixels)
    row = bucket.s1[bucket.pixels.tolist().index(0), 0]
    np.testing.assert_array_equal(row[:2], PRESETS["v2-nano"].normalisation.ascending([4000, 0]))


def test_masks_none_means_all_valid() -> None:
    a = arrays() | {"masks": None}
    assert PixelSeries.of_arrays(**a).s2_valid.all()


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint16, np.int64])
def test_integer_dtypes_are_alike(dtype: type) -> None:
    a = arrays()
    b = {k: v.astype(dtype) for k, v in a.items()}
    first, second = (next(prepare(PixelSeries.of_arrays(**x), PRESETS["v2-nano"])) for x in (a, b))
    np.testing.assert_array_equal(first.s2, second.s2)
    np.testing.assert_array_equal(first.s1, second.s1)


@pytest.mark.parametrize("change", [{"doys": np.arange(3)}, {"doys_asc": np.arange(9)}, {"masks": np.ones((2, 5))}])
def test_arrays_that_do_not_belong_together(change: dict) -> None:
    with pytest.raises(TileError):
        PixelSeries.of_arrays(**(arrays() | change))


def test_of_tile_takes_rows() -> None:
    class Tile:
        def __init__(self) -> None:
            a = arrays(n=6)
            for key, value in a.items():
                grid = value.reshape(value.shape[0], 3, 2, *value.shape[2:]) if value.ndim > 1 else value
                setattr(self, key, grid)

    whole, part = PixelSeries.of_tile(Tile()), PixelSeries.of_tile(Tile(), slice(1, 2))  # type: ignore[arg-type]
    assert (whole.pixels, part.pixels) == (6, 2)
    np.testing.assert_array_equal(part.sar, whole.sar[:, 2:4])


@given(st.floats(1e-3, 1e4), st.floats(-1e4, 1e4))
def test_normalisation_formula_and_json(std: float, mean: float) -> None:
    n = Normalisation("mine", (mean,) * 10, (std,) * 10, (mean,) * 2, (std,) * 2, (0.0,) * 2, (1.0,) * 2)
    raw = np.arange(20, dtype=np.uint16).reshape(2, 10)
    np.testing.assert_array_equal(
        n.s2(raw), (raw.astype(np.float32) - np.float32(mean)) / (np.float32(std) + np.float32(1e-9))
    )
    assert Normalisation.from_json(n.to_json()) == n
    np.testing.assert_array_equal(n.descending([[3, 4]]), [[3, 4]])


def test_published_normalisations() -> None:
    assert set(NORMALISATIONS) == {"v1.0", "v1.1-mpc", "v1.1-aws", "v2-student", "v2-teacher"}
    for name, n in NORMALISATIONS.items():
        assert n.to_json() == name
        assert Normalisation.from_json(name) is n
        assert (n.asc_mean == n.desc_mean) == (name in ("v1.0", "v2-teacher"))
    for bad in ((1.0,) * 9, (0.0,) * 10, (float("nan"),) * 10):
        with pytest.raises(CheckpointError):
            replace(NORMALISATIONS["v1.0"], s2_std=bad)
