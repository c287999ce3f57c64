"""The two int8 rules of spec 3."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tessera_core.models.quantise import quantise

VALUES = st.floats(-1e4, 1e4, width=32)
VECTORS = arrays(np.float32, array_shapes(min_dims=1, max_dims=3, max_side=9), elements=VALUES)
RULES = st.sampled_from(["v1", "v2"])


@given(x=VECTORS, rule=RULES)
def test_round_trip_is_within_half_a_step(x: np.ndarray, rule: str) -> None:
    codes, scales = quantise(x, rule)  # type: ignore[arg-type]
    assert (codes.dtype, scales.dtype) == (np.int8, np.float32)
    assert codes.shape == x.shape
    assert scales.shape == x.shape[:-1]
    back = codes.astype(np.float64) * scales[..., None].astype(np.float64)
    # Half a step, plus the float32 rounding of the division (127 ulp at most).
    assert (np.abs(back - x) <= scales[..., None] * (0.5 + 127 * 2**-23)).all()
    assert (np.abs(codes.astype(int)).max(axis=-1)[np.abs(x).max(axis=-1) > 1e-5] == 127).all()


@given(x=VECTORS, rule=RULES, factor=st.sampled_from([0.5, 2.0, 1024.0]))
def test_codes_do_not_depend_on_scale(x: np.ndarray, rule: str, factor: float) -> None:
    x = np.where(np.abs(x) < 1e-3, np.float32(0), x)
    peak = np.abs(x).max(axis=-1)
    codes, scales = quantise(x, rule)  # type: ignore[arg-type]
    other, bigger = quantise(x * np.float32(factor), rule)  # type: ignore[arg-type]
    np.testing.assert_array_equal(other[peak > 0], codes[peak > 0])
    np.testing.assert_array_equal(bigger[peak > 0], (scales * np.float32(factor))[peak > 0])


@pytest.mark.parametrize("rule", ["v1", "v2"])
def test_rounds_half_to_even(rule: str) -> None:
    x = np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5], np.float32)
    codes, scale = quantise(x, rule)  # type: ignore[arg-type]
    assert scale == 1
    assert codes.tolist() == [127, 0, 2, 2, 0, -2, -2, 126]


def test_zero_and_tiny_vectors() -> None:
    zero, tiny = np.zeros(4, np.float32), np.full(4, 1e-9, np.float32)
    for x, rule, code, scale in (
        (zero, "v1", 0, np.float32(1e-8)),
        (zero, "v2", 0, np.float32(1e-12) / np.float32(127)),
        (tiny, "v1", 0, np.float32(1e-8)),
        (tiny, "v2", 127, np.float32(1e-9) / np.float32(127)),
    ):
        codes, scales = quantise(x, rule)  # type: ignore[arg-type]
        assert codes.tolist() == [code] * 4
        assert scales == scale


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rule", ["v1", "v2"])
def test_not_finite_becomes_no_data(bad: float, rule: str) -> None:
    codes, scales = quantise(np.array([[1, bad], [1, 2]], np.float32), rule)  # type: ignore[arg-type]
    assert codes[0].tolist() == [0, 0]
    assert np.isnan(scales[0])
    assert scales[1] > 0


def test_truncation_comes_before_quantising() -> None:
    x = np.array([1, 2, 100], np.float32)
    assert quantise(x[:2], "v2")[0].tolist() == [64, 127]
    assert quantise(x, "v2")[0][:2].tolist() != [64, 127]


def test_unknown_rule() -> None:
    with pytest.raises(ValueError, match="v3"):
        quantise(np.zeros(2, np.float32), "v3")  # type: ignore[arg-type]
