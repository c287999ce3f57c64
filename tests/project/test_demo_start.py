"""The shipped first year of the demo region: the very bytes, at once; and the rest, made beside the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import MissingPartError
from tessera_core.project import demo, demo_rest, demo_start, library
from tessera_core.raster import EmbeddingRaster
from tessera_core.render import canvas
from tests.waiting import eventually

SIZE = 96
YEARS = (2023, 2024)


@pytest.fixture
def shipped(region, weights, tmp_path, monkeypatch):
    """A package whose demo region is the small one of these tests, and an empty home."""
    made, _ = region
    with rasterio.open(made.truth[2023]) as file:
        truth = file.read(1)
    tile = DPixelTile.open(made.dpixels[2023])
    pictures = {name: canvas.painted(name, tile) for name in canvas.made_pictures(tile)}
    recipe = demo._recipe(SIZE, 0, weights)
    folder = demo_start.write_start(
        tmp_path / "start", recipe, EmbeddingRaster.open(made.embeddings[2023]), truth, pictures
    )
    monkeypatch.setattr(demo_start, "FOLDER", folder)
    monkeypatch.setattr(demo, "DEMO_WEIGHTS", str(weights))
    monkeypatch.setenv("TESSERA_DEMO_SIZE", str(SIZE))
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    return made, folder


def test_what_is_unpacked_is_what_was_made(shipped):
    made, _ = shipped
    assert library.demo_at_once()
    taken = demo.take_start(size=SIZE, years=YEARS)
    assert taken is not None
    assert not taken.complete
    assert list(taken.ready) == [2023]
    first, second = EmbeddingRaster.open(made.embeddings[2023]), EmbeddingRaster.open(taken.embeddings[2023])
    np.testing.assert_array_equal(first.codes, second.codes)
    np.testing.assert_array_equal(first.scales, second.scales)
    assert (first.grid, first.provenance) == (second.grid, second.provenance)
    assert taken.truth[2023].read_bytes() == made.truth[2023].read_bytes()
    tile = DPixelTile.open(made.dpixels[2023])
    names = canvas.satellite_pictures(taken.embeddings[2023], None)
    assert names == canvas.made_pictures(tile)
    for name in names:
        picture = canvas.satellite_picture(name, taken.embeddings[2023], None, second.shape)
        np.testing.assert_array_equal(picture, canvas.painted(name, tile))
    # Asked again it is only looked at.
    before = (taken.embeddings[2023] / "codes.npy").stat().st_mtime_ns
    assert demo.take_start(size=SIZE, years=YEARS) == taken
    assert (taken.embeddings[2023] / "codes.npy").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", ["codes.xz", "scales.xz", "truth.png", "truecolour.png", "ndvi.png"])
def test_a_damaged_file_is_as_good_as_none(shipped, name):
    _, folder = shipped
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    assert demo.take_start(size=SIZE, years=YEARS) is None
    assert demo.started_demo(size=SIZE, years=YEARS) is None


def test_where_all_years_are_shipped_the_whole_region_is_made_without_pytorch(shipped, monkeypatch):
    made, folder = shipped

    def missing(what: str) -> None:
        raise MissingPartError(what)

    monkeypatch.setattr(demo, "require_torch", missing)
    recipe = demo._recipe(SIZE, 0, demo.DEMO_WEIGHTS)
    assert demo_start.shipped_years(recipe) == (2023,)
    with pytest.raises(MissingPartError):
        demo.ensure_demo(size=SIZE, years=YEARS)
    first = EmbeddingRaster.open(made.embeddings[2023])
    second = replace(first, provenance=replace(first.provenance, year=2024))
    demo_start.write_year(folder, recipe, second)
    assert demo_start.shipped_years(recipe) == YEARS
    whole = demo.ensure_demo(size=SIZE, years=YEARS)
    assert whole.complete
    unpacked = EmbeddingRaster.open(whole.embeddings[2024])
    np.testing.assert_array_equal(unpacked.codes, second.codes)
    np.testing.assert_array_equal(unpacked.scales, second.scales)
    assert (unpacked.grid, unpacked.provenance) == (second.grid, second.provenance)


def test_a_start_of_another_simulator_or_size_is_not_used(shipped, monkeypatch):
    assert demo.take_start(size=64, years=YEARS) is None
    monkeypatch.setattr(demo, "_simulator_digest", lambda: "another")
    assert not library.demo_at_once()
    assert demo.take_start(size=SIZE, years=YEARS) is None


def test_a_project_of_the_start_grows_while_the_rest_is_made(shipped):
    taken = library.take_demo()
    project = library.start_demo(taken)
    assert list(project.embeddings) == [2023]
    assert project.embeddings[2023].dpixels is None
    assert library.demo_growing(project) == taken
    assert library.grow_demo(project, taken) == ()
    before = (taken.embeddings[2023] / "codes.npy").stat().st_mtime_ns
    demo.ensure_demo(size=SIZE, years=YEARS)
    assert library.grow_demo(project, taken) == (2024,)
    assert {year: ref.dpixels for year, ref in project.embeddings.items()} == taken.dpixels
    assert library.demo_growing(project) is None
    assert (taken.embeddings[2023] / "codes.npy").stat().st_mtime_ns == before


def test_the_demo_goes_on_where_it_was_and_afresh_has_another_name(shipped):
    taken = library.take_demo()
    assert library.demo_projects() == []
    first = library.start_demo(taken)
    first.log.add_class("Wood")
    assert library.start_demo(taken).folder == first.folder
    second = library.start_demo(taken, fresh=True)
    assert (first.name, second.name) == ("Demo region", "Demo region 2")
    assert [entry.name for entry in library.demo_projects()] == ["Demo region 2", "Demo region"]


def test_a_process_makes_the_rest_and_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    # Too small for a landscape: a sentence, not a traceback, and asked again it is tried again.
    rest = demo_rest.finish(tmp_path / "cache" / "demo", 3)
    eventually(lambda: rest.ended)
    assert rest.error
    assert "Something unforeseen" not in rest.error
    assert demo_rest.finish(tmp_path / "cache" / "demo", 3) is rest
    assert demo_rest.finish(tmp_path / "cache" / "demo", 3, again=True) is not rest


@pytest.mark.soak
def test_the_process_makes_the_whole_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    home = tmp_path / "cache" / "demo"
    rest = demo_rest.finish(home, 96)
    seen = []
    eventually(lambda: seen.append(rest.fraction) or rest.ended, every=0.1)
    assert (rest.ended, rest.error, rest.fraction) == (True, "", 1.0)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    made = demo.cached_demo(home, 96)
    assert made is not None
    assert made.complete


def test_what_is_shipped_is_of_this_simulator_and_these_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    taken = demo.take_start()
    assert taken is not None, "run tools/make_demo_start.py: the simulator, the weights or the size changed"
    raster = EmbeddingRaster.open(taken.ready[2024])
    assert raster.shape == (demo.DEMO_SIZE, demo.DEMO_SIZE)
    assert raster.valid().all()
    # Without a wait and without a network: true colour of the year and of seasons, plants in red, greenness.
    names = canvas.satellite_pictures(taken.ready[2024], None)
    assert {"truecolour", "falsecolour", "ndvi"} <= set(names)
    assert len(set(names) & set(canvas.SEASONS)) >= 2
    assert demo_start.shipped_years(demo._recipe(demo.DEMO_SIZE, 0, demo.DEMO_WEIGHTS)) == demo.DEMO_YEARS
    assert sum(path.stat().st_size for path in demo_start.FOLDER.rglob("*.*")) <= 18e6
