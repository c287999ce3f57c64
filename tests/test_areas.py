"""Pixels are counted by rows, and the counts are those of all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core import areas
from tessera_core.areas import pixel_counts, summed_percent


@settings(deadline=None)
@given(
    st.integers(0, 1000), st.integers(0, 9), st.integers(1, 9), st.integers(1, 256), st.sampled_from([1, 7, 1 << 18])
)
def test_counts_are_those_of_all_at_once(seed: int, height: int, width: int, length: int, block: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(areas, "_COUNTED", block)
        found = pixel_counts(values, length)
    np.testing.assert_array_equal(found, np.bincount(values.ravel(), minlength=length))
    known = values[values != 255]
    assert summed_percent(values) == (known.sum(), known.size)
