"""``tessera bench scale``: the scenes and tiles it makes can be opened, and the whole of it on a little ground."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core.bench import scale
from tessera_core.bench.click import synthetic_raster
from tessera_core.errors import TesseraError
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import find_pieces


def test_scenes_repeat_a_block_and_tiles_lie_in_three_systems(tmp_path: Path) -> None:
    block, _ = synthetic_raster(40)
    scene = EmbeddingRaster.open(scale._scene(tmp_path / "scene", block, 100, 2024))
    assert scene.shape == (100, 100)
    assert scene.provenance.year == 2024
    np.testing.assert_array_equal(scene.codes[80:, 40:80], block.codes[:20])
    pieces, problems = find_pieces(scale._tiles(tmp_path / "tiles", block, 7))
    assert (len(pieces), problems) == (7, [])
    assert {piece.describe().grid.crs for piece in pieces} == {"EPSG:32631", "EPSG:32632", "EPSG:32731"}


def test_the_largest_scene_lies_in_one_zone() -> None:
    block, _ = scale._block(16, 0)
    grid = replace(block.grid, shape=(scale.SIDES[-1], scale.SIDES[-1]))
    corners = [grid.pixel_to_lonlat(row, col) for row in (0, grid.height) for col in (0, grid.width)]
    assert {int((lon + 180) // 6) + 1 for lon, _ in corners} == {31}, "fetch --by-zone would find half of it"


def test_a_command_that_fails_is_told_and_not_measured(tmp_path: Path) -> None:
    with pytest.raises(TesseraError, match=r"tessera map .* failed"):
        scale._taken(
            tmp_path, "map", tmp_path / "nothing", "--labels", tmp_path / "none.csv", "--out", tmp_path / "m.tif"
        )


@pytest.mark.soak
def test_the_whole_of_it() -> None:
    found = scale.measure((64, 128), (3, 6), (200,), (1, 2))
    of_tiles = ["generate", "map --tiles", "change --tiles", "evaluate --tiles"]
    assert [row["task"] for row in found["rows"]] == [
        *2 * ["map", "change", "fetch", "fetch --by-zone"],
        "evaluate",
        *2 * of_tiles,
        *2 * ["map cells"],
    ]
    assert all(row["cpu_s"] > 0 and row["files"] > 0 for row in found["rows"])
    assert {slope["task"] for slope in found["slopes"]} == {"map", "change", "fetch", "fetch --by-zone", *of_tiles}
    assert found["table"].count("\n") == len(found["rows"]) + 1
