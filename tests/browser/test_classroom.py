"""A class on one server: a teacher and five learners, two of them on phones, in browsers of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio import PATIENCE_MS, Studio, until
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(900)]
TOKEN = "token-of-the-teacher-of-the-tests"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# Of the demo region of 128 pixels: places (share of height, of width) that differ, enough for two classes each.
PLACES = ((0.32, 0.32), (0.5, 0.62), (0.25, 0.75), (0.8, 0.3))


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[AppServer]:
    server = AppServer(root, tmp_path / "home", {"TESSERA_HOSTED": "1", "TESSERA_OWNER_TOKEN": TOKEN})
    server.home.mkdir()
    server.start()
    yield server
    server.stop()


class Learner:
    """A learner in a browser of their own."""

    def __init__(self, chromium: Any, server: AppServer, name: str, phone: bool) -> None:
        self.chromium, self.server, self.name, self.phone = chromium, server, name, phone
        self.word = ""
        self.come()

    def come(self) -> None:
        """Open a browser in which nobody was yet."""
        size = PHONE if self.phone else DESK
        self.context = self.chromium.new_context(viewport=size, has_touch=self.phone, is_mobile=self.phone)
        self.page = self.context.new_page()
        self.studio = Studio(self.page, self.server.url)

    def join(self, code: str) -> None:
        """Join by the address, and note the word."""
        self.studio.open(f"/classroom?join={code}")
        self.page.get_by_role("textbox", name="Nickname").first.fill(self.name)
        self.page.get_by_role("button", name="Join").click()
        told = self.page.get_by_text("Write it down")
        told.wait_for()
        self.word = re.search(r"word: (\w+ \d+)", told.inner_text()).group(1)  # type: ignore[union-attr]
        self.page.get_by_role("button", name="I have it").click()
        told.wait_for(state="hidden")

    def label(self) -> None:
        """Two places of each of two classes."""
        self.studio.wait_for_map()
        for n, (row, col) in enumerate(PLACES):
            name = ("Water", "Fields")[n // 2]
            self.page.locator(".tl-pick, .tl-chip").filter(has_text=name).first.click()
            self.studio.still(self.studio.map)
            box = self.page.locator(".leaflet-pca-pane canvas").bounding_box()
            assert box is not None
            x, y = box["x"] + col * box["width"], box["y"] + row * box["height"]
            (self.page.touchscreen.tap if self.phone else self.page.mouse.click)(x, y)
            self.studio.settle(n + 1)


def test_a_class_from_the_code_to_the_map_of_all(chromium: Any, server: AppServer, tmp_path: Path) -> None:
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{server.url}/classroom?owner={TOKEN}")
    page.get_by_role("textbox", name="Name of the class").fill("Year 10")
    page.get_by_role("textbox", name="Tasks, one a line").fill("Label two places of each class.\nLook at it.")
    page.get_by_role("textbox", name="Classes of the map").fill("Water, Fields")
    page.get_by_role("button", name="Open the class").click()
    page.get_by_text("Nobody has joined yet.").wait_for()
    code = page.get_by_text(re.compile("join=")).first.inner_text().split("join=")[1].strip()

    learners = [Learner(chromium, server, name, n > 2) for n, name in enumerate(("Ada", "Bo", "Cy", "Dee", "<b>Eve"))]
    for one in learners:
        one.join(code)
    page.get_by_text("5 joined, 5 here now, 0 labels.").wait_for()
    for one in learners:
        one.label()
    page.get_by_text("5 joined, 5 here now, 20 labels.").wait_for()

    # All are brought to a task, and look to the front and back again; nobody's page is pressed for it.
    page.get_by_role("combobox", name="Task that all are at").click()
    page.get_by_role("option", name="2. Look at it.").click()
    for one in learners:
        one.page.get_by_text("Task 2: Look at it.").wait_for()
    page.get_by_role("button", name="Pause all").click()
    for one in learners:
        one.page.get_by_role("heading", name="Your teacher has paused the class").wait_for()
    page.get_by_role("button", name="Go on").click()
    for one in learners:
        one.studio.map.wait_for()

    # One drops off, and comes back on another device, with the word and not without.
    ada = learners[0]
    ada.context.close()
    page.get_by_text("5 joined, 4 here now, 20 labels.").wait_for()
    ada.come()
    ada.studio.open(f"/classroom?join={code}")
    ada.page.get_by_text("I was in this class before").click()
    ada.page.get_by_role("textbox", name="Nickname").last.fill("ada")
    ada.page.get_by_role("textbox", name="Your word").fill("heron 99" if ada.word != "heron 99" else "heron 98")
    ada.page.get_by_role("button", name="Come back").click()
    ada.page.get_by_text("not the word").wait_for()
    ada.page.get_by_role("textbox", name="Your word").fill(ada.word)
    ada.page.get_by_role("button", name="Come back").click()
    ada.studio.wait_for_map()
    until(ada.page, lambda: ada.studio.classes() == {"Water": 2, "Fields": 2}, "Ada's labels are not there")
    page.get_by_text("5 joined, 5 here now, 20 labels.").wait_for()

    # The teacher shows a map to all, sets one back and takes it back, and makes the map of the class.
    page.get_by_role("button", name="Show their map to all").click()
    learners[1].page.get_by_text("Your teacher shows the map of Ada").wait_for()
    learners[1].page.get_by_role("img").first.wait_for()
    page.get_by_role("button", name="Set back", exact=True).click()
    page.get_by_text("5 joined, 5 here now, 16 labels.").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("5 joined, 5 here now, 20 labels.").wait_for()
    page.get_by_role("button", name="Make the map of the class").click()
    page.get_by_text("How right is it?").wait_for()
    page.get_by_text("of the votes of 5 learners").wait_for()

    # No learner sees the board or another's project.
    learners[2].studio.open("/classroom")
    learners[2].page.get_by_text("You are Cy in Year 10.").wait_for()
    assert not learners[2].page.get_by_text("Where everybody is").is_visible()
    page.get_by_role("button", name="Projector view").click()
    page.get_by_text("5 joined, 5 here").wait_for()
    for one in learners:
        one.studio.close()
        one.context.close()
    context.close()
