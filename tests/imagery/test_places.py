"""Pictures of places: the clearest day of each season, the year, kept with a project and in packs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, TileError
from tessera_core.imagery.places import HALF, ZOOM, place_pictures, read_pictures, save_pictures
from tessera_core.project import place_pictures as kept
from tessera_core.project import validate
from tessera_core.project.pack import make_pack, open_pack
from tessera_core.project.project import Project
from tests.factories import landscape
from tests.imagery.season_tile import tile_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with time series and a sample of eight places."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    raster = landscape(64)
    raster.save(tmp_path / "fields")
    project = Project.new("Fields")
    folder = tile_of(tmp_path / "series", raster)
    project.attach_embeddings(
        raster.provenance.year, tmp_path / "fields", raster.provenance, raster.grid, dpixels=folder
    )
    sampled(project, raster)
    return project


def sampled(project: Project, raster) -> None:
    from tessera_core.assess.designs import Sample

    rows, cols = np.array([3, 10, 20, 30, 40, 50, 60, 63]), np.array([3, 50, 20, 33, 12, 0, 60, 63])
    ones = np.ones(8, np.int64)
    sample = Sample(
        rows=rows,
        cols=cols,
        strata=ones,
        mapped=ones,
        reference=0 * ones,
        notes=("",) * 8,
        sizes={1: 4096},
        design="stratified",
    )
    validate.save(project, validate.Validation(raster.provenance.year, raster.grid, sample))


def middle(png: bytes, row: int, col: int) -> tuple[int, int, int]:
    """The colour of the place itself."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    found = image.getpixel((min(col, HALF) * ZOOM + 2, min(row, HALF) * ZOOM + 2))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def test_each_season_shows_its_clearest_day_in_colours_that_can_be_compared(project: Project) -> None:
    year, validation = project.years[0], validate.load(project, project.years[0])
    assert validation is not None
    found = kept.pictures_of(project, year, validation.grid, 20, 20)
    assert found is not None
    # Under the cloud of the first day of each season the second is taken, whatever lies nearer to the middle.
    assert [one.day for one in found.seasons] == [40, 110, 200, 300]
    assert found.date_of(found.seasons[0]) == f"9 February {year}"
    snow, spring, summer, autumn = (middle(one.true_colour, 20, 20) for one in found.seasons)
    assert min(snow) > 200
    assert spring[1] > spring[0] + 40
    assert summer[0] > summer[2] + 60
    assert snow[0] > summer[0] > autumn[0] > spring[0]
    assert found.clear.days == (40, 110, 200, 300)
    assert found.cloudy.days == (15, 100, 190, 290)
    assert sorted(found.echoes) == ["VH ascending", "VV ascending"]
    assert found.echoes["VV ascending"].values == (-5.0, -5.0)


def test_pictures_at_the_edge_hold_the_place_in_its_frame(project: Project) -> None:
    year, validation = project.years[0], validate.load(project, project.years[0])
    assert validation is not None
    found = kept.pictures_of(project, year, validation.grid, 63, 63)
    assert found is not None
    image = np.asarray(Image.open(io.BytesIO(found.seasons[0].true_colour)))
    assert image.shape == ((HALF + 1) * ZOOM, (HALF + 1) * ZOOM, 3)
    assert (image == (213, 94, 0)).all(-1).any()


def test_all_places_are_prepared_once_go_on_where_they_stopped_and_can_be_stopped(project: Project) -> None:
    year, seen = project.years[0], []

    def after_three() -> bool:
        seen.append(1)
        return len(seen) > 3

    with pytest.raises(Cancelled):
        kept.prepare(project, year, cancelled=after_three)
    first = {path: path.stat().st_mtime_ns for path in kept.kept_files(project)}
    assert len(first) == 3
    assert kept.prepare(project, year) == 8
    files = list(kept.kept_files(project))
    assert len(files) == 8
    assert all(path.stat().st_mtime_ns == at for path, at in first.items())
    files[0].write_text("{}")
    assert kept.prepare(project, year) == 8
    assert read_pictures(files[0]) is not None
    # Of another sample of the year there were six more: each page tells of its own.
    of_all = kept.Fetched(14, 14)
    assert kept.of_sample(of_all, project, year, two_maps=False) == kept.Fetched(8, 8)
    assert kept.of_sample(of_all, project, year, two_maps=True) == of_all
    files[0].unlink()
    assert kept.of_sample(of_all, project, year, two_maps=False).places == 7


def test_a_pack_takes_them_along_to_where_no_time_series_are(project: Project, tmp_path: Path) -> None:
    year, validation = project.years[0], validate.load(project, project.years[0])
    assert validation is not None
    wanted = kept.pictures_of(project, year, validation.grid, 20, 20)
    (copy,) = open_pack(make_pack([project], tmp_path / "all"))
    assert not kept.has_time_series(copy, year)
    assert kept.pictures_of(copy, year, validation.grid, 20, 20) == wanted
    assert kept.pictures_of(copy, year, validation.grid, 21, 20) is None
    # A picture of a place that lay elsewhere is not taken for this one.
    path = copy.folder / kept.FOLDER / str(year) / "20-20.json"
    path.rename(path.with_name("21-20.json"))
    assert kept.pictures_of(copy, year, validation.grid, 21, 20) is None


def test_without_time_series_there_is_a_way_to_them_with_its_cost(project: Project) -> None:
    year = project.years[0]
    raster = landscape(64)
    project.attach_embeddings(year, project.embeddings[year].path, raster.provenance, raster.grid)
    assert not kept.has_time_series(project, year)
    assert kept.prepare(project, year) == 0
    request = kept.request_for(project, year)
    assert request is not None
    assert request.download_bytes > 1e8
    # What an archive brought lies on a grid of its own.
    tile_of(request.folder / "tile", raster)
    assert kept.has_time_series(project, year)
    assert kept.prepare(project, year) == 8


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"year": 1}', b"\xff\xfe", b"[" * 10_000],
)
def test_damaged_files_of_pictures_are_told(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.json").write_bytes(damage)
    with pytest.raises(TileError, match="damaged"):
        read_pictures(tmp_path / "a.json")
    assert read_pictures(tmp_path / "none.json") is None


def test_what_is_no_small_picture_is_refused(project: Project, tmp_path: Path) -> None:
    series = DPixelTile.open(project.embeddings[project.years[0]].dpixels or tmp_path)
    save_pictures(tmp_path / "a.json", place_pictures(series, 5, 5, 1.0, 2.0))
    assert read_pictures(tmp_path / "a.json") == place_pictures(series, 5, 5, 1.0, 2.0)
    value = json.loads((tmp_path / "a.json").read_text())
    import base64
    import struct

    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 60_000, 60_000) + bytes(9)
    for png in (huge, b"<svg onload=alert(1)>"):
        value["seasons"][0]["true_colour"] = base64.b64encode(png).decode()
        (tmp_path / "a.json").write_text(json.dumps(value))
        with pytest.raises(TileError):
            read_pictures(tmp_path / "a.json")
