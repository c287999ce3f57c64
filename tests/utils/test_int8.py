"""Integer products of codes against exact arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core._utils.int8 import CodeProduct, int8_products_work, split_digits

KERNELS = [False] + ([True] if int8_products_work() else [])


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 6), st.integers(0, 2**31), st.floats(1e-20, 1e20))
@settings(max_examples=50, deadline=None)
def test_digits_stand_for_the_weights(digits, dim, columns, seed, size):
    weights = np.random.default_rng(seed).normal(size=(dim, columns)) * size
    planes, steps = split_digits(weights, digits)
    assert len(planes) == digits
    assert all(plane.dtype == np.int8 for plane in planes)
    value = sum(256.0 ** (digits - 1 - i) * plane for i, plane in enumerate(planes)) * steps
    assert (np.abs(value - weights) <= steps * (0.5 + 1e-6)).all()


def test_zero_columns_stay_zero():
    planes, steps = split_digits(np.zeros((4, 2)), 3)
    assert not any(plane.any() for plane in planes)
    assert np.isfinite(steps).all()


@pytest.mark.parametrize("integer", KERNELS)
@given(
    st.integers(1, 70),
    st.integers(1, 130).map(lambda d: d * 4),
    st.integers(1, 33),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_products_are_exact_to_float32(integer, n, dim, columns, extreme, seed):
    rng = np.random.default_rng(seed)
    codes = rng.choice([-128, 127], (n, dim)).astype(np.int8) if extreme else rng.integers(-128, 128, (n, dim), np.int8)
    weights = (rng.normal(size=(dim, columns)) * 10.0 ** rng.integers(-6, 6, columns)).astype(np.float32)
    ours = CodeProduct(weights, integer=integer)(torch.from_numpy(codes)).numpy()
    exact = (codes.astype(np.float64) @ weights.astype(np.float64)).T
    bound = 128 * np.abs(weights).max(0)[:, None] * dim**0.5
    assert ours.shape == exact.shape
    assert (np.abs(ours - exact) <= 2e-6 * bound).all()


@pytest.mark.skipif(True not in KERNELS, reason="int8 products are slow or inexact on this machine")
def test_vectors_that_are_codes_need_one_digit_only():
    codes = np.random.default_rng(0).integers(-127, 128, (50, 64), np.int8)
    references = np.random.default_rng(1).integers(-127, 127, (64, 9)).astype(np.float32)
    references[0] = 127
    ours = CodeProduct(references * 0.03, digits=1)(torch.from_numpy(codes)).numpy()
    np.testing.assert_allclose(ours, (codes @ (references * 0.03)).T, rtol=1e-5, atol=1e-4)
