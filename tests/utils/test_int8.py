"""Products of codes against exact arithmetic, by every kernel that this processor and NumPy have."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core._utils import native
from tessera_core._utils.int8 import CodeProduct, code_squares, kernels, split_digits

KERNELS = kernels()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(
    ("codes", "scales"),
    [
        (np.zeros((5, 7), np.int8), None),
        (np.zeros((5, 8), np.int16), None),
        (np.zeros(8, np.int8), None),
        (np.zeros((5, 8), np.int8), np.ones(4, np.float32)),
    ],
)
def test_what_does_not_fit_is_refused_before_a_kernel_reads_beyond_it(kernel, codes, scales):
    product = CodeProduct(np.ones((8, 2)), kernel=kernel)
    with pytest.raises(ValueError, match="int8"):
        product(codes, scales)
    with pytest.raises(ValueError, match="int8"):
        product.largest(codes, scales, None, np.empty(5, np.uint8))


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_to_be_filled_has_the_length_of_the_codes(kernel):
    product = CodeProduct(np.ones((8, 2)), kernel=kernel)
    with pytest.raises(ValueError, match="as many"):
        product.largest(np.zeros((5, 8), np.int8), None, None, np.empty(4, np.uint8))
    with pytest.raises(ValueError, match="as many"):
        product(np.zeros((5, 8), np.int8), None, np.ones(3))


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


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    st.integers(1, 70),
    st.integers(1, 520) | st.sampled_from([1024, 1025]),
    st.integers(1, 33),
    st.booleans(),
    st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_products_are_exact_to_float32(kernel, n, dim, columns, extreme, seed):
    rng = np.random.default_rng(seed)
    codes = rng.choice([-128, 127], (n, dim)).astype(np.int8) if extreme else rng.integers(-128, 128, (n, dim), np.int8)
    weights = (rng.normal(size=(dim, columns)) * 10.0 ** rng.integers(-6, 6, columns)).astype(np.float32)
    exact = (codes.astype(np.float64) @ weights.astype(np.float64)).T
    bound = 128 * np.abs(weights).max(0)[:, None] * dim**0.5
    product = CodeProduct(weights, kernel=kernel)
    assert product(codes).shape == exact.shape
    assert (np.abs(product(codes) - exact) <= 4e-6 * bound).all()
    scales, added = rng.random(n).astype(np.float32), rng.normal(size=columns).astype(np.float32)
    whole = product(codes, scales, added)
    assert (np.abs(whole - (exact * scales + added[:, None])) <= 4e-6 * (bound + np.abs(added[:, None]))).all()


@pytest.mark.parametrize("kernel", KERNELS)
@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 300), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_the_largest_is_that_of_the_products(kernel, n, dim, columns, seed):
    """Class, confidence and value are those of the products of the same kernel; of equal columns the first is taken."""
    rng = np.random.default_rng(seed)
    columns = min(columns, 256)
    codes = rng.integers(-128, 128, (n, dim), np.int8)
    weights = np.repeat(rng.normal(size=(dim, -(-columns // 2))), 2, axis=1)[:, :columns].astype(np.float32)
    scales = (0.05 * rng.random(n)).astype(np.float32)
    product = CodeProduct(weights, kernel=kernel)
    names = rng.permutation(256)[:columns].astype(np.uint8)
    # Beyond what is asked nothing is written: the outputs are slices.
    classes, confidence = np.full(n + 1, 7, np.uint8), np.full(n + 1, 7, np.uint8)
    top = np.zeros(n, np.float32)
    product.largest(codes, scales, None, classes[:n], confidence[:n], top, names)
    logits = product(codes, scales).astype(np.float64)
    np.testing.assert_array_equal(classes[:n], names[logits.argmax(0)] if n else [])
    np.testing.assert_allclose(top, logits.max(0) if n else [], rtol=1e-6, atol=1e-7)
    if n:
        share = 100 / np.exp(logits - logits.max(0)).sum(0)
        assert (np.abs(confidence[:n] - share) <= 0.5 + 1e-3).all()
    assert classes[n] == confidence[n] == 7


@pytest.mark.parametrize("kernel", KERNELS)
def test_far_apart_logits_leave_no_doubt(kernel):
    weights = np.array([[300.0, -300.0, 0.0]], np.float32)
    classes, confidence = np.empty(2, np.uint8), np.empty(2, np.uint8)
    CodeProduct(weights, kernel=kernel).largest(
        np.array([[127], [-127]], np.int8), None, None, classes, confidence, names=np.array([5, 6, 7], np.uint8)
    )
    assert classes.tolist() == [5, 6]
    assert confidence.tolist() == [100, 100]


@given(st.integers(1, 40), st.integers(1, 300), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_squared_lengths_are_exact(n, dim, seed):
    codes = np.random.default_rng(seed).integers(-128, 128, (n, dim), np.int8)
    np.testing.assert_array_equal(code_squares(codes), np.square(codes.astype(np.float32)).sum(1))


def test_vectors_that_are_codes_need_one_digit_only():
    codes = np.random.default_rng(0).integers(-127, 128, (50, 64), np.int8)
    references = np.random.default_rng(1).integers(-127, 127, (64, 9)).astype(np.float32)
    references[0] = 127
    ours = CodeProduct(references * 0.03, digits=1)(codes)
    np.testing.assert_allclose(ours, (codes @ (references * 0.03)).T, rtol=1e-5, atol=1e-4)


_SAYS = "from tessera_core._utils.int8 import kernels; print(*kernels())"


def _kernels(**changes: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SAYS], env=os.environ | changes, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_numpy_does_it_where_no_kernels_are_wanted() -> None:
    assert _kernels(TESSERA_NATIVE="0") == ["numpy"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_a_library_laid_beside_its_source_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an image: built once, then opened where there is no compiler; a source that has changed since is not it."""
    source = tmp_path / "codes.c"
    shutil.copy(native.PORTABLE[0], source)
    monkeypatch.setattr(native, "PORTABLE", (source,))
    (laid,) = native.lay_beside()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CC", "none-such")
    opened = native.library(source)
    assert opened is not None
    assert opened.tessera_codes_form() >= 0
    assert laid.parent == tmp_path
    native.forget()
    source.write_text(source.read_text() + "/* newer */")
    assert native.library(source) is None
    native.forget()
