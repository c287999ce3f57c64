from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tessera_core.render.timelapse import timelapse


def test_every_year_is_a_frame_with_its_colours() -> None:
    colours = [(200, 30, 30), (30, 160, 60), (40, 60, 200)]
    frames = [np.full((40, 60, 3), colour, np.uint8) for colour in colours]
    gif = Image.open(io.BytesIO(timelapse(frames, ["2021", "2022", "2023"], seconds=0.5, side=120)))
    assert (gif.format, gif.n_frames, gif.size) == ("GIF", 3, (120, 80))
    assert gif.info["duration"] == 500
    assert gif.info["loop"] == 0
    for number, colour in enumerate(colours):
        gif.seek(number)
        assert gif.convert("RGB").getpixel((118, 78)) == pytest.approx(colour, abs=4)


def test_a_large_scene_is_thinned() -> None:
    gif = Image.open(io.BytesIO(timelapse([np.zeros((900, 300, 3), np.uint8)], ["2023"], side=200)))
    assert max(gif.size) <= 200


def test_titles_must_match() -> None:
    with pytest.raises(ValueError, match="title"):
        timelapse([np.zeros((4, 4, 3), np.uint8)], [])
