"""Pictures of how often pixels were seen: every pixel has the colour of its count."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tessera_core.observations import ELBOW, LEAST, packed_months
from tessera_core.raster import EmbeddingRaster
from tessera_core.render import seen
from tessera_core.render.display import DisplayGrid
from tessera_core.render.palette import rgb
from tests.factories import landscape


@pytest.fixture
def raster() -> EmbeddingRaster:
    """64 x 64 without a place, two rows and columns without data; counts and months of every size, radar in half of it."""
    rng = np.random.default_rng(4)
    counts = np.zeros((64, 64, 6), np.uint16)
    counts[..., 0] = rng.integers(0, 90, (64, 64))
    counts[..., 1] = rng.integers(0, 2, (64, 64))
    counts[..., 3] = packed_months(rng.random((64, 64, 12)) < rng.random((64, 64, 1)))
    return replace(landscape(), observations=counts)


def shown(name: str, raster: EmbeddingRaster) -> np.ndarray:
    display = DisplayGrid(raster.grid)
    picture = np.asarray(Image.open(io.BytesIO(seen.seen_png(name, raster, display))).convert("RGBA"))
    assert picture.shape[:2] == display.shape
    return picture


@pytest.mark.parametrize("name", [seen.TIMES, seen.MONTHS_SEEN, seen.NO_RADAR])
def test_every_pixel_has_the_colour_of_its_count(
    raster: EmbeddingRaster, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Blocks that do not divide the raster.
    monkeypatch.setattr(seen, "_ROWS", 7)
    assert raster.observations is not None
    counts = {
        seen.TIMES: raster.observations[..., 0].astype(int),
        seen.MONTHS_SEEN: np.array(
            [[bin(bits).count("1") for bits in row] for row in raster.observations[..., 3].tolist()]
        ),
        seen.NO_RADAR: (raster.valid() & (raster.observations[..., 1:3].sum(-1) == 0)).astype(int),
    }[name]
    wanted = np.zeros((64, 64, 4), np.uint8)
    found = set()
    for step in seen.SEEN[name].steps:
        within = (counts >= step.low) & (counts <= (step.high or 10**6))
        wanted[within] = (*rgb(step.colour), 255)
        found.add(bool(within.any()))
    assert found == {True}
    assert np.array_equal(wanted[..., 3] > 0, counts > 0)
    np.testing.assert_array_equal(shown(name, raster), DisplayGrid(raster.grid).warp(wanted))


def test_steps_leave_no_gap_and_change_where_embeddings_do() -> None:
    for picture in seen.SEEN.values():
        for one, after in zip(picture.steps, picture.steps[1:], strict=False):
            assert after.low == (one.high or 0) + 1
            assert one.colour != after.colour
    assert {LEAST, ELBOW} <= {step.low for step in seen.SEEN[seen.TIMES].steps}


def test_where_nobody_counted_there_is_no_picture(raster: EmbeddingRaster) -> None:
    assert seen.seen_pictures(raster) == (seen.TIMES, seen.MONTHS_SEEN, seen.NO_RADAR)
    assert seen.seen_pictures(landscape()) == ()
