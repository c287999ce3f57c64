"""The page Compare in a real browser: the slider is dragged, and nothing is computed anew."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.analysis.two_years import two_years
from tests.browser.studio import Studio
from tests.servers import AppServer


@pytest.fixture
def project(server: AppServer) -> str:
    """The address of a project of two years."""
    from tessera_core.project.project import Project

    folder = server.home / "projects" / "fields"
    if not folder.exists():
        made = two_years(0, share=0.25, weather=2.0, size=120)
        project = Project.create(folder, "Fields")
        for raster in (made.first, made.second):
            path = raster.save(server.home / "compared" / str(raster.provenance.year))
            project.attach_embeddings(raster.provenance.year, path, raster.provenance, raster.grid)
    return "/compare?project=fields"


def _compared(studio: Studio) -> None:
    # A server that has just started loads its libraries first, which takes long on a busy machine.
    studio.page.get_by_text("Whole scene").wait_for(timeout=240_000)


def _area(studio: Studio) -> float:
    text = studio.page.get_by_test_id("stMetricValue").inner_text()
    return float(re.match(r"[\d.,]+", text)[0].replace(",", ""))  # type: ignore[index]


def _red(studio: Studio) -> int:
    """How many reddish points the map shows."""
    screen = studio.still(studio.page.locator(".tv-map").first).astype(int)
    return int(((screen[..., 0] - screen[..., 1] > 70) & (screen[..., 0] - screen[..., 2] > 70)).sum())


def test_dragging_the_slider_changes_map_and_area_without_computing(studio: Studio, project: str) -> None:
    studio.open(project)
    _compared(studio)
    handle: Any = studio.page.get_by_role("slider").first
    handle.wait_for()
    area, red = _area(studio), studio.until(lambda: _red(studio), "no change is drawn")
    box = handle.bounding_box()
    track = studio.page.get_by_test_id("stSlider").bounding_box()
    y = box["y"] + box["height"] / 2
    # By mouse to the left end (fewest false alarms), then step by step to the right with the keyboard.
    studio.page.mouse.move(box["x"] + box["width"] / 2, y)
    studio.page.mouse.down()
    studio.page.mouse.move(track["x"] + 10, y, steps=12)
    studio.page.mouse.up()
    studio.sees("0.1 %")
    studio.until(lambda: _area(studio) < area and _red(studio) < red, "fewer false alarms show no less change")
    for _ in range(7):
        handle.press("ArrowRight")
    studio.until(lambda: _area(studio) > area and _red(studio) > red, "more false alarms show no more change")
    # The work has a title while it runs; the slider starts none.
    assert not studio.page.get_by_text("Comparing").count()


@pytest.mark.soak
def test_years_side_by_side_keep_the_change_above_them(studio: Studio, project: str) -> None:
    studio.open(project)
    _compared(studio)
    studio.page.get_by_text("Side by side", exact=True).click()
    studio.page.locator(".tv-stage").nth(1).wait_for()
    studio.until(lambda: _red(studio) > 500, "the change is not drawn")
    box = studio.page.locator(".tv-stage").nth(0).bounding_box()
    other = studio.page.locator(".tv-stage").nth(1).bounding_box()
    assert abs(box["y"] - other["y"]) < 5
