"""Colour ramps: what "even" means, checked on the colours themselves."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tessera_core.render.colormap import STEPS, Scale, colormap, colour_of, encode_values, hexes, oklab_to_srgb

# Linear sRGB to cone responses, and their cube roots to OKLab (the inverse of the published way).
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(colours):
    """OKLab of sRGB (n, 3) in 0..255."""
    c = colours / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ CONES.T) @ LAB.T


@pytest.mark.parametrize(("name", "way"), [("amount", 1), ("uncertainty", -1)])
def test_lightness_tells_more_from_less_and_steps_are_even(name, way):
    lab = oklab(colormap(name, 32).astype(float))
    assert (way * np.diff(lab[:, 0]) > 0).all()
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    # Colours are whole numbers, so a step is right to about one of 255.
    assert steps.max() < 1.35 * steps.min()


def test_differences_go_two_ways_from_a_pale_middle():
    lab = oklab(colormap("difference", 33).astype(float))
    assert lab[:, 0].argmax() == 16
    assert np.linalg.norm(lab[16, 1:]) < 0.01
    assert np.linalg.norm(lab[0] - lab[-1]) > 0.2
    np.testing.assert_allclose(lab[0, 0], lab[-1, 0], atol=0.12)


def test_white_and_black_are_where_they_belong():
    np.testing.assert_allclose(oklab_to_srgb(np.array([[1.0, 0, 0], [0, 0, 0]])), [[1, 1, 1], [0, 0, 0]], atol=1e-6)


def test_a_scale_is_not_ruled_by_a_few_extremes():
    values = np.append(np.linspace(0, 100, 1001), [1e6, np.nan])
    scale = Scale.of(values)
    assert scale.low == pytest.approx(2, abs=0.5)
    assert scale.high == pytest.approx(98, abs=0.5)
    assert (scale.below, scale.above) == (True, True)
    index = scale.index(values)
    assert (index[0], index[-2], index[-1]) == (1, STEPS, 0)
    assert (np.diff(index[:1001].astype(int)) >= 0).all()


@pytest.mark.parametrize("values", [np.full(5, 3.0), np.full(3, np.nan), np.zeros(0), np.array([0.0, 0.0])])
def test_flat_or_empty_numbers_have_a_scale_too(values):
    scale = Scale.of(values)
    assert scale.low < scale.high
    scale.index(values)


def test_few_different_numbers_use_the_whole_scale():
    scale = Scale.of(np.array([5.0] * 99 + [9.0]))
    assert (scale.low, scale.high) == (5, 9)


def test_a_picture_has_the_colours_of_its_numbers():
    scale = Scale(0, 1)
    values = np.array([[0.0, 1.0, np.nan]])
    picture = np.asarray(Image.open(io.BytesIO(encode_values(scale.index(values)))).convert("RGBA"))
    assert picture[0, :, 3].tolist() == [255, 255, 0]
    shown = ["#{:02x}{:02x}{:02x}".format(*pixel[:3]) for pixel in picture[0, :2].tolist()]
    assert shown == [hexes()[0], hexes()[-1]] == [colour_of(0, scale), colour_of(1, scale)]
    assert colour_of(float("nan"), scale) == "#9aa0a6"
