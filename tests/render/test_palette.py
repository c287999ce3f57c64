import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tessera_core.render import palette


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), entries=st.integers(1, 256), seed=st.integers(0, 2**32 - 1))
def test_indexed_round_trip(height: int, width: int, entries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    colors = rng.integers(0, 256, (entries, 4), dtype=np.uint8)
    index = rng.integers(0, entries, (height, width)).astype(np.uint8)
    np.testing.assert_array_equal(decode(palette.encode_indexed(index, colors)), colors[index])


def test_classes_get_their_colours_and_the_rest_is_transparent() -> None:
    classes = np.array([[0, 3, 200, 7]], np.uint8)
    seen = decode(palette.encode(classes, {200: "#0102ff", 3: "#ff8000"}))
    np.testing.assert_array_equal(seen[0], [[0, 0, 0, 0], [255, 128, 0, 255], [1, 2, 255, 255], [0, 0, 0, 0]])


def test_all_254_classes() -> None:
    classes = np.arange(255, dtype=np.uint8)[None]
    seen = decode(palette.encode(classes, {i: f"#{i:02x}{255 - i:02x}07" for i in range(1, 255)}))
    assert seen[0, 0, 3] == 0
    np.testing.assert_array_equal(seen[0, 1:, 0], np.arange(1, 255))


@pytest.mark.parametrize("color", ["red", "#12345", "123456#", "#gg0000"])
def test_bad_colour_is_refused(color: str) -> None:
    with pytest.raises(ValueError, match=r"colour|base 16"):
        palette.rgb(color)
