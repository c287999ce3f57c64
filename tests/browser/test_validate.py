"""Checking a map on a sample, by keys alone, in a real browser."""

from __future__ import annotations

import csv
import io
import urllib.parse
from pathlib import Path

import pytest

from tessera_core.project import library
from tests.browser.studio import Studio
from tests.factories import landscape
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


@pytest.fixture
def project(server: AppServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Three kinds labelled once each, of a landscape of four."""
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    landscape(64).save(tmp_path / "fields")
    made = library.start(library.identify(str(tmp_path / "fields")), "Checked fields")
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10))):
        x, y = made.grid.pixel_to_xy(row, col)
        made.log.add("point", made.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    return made


def looked_at(studio: Studio, count: int) -> None:
    studio.page.get_by_text(f"{count} of ").first.wait_for()


def test_a_sample_is_answered_by_keys_and_kept(studio: Studio, project, tmp_path: Path) -> None:
    address = f"/validate?project={urllib.parse.quote(project.folder.name)}"
    studio.open(address)
    studio.button("Choose the places by chance").click()
    studio.page.get_by_role("button", name="Cannot tell").wait_for()
    looked_at(studio, 0)
    for count, key in enumerate("123u12", start=1):
        studio.page.keyboard.press(key)
        looked_at(studio, count)
    for place in (6, 5):
        studio.page.keyboard.press("ArrowLeft")
        studio.sees(f"Place {place}")
    studio.page.keyboard.press("z")
    looked_at(studio, 5)

    studio.open(address)
    looked_at(studio, 5)
    studio.page.get_by_text("Right or wrong").click()
    studio.sees("The map says")
    studio.page.keyboard.press("y")
    looked_at(studio, 6)
    rows = io.StringIO(studio.download("Sample (.csv)", tmp_path).read_text(encoding="utf-8").partition("\n")[2])
    answers = [row["reference"] for row in csv.DictReader(rows)]
    assert answers[:4] == ["Kind 0", "Kind 1", "Kind 2", "cannot tell"]
    assert sum(map(bool, answers)) == 6


@pytest.mark.soak
def test_it_works_on_a_phone(studio: Studio, project) -> None:
    studio.page.set_viewport_size({"width": 390, "height": 844})
    studio.open(f"/validate?project={urllib.parse.quote(project.folder.name)}")
    studio.button("Choose the places by chance").click()
    studio.page.get_by_role("button", name="Kind 1").click()
    looked_at(studio, 1)
    width = studio.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
