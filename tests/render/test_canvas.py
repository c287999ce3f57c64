"""The pictures that a map lies on: which there are, and that each shows what its name says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tessera_core.errors import InputError, RasterError
from tessera_core.raster import picture_file
from tessera_core.render import canvas
from tessera_core.render.picture import true_colour

# The middle of each month.
DOYS = np.arange(12) * 30 + 15


def tile(cloudy: dict[int, float] | None = None, months: range = range(1, 13)) -> Any:
    """A year of one clear look a month, each with a brightness of its own; some months cloudy over a share of the ground."""
    rng = np.random.default_rng(3)
    chosen = np.array(months) - 1
    bands = rng.integers(200, 3000, (len(chosen), 40, 40, 10)).astype(np.uint16)
    masks = np.ones((len(chosen), 40, 40), np.uint8)
    for month, share in (cloudy or {}).items():
        masks[month - months[0], : round(40 * share)] = 0
    return SimpleNamespace(bands=bands, masks=masks, doys=DOYS[chosen], year=2024)


def test_seasons_are_offered_where_nearly_all_was_seen() -> None:
    assert canvas.made_pictures(tile()) == ("truecolour", *canvas.SEASONS, "falsecolour", "ndvi")
    hidden = tile(dict.fromkeys((6, 7, 8), 0.5))
    assert "truecolour_jun_aug" not in canvas.made_pictures(hidden)
    # One clear look in a season is enough.
    assert "truecolour_jun_aug" in canvas.made_pictures(tile(dict.fromkeys((6, 7), 0.5)))


def test_a_season_that_is_all_there_is_is_no_choice() -> None:
    assert canvas.made_pictures(tile(months=range(6, 9))) == ("truecolour", "falsecolour", "ndvi")
    empty = SimpleNamespace(
        bands=np.zeros((0, 4, 4, 10), np.uint16), masks=np.zeros((0, 4, 4), np.uint8), doys=DOYS[:0]
    )
    assert canvas.made_pictures(empty) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "months"), canvas.SEASONS.items())
def test_a_season_shows_its_months_and_no_others(name: str, months: tuple[int, ...]) -> None:
    whole = tile()
    dates = np.array(months) - 1
    alone = SimpleNamespace(bands=whole.bands[dates], masks=whole.masks[dates], doys=DOYS[dates], year=2024)
    np.testing.assert_array_equal(canvas.painted(name, whole), true_colour(alone))  # type: ignore[arg-type]


def test_plants_are_red_and_what_nobody_saw_is_black() -> None:
    bands = np.full((3, 20, 20, 10), 500, np.uint16)
    bands[:, :10, :, 3] = 5000  # near infrared over the upper half
    masks = np.ones((3, 20, 20), np.uint8)
    masks[:, 0, 0] = 0
    picture = canvas.painted("falsecolour", SimpleNamespace(bands=bands, masks=masks, doys=DOYS[:3]))  # type: ignore[arg-type]
    assert (picture[1:10, :, 0] == 255).all()
    assert (picture[10:, :, 0] < 100).all()
    assert not picture[0, 0].any()


def test_what_lies_beside_the_embeddings_is_read_and_another_name_refused(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (6, 5, 3), np.uint8)
    assert canvas.satellite_pictures(tmp_path, None) == ()
    assert canvas.satellite_picture("ndvi", tmp_path, None, (6, 5)) is None
    for name in ("truecolour", "ndvi"):
        file = picture_file(tmp_path, name)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(canvas.png_bytes(picture))
    assert canvas.satellite_pictures(tmp_path, None) == ("truecolour", "ndvi")
    np.testing.assert_array_equal(canvas.satellite_picture("ndvi", tmp_path, None, (6, 5)), picture)
    with pytest.raises(RasterError):
        canvas.satellite_picture("ndvi", tmp_path, None, (5, 6))
    with pytest.raises(InputError, match="no picture 'pca'"):
        canvas.painted("pca", tile())
