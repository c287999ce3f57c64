from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import pytest

from tessera_core.dpixels import preprocess


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden" / "preprocessing"


def test_scl_mask_equals_the_reference(golden: Path) -> None:
    expected = json.loads((golden / "scl_mask.json").read_text())["scl_to_mask"]
    classes = np.array([int(k) for k in expected])
    assert preprocess.scl_valid(classes).astype(int).tolist() == list(expected.values())
    assert not preprocess.scl_valid(np.array([np.nan, np.inf])).any()


def test_daily_mosaic_equals_the_reference(golden: Path) -> None:
    with np.load(golden / "s2_daily_mosaic.npz") as data:
        roi = data["roi"] > 0
        choice = preprocess.select_items(data["scl"], roi)
        np.testing.assert_array_equal(choice, data["tile_selection"])
        assert 100 * (choice >= 0).sum() / roi.sum() == pytest.approx(float(data["valid_pct"]))
        np.testing.assert_array_equal(preprocess.mosaic(data["scl"], choice).astype(np.uint8), data["scl_mosaic"])
        filled = preprocess.fallback_items(choice, roi, 3, seed=0)
        band = preprocess.mosaic(data["band"], filled)
        clear = ~data["random_filled"]
        np.testing.assert_allclose(band[clear], data["band_mosaic"][clear])
        assert (filled[roi] >= 0).all()
        assert (filled[~roi] == -1).all()


@pytest.mark.parametrize("source", ["mpc", "aws"])
@pytest.mark.parametrize("day", ["2022-01-24", "2022-01-25", "2022-01-26", "2024-06-01"])
def test_date_rule_equals_the_reference(golden: Path, source: str, day: str) -> None:
    with np.load(golden / "s2_harmonise.npz") as data:
        got = preprocess.harmonise(data["dn"], dt.date.fromisoformat(day), rule="date", source=source)
        np.testing.assert_array_equal(got, data[f"{source}_{day}"])


def test_baseline_rule_follows_the_item_not_the_date() -> None:
    values = np.array([0.0, 1.0, 999.0, 1000.0, 1001.0, 5000.0, np.nan])
    early = dt.date(2019, 6, 1)
    new = preprocess.harmonise(values, early, rule="baseline", source="mpc", baseline=5.0)
    np.testing.assert_array_equal(new, [0, 1, 1, 1, 1, 4000, np.nan])
    old = preprocess.harmonise(values, dt.date(2023, 6, 1), rule="baseline", source="mpc", baseline=3.01)
    np.testing.assert_array_equal(old, values)


def test_sar_code_equals_the_reference(golden: Path) -> None:
    with np.load(golden / "s1_db.npz") as data:
        code = preprocess.sar_code(data["raw"])
        np.testing.assert_array_equal(code, data["int16"])
        np.testing.assert_array_equal(np.where(data["mask"] > 0, code, 0), data["int16_masked"])


def test_first_nonzero_wins() -> None:
    layers = np.array([[0, 5, 0], [7, 6, 0], [8, 9, 0]], np.int16)
    assert preprocess.first_nonzero(layers).tolist() == [7, 5, 0]


def test_dn_is_truncated_and_nan_is_no_data() -> None:
    assert preprocess.to_dn(np.array([np.nan, 0.9, 12.99, 70000.0, -3.0])).tolist() == [0, 0, 12, 65535, 0]
