"""A season in a real browser: from the page that makes embeddings to Compare, beside the calendar year of the same region."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tessera_core.models.zoo import WEIGHTS_FOLDER
from tessera_core.project.project import Project
from tests.browser.studio import Studio
from tests.dpixels.sentinel_server import LAT, LON, few_days
from tests.servers import TOKEN, AppServer

BOX = f"{LON + 0.001}, {LAT - 0.002}, {LON + 0.006}, {LAT + 0.002}"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.soak,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (WEIGHTS_FOLDER / "studio-nano.safetensors").exists(), reason="this checkout has no weights of its own"
    ),
]


@pytest.fixture
def own_server(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppServer]:
    """An app of its own, which fetches from an archive of this computer."""
    (tmp_path / "home").mkdir()
    with few_days(tmp_path / "archive", monkeypatch):
        server = AppServer(root, tmp_path / "home")
        server.start()
        yield server
        server.stop()


def _shoot(studio: Studio, pictures: Path, name: str) -> None:
    """What a person sees, on a desk and on a phone, to be looked at; nothing may be wider than the phone."""
    for width, height in ((1440, 900), (390, 844)):
        studio.page.set_viewport_size({"width": width, "height": height})
        studio.still()
        studio.page.screenshot(path=str(pictures / f"{name}-{width}.png"), full_page=True)
        over = studio.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 1, f"{name} is {over} pixels too wide at {width}"
    studio.page.set_viewport_size({"width": 1440, "height": 900})


def _make(studio: Studio) -> None:
    """Press through to the embeddings, and wait for the region that opens."""
    studio.button("How long will it take?").click()
    make = studio.button("Fetch and make the embeddings")
    make.wait_for(timeout=240_000)
    make.click()
    studio.page.wait_for_url(re.compile(r":\d+/\?project="), timeout=240_000)
    studio.page.get_by_role("heading", level=1).first.wait_for()


def test_a_season_beside_the_year_from_its_page_to_compare(
    browser_window: Any, own_server: AppServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(own_server.home))
    browser_window.request.get(f"{own_server.url}/?token={TOKEN}")
    studio = Studio(browser_window.new_page(), own_server.url)
    studio.open("/generate")
    box = studio.page.get_by_role("textbox", name="Box in degrees: west, south, east, north")
    box.fill(BOX)
    box.press("Enter")
    studio.choose("Year", "2023")
    studio.choose("Part of the year", "April to June")
    studio.sees("the second quarter of the year")
    studio.sees("Measured with April to June")
    _shoot(studio, tmp_path, "generate")
    studio.choose("Part of the year", "The whole calendar year")
    _make(studio)
    # The same region once more, for a season.
    studio.open(f"/generate?{studio.page.url.partition('?')[2]}")
    studio.page.get_by_text("The open region", exact=True).click()
    studio.sees("pixel for pixel")
    studio.choose("Year", "2023")
    studio.choose("Part of the year", "April to June")
    studio.sees("From 2023-04-01 to 2023-06-30")
    _make(studio)
    (folder,) = (own_server.home / "projects").iterdir()
    assert [str(year) for year in Project.open(folder).years] == ["2023-04 to 2023-06", "2023"]
    studio.sees("Apr–Jun 2023")
    _shoot(studio, tmp_path, "region")
    studio.go("Compare")
    studio.page.get_by_text("Other months:").first.wait_for(timeout=240_000)
    _shoot(studio, tmp_path, "compare")
    studio.go("Explore")
    studio.sees("Apr–Jun 2023")
    _shoot(studio, tmp_path, "explore")
    studio.close()
