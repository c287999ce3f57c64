"""Pictures of places on Validate, from an archive on loopback: a fault is one sentence, the page goes on, then they come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tessera_core.assess.designs import draw
from tessera_core.dpixels.acquire import catalogue, read
from tessera_core.grid import transformer
from tessera_core.project import place_pictures, validate
from tessera_core.project.classify import map_project
from tessera_core.project.project import Project
from tessera_core.ui import jobs
from tests.dpixels.sentinel_server import LAT, LON, Archive, SentinelServer
from tests.factories import landscape, make_grid

pytestmark = [pytest.mark.soak, pytest.mark.timeout(420)]
YEAR, ZONE = 2024, "EPSG:32631"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    monkeypatch.setattr(read, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(catalogue, "SEARCH_RETRIES", 0)
    (tmp_path / "archive").mkdir()
    with SentinelServer(tmp_path / "archive") as served:
        for number, day in enumerate(("2024-04-15", "2024-07-10")):
            served.add_s2(f"S{number}", day, ZONE)
        monkeypatch.setenv("TESSERA_STAC_URL", f"{served.url}/stac")
        yield served


@pytest.fixture
def checked(home: Path, archive: Archive, tmp_path: Path) -> Project:
    """Published embeddings under the archive's scenes, labels, and a sample of a few places."""
    x, y = transformer("EPSG:4326", ZONE).transform(LON, LAT)
    raster = landscape(64, year=YEAR)
    raster = replace(raster, grid=make_grid((64, 64), 10 * round(x / 10) - 320, 10 * round(y / 10) + 320, crs=ZONE))
    raster.save(tmp_path / "fields")
    made = Project.new("Fields")
    made.attach_embeddings(YEAR, tmp_path / "fields", raster.provenance, raster.grid)
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        place = raster.grid.pixel_to_xy(row, col)
        made.log.add("point", made.log.add_class(f"Kind {number}").id, [(float(place[0]), float(place[1]))])
    classes = map_project(made, raster, YEAR).map.classes
    validate.save(made, validate.Validation(YEAR, raster.grid, draw(classes, 6, at_least=2, seed=1)))
    return made


def test_faults_leave_the_page_usable_and_the_next_try_brings_pictures(
    app: AppTest, checked: Project, archive: Archive
) -> None:
    app.query_params["project"] = checked.folder.name
    app.run()
    app.switch_page("pages/validate.py").run()
    for path, fault, says in (
        ("/stac", "html", "does not answer"),
        ("/stac/search", "wrong-type", "does not answer"),
        ("/files/", "always-404", "cannot be read"),
    ):
        named = [one for one in _files(archive) if one.startswith(path)] or [path]
        archive.faults.update({one: [fault] * 99 for one in named})
        _fetch(app, checked)
        assert [error.value for error in app.error if says in error.value]
        assert not app.exception
        assert any(button.label == "Cannot tell" for button in app.button)
        archive.faults.clear()
    # Files of one day of two: its season is missing, the page says so and which, and asks for it again.
    archive.faults.update({one: ["always-404"] for one in _files(archive) if "S0" in one})
    _fetch(app, checked)
    told = [text.value for text in app.caption]
    assert any("a season of this place may be missing" in text for text in told)
    assert any("could not be read" in text and "of S0" in text for text in told)
    assert _seasons(checked) == 1
    archive.faults.clear()
    _fetch(app, checked)
    assert not app.error
    assert not any("may be missing" in text.value for text in app.caption)
    assert _seasons(checked) == 2
    assert any("clearest day of each season" in text.value for text in app.markdown)
    assert not any("Greenness (NDVI)" in text.value for text in app.markdown)
    _fetch(app, checked, "Fetch how green all places were", "fetch_series")
    assert any("Greenness (NDVI)" in text.value for text in app.markdown)
    assert not any(button.label == "Fetch how green all places were" for button in app.button)
    # The year itself is still to be had.
    assert any(button.label == f"Fetch all days of {YEAR}" for button in app.button)


def _seasons(project: Project) -> int:
    """Of how many seasons there are pictures of the first place."""
    current = validate.load(project, YEAR)
    assert current is not None
    place = int(current.sample.rows[0]), int(current.sample.cols[0])
    found = place_pictures.pictures_of(project, YEAR, current.grid, *place)
    assert found is not None
    return len(found.seasons)


def _files(archive: Archive) -> list[str]:
    return [asset["href"].removeprefix("{root}") for item in archive.items for asset in item["assets"].values()]


def _fetch(
    app: AppTest, project: Project, label: str = "Fetch the pictures of all places", what: str = "fetch_clearest"
) -> None:
    (button,) = [one for one in app.button if one.label == label]
    button.click().run()
    job = jobs._pool().get(f"{what}|{project.key}|{YEAR}")
    assert job is not None
    assert job.wait(120)
    app.run()
