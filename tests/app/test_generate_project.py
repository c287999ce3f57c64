"""From tiles to a project: what it will cost, a raster per year, going on after a stop; and the page for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from streamlit.testing.v1 import AppTest

from tessera_core.dpixels.tile import write_tile
from tessera_core.errors import Cancelled, CheckpointError, TileError
from tessera_core.grid import Grid
from tessera_core.models.zoo import WEIGHTS_FOLDER
from tessera_core.project import generate

WEIGHTS = "studio-nano"
pytestmark = pytest.mark.skipif(
    not (WEIGHTS_FOLDER / f"{WEIGHTS}.safetensors").exists(), reason="this checkout has no weights of its own"
)


def _quiet(done: int, total: int, message: str = "") -> None:
    assert 0 <= done <= total


@pytest.fixture
def tiles_folder(tmp_path: Path) -> Path:
    """Two tiles of 6 x 8 pixels, of 2021 and 2022."""
    random = np.random.default_rng(0)
    grid = Grid("EPSG:32631", Affine(10, 0, 600_000, 0, -10, 5_800_000), (6, 8))
    for year in (2021, 2022):
        write_tile(
            tmp_path / "valley" / f"tile-{year}",
            bands=random.integers(100, 4000, (5, 6, 8, 10)).astype(np.uint16),
            masks=np.ones((5, 6, 8), np.uint8),
            doys=np.array([20, 90, 150, 210, 300], np.int16),
            sar_asc=random.integers(1000, 6000, (3, 6, 8, 2)).astype(np.int16),
            doys_asc=np.array([30, 120, 240], np.int16),
            grid=grid,
            meta={"year": year},
        )
    return tmp_path / "valley"


def test_tiles_become_a_project_with_a_raster_per_year(home: Path, tiles_folder: Path) -> None:
    tiles = generate.open_tiles(tiles_folder)
    assert (tiles.name, tiles.pixels, tiles.years) == ("valley", 96, [2021, 2022])
    plan = generate.plan(tiles, WEIGHTS, None, "cpu", _quiet, lambda: False)
    assert plan.estimate.seconds > 0
    assert plan.estimate.output_bytes == 96 * (128 + 4)
    project = generate.make_project(tiles, plan.loaded, None, "cpu", _quiet, lambda: False)
    assert project.years == [2021, 2022]
    for year in project.years:
        reference = project.embeddings[year]
        assert reference.provenance.year == year
        assert reference.dpixels == (tiles_folder / f"tile-{year}").resolve()
    assert project.grid is not None
    assert project.grid.shape == (6, 8)


def test_what_is_odd_about_the_images_is_told_before_the_run(home: Path, tiles_folder: Path) -> None:
    for year in (2021, 2022):
        path = tiles_folder / f"tile-{year}" / "masks.npy"
        np.save(path, np.zeros_like(np.load(path)))
    plan = generate.plan(generate.open_tiles(tiles_folder), WEIGHTS, None, "cpu", _quiet, lambda: False)
    told = [note for note in plan.notes if "Not one of the 5 Sentinel-2 dates is usable" in note]
    assert [note.partition(":")[0] for note in told] == ["tile-2021, tile-2022"]


def test_stopped_run_goes_on_in_the_same_folder(home: Path, tiles_folder: Path) -> None:
    tiles = generate.open_tiles(tiles_folder)
    loaded = generate.plan(tiles, WEIGHTS, None, "cpu", _quiet, lambda: False).loaded
    done: list[int] = []

    def progress(now: int, total: int, message: str) -> None:
        done.append(now)

    with pytest.raises(Cancelled):
        generate.make_project(tiles, loaded, None, "cpu", progress, lambda: any(value >= 48 for value in done))
    first = generate.result_folder(tiles, loaded, None) / "2021"
    stamp = (first / "tile-2021.npy").stat().st_mtime_ns
    project = generate.make_project(tiles, loaded, None, "cpu", progress, lambda: False)
    assert project.embeddings_path(2021) == first.resolve()
    assert (first / "tile-2021.npy").stat().st_mtime_ns == stamp


def test_wrong_folder_and_wrong_weights_are_sentences(home: Path, tiles_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TileError, match="no d-pixel tile"):
        generate.open_tiles(tmp_path / "empty")
    wrong = tmp_path / "wrong.pt"
    wrong.write_bytes(b"these are no weights")
    with pytest.raises(CheckpointError, match=r"wrong\.pt"):
        generate.plan(generate.open_tiles(tiles_folder), str(wrong), None, "cpu", _quiet, lambda: False)


def test_page_says_what_it_found_and_what_is_wrong(app: AppTest, tiles_folder: Path, tmp_path: Path) -> None:
    app.run()
    app.switch_page("pages/generate.py").run()
    assert not app.error
    app.session_state["generate_source"] = "folder"
    app.run()
    app.text_input(key="generate_folder").input(str(tiles_folder)).run()
    assert not app.error
    assert app.success[0].value.startswith("2 tiles, 96 pixels in all; 2021 and 2022; 5 optical and 3 radar dates")
    (tmp_path / "nothing").mkdir()
    app.text_input(key="generate_folder").input(str(tmp_path / "nothing")).run()
    assert "no d-pixel tile" in app.error[0].value
    assert app.text_input(key="generate_folder").value == str(tmp_path / "nothing")
