"""The clearest day of each season around the places of a sample, from an archive on loopback; and what an archive does wrong."""

from __future__ import annotations

import io
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tessera_core.assess.designs import Sample
from tessera_core.cli import main
from tessera_core.dpixels.acquire import catalogue, read
from tessera_core.errors import AcquisitionError, Cancelled
from tessera_core.grid import transformer
from tessera_core.imagery import clearest
from tessera_core.imagery.places import Line, PlacePictures, save_pictures
from tessera_core.project import place_pictures as kept
from tessera_core.project import validate
from tessera_core.project.pack import make_pack, open_pack
from tessera_core.project.project import Project
from tests.dpixels.sentinel_server import LAT, LON, Archive, SentinelServer
from tests.factories import landscape, make_grid
from tests.imagery.season_tile import tile_of

YEAR, ZONE = 2024, "EPSG:32631"
DAYS = ("2024-01-20", "2024-04-15", "2024-07-10", "2024-10-05")
PLACES = ((3, 5), (20, 40), (60, 12))


def quiet(done: int, total: int, message: str = "") -> None:
    assert 0 <= done <= total, message


def never() -> bool:
    return False


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A clear day of each season, and one of summer that its catalogue calls less cloudy, where clouds lie over the south."""
    folder = tmp_path_factory.mktemp("archive")
    with SentinelServer(folder) as served:
        for number, day in enumerate(DAYS):
            served.add_s2(f"S{number}", day, ZONE)
        middle = LAT + 0.0001
        served.add_s2("half", "2024-08-01", ZONE, clouds=lambda lon, lat: np.where(lat < middle, 9, 4))
        served.items[-1]["properties"]["eo:cloud_cover"] = 5
        yield served


@pytest.fixture
def archive(filled: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Archive]:
    monkeypatch.setattr(read, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(catalogue, "SEARCH_RETRIES", 0)
    monkeypatch.setenv("TESSERA_STAC_URL", f"{filled.url}/stac")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    filled.hits.clear()
    yield filled
    filled.faults.clear()


@pytest.fixture
def project(archive: Archive, tmp_path: Path) -> Project:
    """A project of published embeddings, and a sample of three places."""
    x, y = transformer("EPSG:4326", ZONE).transform(LON, LAT)
    here = make_grid((64, 64), 10 * round(x / 10) - 320, 10 * round(y / 10) + 320, crs=ZONE)
    raster = replace(landscape(64, year=YEAR), grid=here)
    raster.save(tmp_path / "fields")
    made = Project.new("Fields")
    made.attach_embeddings(YEAR, tmp_path / "fields", raster.provenance, raster.grid)
    ones = np.ones(len(PLACES), np.int64)
    sample = Sample(
        rows=np.array([row for row, _ in PLACES]), cols=np.array([col for _, col in PLACES]), strata=ones, mapped=ones,
        reference=0 * ones, notes=("",) * len(PLACES), sizes={1: 4096}, design="stratified",
    )  # fmt: skip
    validate.save(made, validate.Validation(YEAR, raster.grid, sample))
    return made


def seen(project: Project, row: int, col: int) -> list[int]:
    found = kept.pictures_of(project, YEAR, project.grid, row, col)
    return [] if found is None else [one.day for one in found.seasons]


def test_every_place_gets_its_clearest_days_once_and_a_pack_takes_them_along(
    project: Project, archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kept.clearest_bytes(project, YEAR) > 1e6
    assert main(["validate", "pictures", str(project.folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["with_pictures"], told["places"], told["missing"]) == (3, 3, [])
    # North of the clouds the day in August is clear, south of them that in July is taken.
    assert seen(project, 3, 5) == [20, 106, 214, 279]
    assert seen(project, 60, 12) == [20, 106, 192, 279]
    first = kept.pictures_of(project, YEAR, project.grid, 60, 12)
    assert first is not None
    assert first.few
    assert len(first.clear.days) == 4
    picture = Image.open(io.BytesIO(first.seasons[0].true_colour)).convert("RGB")
    # Of the archive's numbers red is the least, blue more, green the most of the three.
    red, green, blue = picture.getpixel((40, 40))
    assert red < blue < green
    # What is not shown did not travel, and nothing travels twice.
    assert not [path for path in archive.hits if path.endswith(("B05.tif", "B11.tif", "B12.tif"))]
    archive.hits.clear()
    assert kept.fetch_clearest(project, YEAR, quiet, never).places == 3
    assert kept.clearest_bytes(project, YEAR) == 0
    assert not archive.hits
    (copy,) = open_pack(make_pack([project], tmp_path / "all"))
    archive.faults["/stac"] = ["always-404"]
    assert seen(copy, 20, 40) == seen(project, 20, 40)
    assert len(seen(copy, 20, 40)) == 4


def test_the_year_of_every_place_is_fetched_ahead_and_travels_in_a_pack(
    project: Project, archive: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kept.series_bytes(project, YEAR) > kept.clearest_bytes(project, YEAR)
    assert main(["validate", "pictures", str(project.folder), "--series", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["with_pictures"] == 3
    north, south = (kept.pictures_of(project, YEAR, project.grid, *at) for at in (PLACES[0], PLACES[2]))
    assert north is not None
    assert south is not None
    assert north.clear.days == (20, 106, 192, 214, 279)
    assert not north.cloudy.days
    # In the south a day lay under clouds; it is told, and not taken for a clear one.
    assert (south.clear.days, south.cloudy.days) == ((20, 106, 192, 279), (214,))
    assert len(south.seasons) == 4
    assert south.few
    assert south.series
    archive.hits.clear()
    assert kept.series_bytes(project, YEAR) == 0
    kept.fetch_series(project, YEAR, quiet, never)
    assert not archive.hits
    (copy,) = open_pack(make_pack([project], tmp_path / "all"))
    archive.faults["/stac"] = ["always-404"]
    assert kept.pictures_of(copy, YEAR, copy.grid, *PLACES[2]) == south


def test_what_could_not_be_read_is_asked_for_again(project: Project, archive: Archive) -> None:
    summer = [
        asset["href"].removeprefix("{root}")
        for item in archive.items
        if item["id"] in ("S2", "half")
        for name, asset in item["assets"].items()
        if name == "SCL"
    ]
    assert len(summer) == 2
    archive.faults |= {path: ["always-404"] for path in summer}
    first = kept.fetch_series(project, YEAR, quiet, never)
    assert (first.places, len(first.missing)) == (3, 4)
    assert seen(project, 60, 12) == [20, 106, 279]
    assert kept.clearest_bytes(project, YEAR) > 0
    assert kept.series_bytes(project, YEAR) > 0
    # What the archive does not mend costs nothing that was kept.
    kept.fetch_series(project, YEAR, quiet, never)
    assert seen(project, 60, 12) == [20, 106, 279]
    archive.faults.clear()
    assert not kept.fetch_series(project, YEAR, quiet, never).missing
    assert seen(project, 60, 12) == [20, 106, 192, 279]
    south = kept.pictures_of(project, YEAR, project.grid, 60, 12)
    assert south is not None
    assert (south.clear.days, south.cloudy.days, south.unread) == ((20, 106, 192, 279), (214,), ())
    assert kept.clearest_bytes(project, YEAR) == kept.series_bytes(project, YEAR) == 0


def test_a_place_of_which_only_the_year_is_kept_has_no_pictures_yet(project: Project, archive: Archive) -> None:
    x, y = (float(v) for v in project.grid.pixel_to_xy(60.5, 12.5))
    bare = PlacePictures(year=YEAR, x=x, y=y, metres=10.0, few=True)
    known = bare.with_greenness(Line(days=(50,), values=(0.5,)), Line(days=(60,), values=(0.1,)))
    save_pictures(project.folder / "places" / str(YEAR) / "60-12.json", known)
    assert kept.fetch_clearest(project, YEAR, quiet, never).places == 3
    found = kept.pictures_of(project, YEAR, project.grid, 60, 12)
    assert found is not None
    assert len(found.seasons) == 4
    assert found.series
    assert (found.clear.days, found.cloudy.days) == ((20, 50, 106, 192, 279), (60,))
    assert kept.clearest_bytes(project, YEAR) == 0


def test_a_whole_year_takes_the_place_of_a_few_days(project: Project) -> None:
    kept.fetch_clearest(project, YEAR, quiet, never)
    request = kept.request_for(project, YEAR)
    assert request is not None
    tile_of(request.folder / "tile", replace(landscape(64, year=YEAR), grid=project.grid))
    found = kept.pictures_of(project, YEAR, project.grid, 60, 12)
    assert found is not None
    assert not found.few
    assert kept.prepare(project, YEAR) == 3
    shutil.rmtree(request.folder)
    found = kept.pictures_of(project, YEAR, project.grid, 60, 12)
    assert found is not None
    assert not found.few
    assert len(found.clear.days) + len(found.cloudy.days) == 8


def test_what_cannot_be_read_is_named_and_another_day_is_taken(project: Project, archive: Archive) -> None:
    archive.faults["/files/half_B04.tif"] = ["always-404"]
    archive.faults["/files/S0_SCL.tif"] = ["html"] * 99
    archive.faults["/files/S1_B03.tif"] = ["500"]
    came = kept.fetch_clearest(project, YEAR, quiet, never)
    assert came.places == 3
    assert seen(project, 3, 5) == [106, 192, 279]
    told = " ".join(came.missing)
    assert "B04 of half could not be read: the server has no such file" in told
    assert "SCL of S0 could not be read: it is not a GeoTIFF" in told
    assert "Files that could not be read: 2. " in " ".join(came.sentences())


def test_a_dead_archive_is_one_sentence_and_what_came_stays(project: Project, archive: Archive) -> None:
    for item in archive.items:
        for path in item["assets"].values():
            archive.faults[path["href"].removeprefix("{root}")] = ["html"] * 99
    with pytest.raises(AcquisitionError, match="not a GeoTIFF"):
        kept.fetch_clearest(project, YEAR, quiet, never)
    archive.faults.clear()
    for fault in ("html", "always-404", "wrong-type"):
        for path in ("/stac", "/stac/search"):
            archive.faults[path] = [fault]
            with pytest.raises(AcquisitionError, match="does not answer"):
                kept.fetch_clearest(project, YEAR, quiet, never)
            archive.faults.clear()
    with pytest.raises(Cancelled):
        kept.fetch_clearest(project, YEAR, quiet, lambda: True)
    assert kept.fetch_clearest(project, YEAR, quiet, never).places == 3


def test_a_slow_archive_is_told_of_and_who_stops_does_not_wait_for_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, answered, told = threading.Event(), threading.Event(), []

    def slow(*_: object, **__: object) -> None:
        answers.wait(60)
        answered.set()

    monkeypatch.setattr(clearest, "read_parts", slow)
    with pytest.raises(Cancelled):
        kept.fetch_clearest(project, YEAR, lambda *now: told.append(now), lambda: len(told) > 1)
    assert not answered.is_set()
    answers.set()
    assert told == [
        (0, 3, "Asking the archive which pictures there are…"),
        (0, 3, "Reading the archive's pictures, files so far: 0…"),
    ]
