"""A class on one server: a teacher and five learners, two of them on phones, in browsers of their own."""

from __future__ import annotations

import csv
import io
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.learner import Learner as Follower
from tests.browser.scripts import SCRIPTS
from tests.browser.studio import PATIENCE_MS, Studio, clicked, until
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(900)]
TOKEN = "token-of-the-teacher-of-the-tests"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# Of the demo region: places (share of height, of width) that differ, enough for two classes each.
PLACES = ((0.32, 0.32), (0.5, 0.62), (0.25, 0.75), (0.8, 0.3))

# Who is a step behind in the lesson when the teacher brings all to the next.
BEHIND = {"Ada", "Bo"}
SHOTS = os.environ.get("TESSERA_SHOTS")


def shot(page: Any, name: str) -> None:
    """A picture for whoever wants to look at it."""
    if SHOTS is not None:
        page.wait_for_timeout(1500)
        Path(SHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.fixture
def server(root: Path, tmp_path: Path, small_demo: Path) -> Iterator[AppServer]:
    server = AppServer(root, tmp_path / "home", {"TESSERA_HOSTED": "1", "TESSERA_OWNER_TOKEN": TOKEN})
    server.home.mkdir()
    server.take_demo(small_demo)
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

    def back(self, code: str) -> None:
        """Come back with nickname and word."""
        self.studio.open(f"/classroom?join={code}")
        self.page.get_by_text("I was in this class before").click()
        self.page.get_by_role("textbox", name="Nickname").last.fill(self.name)
        self.page.get_by_role("textbox", name="Your word").fill(self.word)
        self.page.get_by_role("button", name="Come back").click()

    def make_room(self) -> None:
        """Fold the lesson away, as a phone needs it; it may unfold by itself just when it is pressed."""
        bar = self.page.locator(".lesson-bar")

        def folded() -> bool:
            if bar.get_attribute("aria-expanded") == "true":
                clicked(bar)
            return bool(bar.get_attribute("aria-expanded") == "false")

        until(self.page, folded, "the panel does not fold")

    def label(self) -> None:
        """Two places of each of two classes."""
        self.studio.wait_for_map()
        if self.phone and self.page.locator(".lesson-panel").count():
            self.make_room()
        for n, (row, col) in enumerate(PLACES):
            name = ("Water", "Fields")[n // 2]
            self.page.locator(".tl-pick, .tl-chip").filter(has_text=name).first.click()
            self.studio.still(self.studio.map)
            box = self.page.locator(".leaflet-pca-pane canvas").bounding_box()
            assert box is not None
            x, y = box["x"] + col * box["width"], box["y"] + row * box["height"]
            (self.page.touchscreen.tap if self.phone else self.page.mouse.click)(x, y)
            self.studio.settle(n + 1)


@pytest.fixture
def teacher(chromium: Any, server: AppServer) -> Iterator[Any]:
    """The teacher's page."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{server.url}/classroom?owner={TOKEN}")
    yield page
    context.close()


def code_of(page: Any) -> str:
    """The code of the class that was opened just now."""
    page.get_by_text("Nobody has joined yet.").wait_for()
    return str(page.get_by_text(re.compile("join=")).first.inner_text().split("join=")[1].strip())


def test_a_class_from_the_code_to_the_map_of_all(
    chromium: Any, server: AppServer, teacher: Any, tmp_path: Path
) -> None:
    page = teacher
    page.get_by_role("textbox", name="Name of the class").fill("Year 10")
    page.get_by_role("textbox", name="Tasks, one a line").fill("Label two places of each class.\nLook at it.")
    page.get_by_role("textbox", name="Classes of the map").fill("Water, Fields")
    page.get_by_role("button", name="Open the class").click()
    code = code_of(page)

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

    shot(page, "board")
    shot(learners[1].page, "shown-desk")
    shot(learners[4].page, "shown-phone")

    # Scores side by side only where the teacher wants that: on the board and on the wall, with what they are made of.
    assert page.get_by_text("In the order of the lower end").count() == 0
    page.get_by_text("Show scores", exact=True).click()
    page.get_by_text("In the order of the lower end").wait_for()
    shot(page, "board-scores")

    # No learner sees the board or another's project.
    learners[2].studio.open("/classroom")
    learners[2].page.get_by_text("You are Cy in Year 10.").wait_for()
    assert not learners[2].page.get_by_text("Where everybody is").is_visible()
    page.get_by_role("button", name="Projector view").click()
    page.get_by_text("5 joined, 5 here").wait_for()
    page.get_by_text("labels at").first.wait_for()
    shot(page, "wall-scores")
    page.get_by_text("Show scores", exact=True).click()
    page.get_by_text("labels at").first.wait_for(state="hidden")
    shot(page, "wall")
    page.get_by_role("button", name="Back to the board").click()

    # Closed to newcomers: who is in goes on, nobody else comes.
    page.get_by_role("button", name="Close to newcomers").click()
    page.get_by_role("button", name="Let newcomers in").wait_for()
    late = Learner(chromium, server, "Late", phone=True)
    late.studio.open(f"/classroom?join={code}")
    late.page.get_by_role("textbox", name="Nickname").first.fill("Late")
    late.page.get_by_role("button", name="Join").click()
    late.page.get_by_text("closed this class").wait_for()
    shot(late.page, "door-phone")

    # All are set back, which asks first, and back again.
    page.get_by_role("button", name="Set all back").click()
    page.get_by_role("dialog").get_by_role("button", name="Set all back").click()
    page.get_by_text("5 joined, 5 here now, 0 labels.").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("5 joined, 5 here now, 20 labels.").wait_for()

    # The end: learners are told, all work is one file, and after the deletion nothing of the class is left.
    page.get_by_role("button", name="End the class").click()
    learners[3].page.get_by_text("The class Year 10 has ended.").wait_for()
    shot(page, "ended")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save all work (.zip)").click()
    waiting.value.save_as(tmp_path / "class.zip")
    with zipfile.ZipFile(tmp_path / "class.zip") as file:
        assert sum(name.endswith(".tessera") for name in file.namelist()) == 5
        rows = list(csv.DictReader(io.StringIO(file.read("board.csv").decode())))
    assert [(row["learner"], row["labels"]) for row in rows] == [(one.name, "4") for one in learners]
    page.get_by_role("button", name="Delete the class").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete for good").click()
    page.get_by_text("Deleted, with 5 projects.").wait_for()
    assert not list((server.home / "classes").glob("*/class.json"))
    learners[0].page.reload()
    learners[0].page.get_by_test_id("stMainBlockContainer").wait_for()
    shot(learners[0].page, "deleted")
    for one in (*learners, late):
        one.studio.close()
        one.context.close()


def test_a_class_of_five_does_a_lesson_from_end_to_end_and_makes_a_map(
    chromium: Any, server: AppServer, teacher: Any
) -> None:
    page = teacher
    page.get_by_role("combobox", name="Lesson that they do").click()
    page.get_by_role("option", name="3. Your first map").click()
    page.get_by_role("button", name="Open the class").click()
    code = code_of(page)
    learners = [Learner(chromium, server, name, n > 2) for n, name in enumerate(("Ada", "Cy", "Dee", "Bo", "Eve"))]
    for one in learners:
        one.join(code)
        one.page.locator(".lesson-panel").wait_for()
    shot(learners[0].page, "lesson-desk")
    shot(learners[3].page, "lesson-phone")

    # Each does what the text says, at places of their own, and they go on together.
    doing = [Follower(one.studio, server, "first-map", one.phone, taste=n) for n, one in enumerate(learners)]
    steps = {step.id: doing[0].words.steps[step.id].title for step in doing[0].lesson.steps}
    for number, (step, title) in enumerate(steps.items(), 1):
        if step == "first-class":
            # Two are a step behind; all are brought to the next one, and it is on the panels, the board and the wall.
            assert {one.name for one, at in zip(learners, doing, strict=True) if at.step == "picture"} == BEHIND
            page.get_by_role("combobox", name="Step of the lesson").click()
            page.get_by_role("option", name=title).click()
            page.get_by_role("button", name="Bring all to this step").click()
            for one, follower in zip(learners, doing, strict=True):
                one.page.get_by_text(f"We are at: {title}").wait_for()
                until(one.page, lambda follower=follower, step=step: follower.step == step, "the panel is elsewhere")
            shot(page, "lesson-board")
            shot(learners[3].page, "lesson-phone-pushed")
        if step == "line":
            # One drops off, and on another device is where all are and goes on.
            page.get_by_text("5 joined, 5 here now, 30 labels.").wait_for()
            ada = learners[0]
            ada.context.close()
            page.get_by_text("5 joined, 4 here now, 30 labels.").wait_for()
            ada.come()
            ada.back(code)
            page.get_by_text("5 joined, 5 here now, 30 labels.").wait_for()
            clicked_before = doing[0].clicked
            doing[0] = Follower(ada.studio, server, "first-map", taste=0)
            doing[0].panel.wait_for()
            doing[0].clicked = clicked_before
            # On the page on which she was.
            ada.studio.wait_for_map()
        for one, follower in zip(learners, doing, strict=True):
            if step == "picture" and one.name in BEHIND:
                continue
            assert follower.do_step(SCRIPTS["first-map"], number) == step
            shot(one.page, f"lesson-{number:02d}-{one.name}")
            if step != "end":
                follower.go_on()
    for follower in doing:
        assert follower.panel.get_by_text("Key points").is_visible()

    # The map of the class, by the votes of all; the board and the wall say that all are at the end.
    page.get_by_role("button", name="Make the map of the class").click()
    page.get_by_text("of the votes of 5 learners").wait_for()
    page.get_by_text("How right is it?").wait_for()
    shot(page, "lesson-consensus")
    page.get_by_role("button", name="Projector view").click()
    page.get_by_text(f"{steps['end']}: 5").wait_for()
    shot(page, "lesson-wall")

    # The same class in German.
    page.goto(f"{server.url}/classroom?lang=de")
    page.get_by_text("5 beigetreten").first.wait_for()
    shot(page, "lesson-board-de")
    for one in learners:
        one.studio.close()
        one.context.close()
