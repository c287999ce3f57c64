"""Choosing labels on the map: with the mouse, with the keyboard alone, with a finger, and from the list beside the map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from tessera_core.labels.model import Label
from tessera_core.project.project import Project
from tests.browser.map_page import MapPage, known, on_screen, open_map, project

__all__ = ["open_map", "project"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OpenMap = Callable[..., MapPage]
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def place(project: Project, *pixels: tuple[float, float]) -> list[tuple[float, float]]:
    """Coordinates of ``(row, col)`` in the project's CRS."""
    assert project.grid is not None
    x, y = project.grid.pixel_to_xy(*np.array(pixels, float).T)
    return list(zip(x.tolist(), y.tolist(), strict=True))


def pixels(project: Project, label: Label) -> np.ndarray:
    """``(row, col)`` of a label's places, (N, 2)."""
    assert project.grid is not None
    return np.stack(project.grid.xy_to_pixel(*np.array(label.xy).T), -1)


@pytest.fixture
def field(project: Project) -> dict[str, str]:
    """A field of class 1 with a pond drawn over it, a point on the pond, a stroke and a lone point: name -> id."""
    log = project.log
    ring = [(40, 40), (40, 80), (80, 80), (80, 40)]
    pond = [(50, 50), (50, 70), (70, 70), (70, 50)]
    made = {
        "field": log.add("polygon", 1, place(project, *ring)),
        "pond": log.add("rectangle", 2, place(project, *pond)),
        "dot": log.add("point", 3, place(project, (60.5, 60.5))),
        "stroke": log.add("brush", 3, place(project, (100, 40), (100, 60), (100, 80)), radius=20),
        "alone": log.add("point", 1, place(project, (110.5, 110.5)), note="by the gate"),
    }
    return {name: label.id for name, label in made.items()}


class Picker:
    """A person who chooses labels on the map."""

    def __init__(self, page: MapPage, project: Project, field: dict[str, str]) -> None:
        self.page, self.project, self.names = page, project, {id_: name for name, id_ in field.items()}
        self.view = page.page
        self.card = self.view.locator(".tl-card")

    def at(self, row: float, col: float) -> tuple[float, float]:
        """A place of the screen; half a pixel is added by the helper it comes from."""
        return on_screen(self.page, self.project, row - 0.5, col - 0.5)

    def click(self, row: float, col: float) -> None:
        self.view.mouse.click(*self.at(row, col))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.view.mouse.move(*self.at(*start))
        self.view.mouse.down()
        self.view.mouse.move(*self.at(*end), steps=6)
        self.view.mouse.up()

    def label(self, name: str) -> Label:
        (found,) = [label for label in self.page.log().labels if self.names.get(label.id) == name]
        return found

    def sees(self, title: str, *texts: str) -> None:
        """The card speaks of this label."""

        def shown() -> bool:
            return self.card.is_visible() and self.card.locator("b").first.inner_text() == title

        self.page.until(shown, f"the card does not show {title}")
        for text in texts:
            self.page.until(lambda text=text: text in self.card.inner_text(), f"{text!r} is not in the card")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        self.page.until(condition, what)


@pytest.fixture
def picker(open_map: OpenMap, project: Project, field: dict[str, str]) -> Picker:
    page = open_map()
    page.page.keyboard.press("v")
    return Picker(page, project, field)


def test_the_topmost_label_is_chosen_and_a_second_click_takes_the_one_below(picker: Picker) -> None:
    assert not picker.card.is_visible()
    picker.click(60.5, 60.5)
    picker.sees("Arable, point", "1 px", "0.01 ha", "made ")
    picker.click(60.5, 60.5)
    picker.sees("Water, rectangle", "400 px", "4 ha", "1 px of it lie under later labels")
    picker.click(60.5, 60.5)
    picker.sees("Forest, polygon", "1,600 px", "16 ha", "400 px of it lie under later labels")
    picker.click(60.5, 60.5)
    picker.sees("Arable, point")
    # Where only one lies, it stays.
    picker.click(45, 45)
    picker.sees("Forest, polygon")
    picker.click(45, 45)
    picker.sees("Forest, polygon")
    picker.click(101, 65)
    picker.sees("Arable, brush stroke")
    # Beside all labels, and Escape: none.
    picker.click(90, 100)
    assert not picker.card.is_visible()
    picker.click(110.5, 110.5)
    picker.sees("Forest, point")
    picker.until(lambda: picker.card.get_by_label("Note on this label").input_value() == "by the gate", "no note")
    picker.view.keyboard.press("Escape")
    assert not picker.card.is_visible()
    # Nothing was changed by looking.
    assert picker.page.log().version == len(picker.names) + 3


def test_class_note_and_delete_from_the_card_go_through_the_log(
    open_map: OpenMap, project: Project, field: Any
) -> None:
    page = open_map()
    view = page.page
    reruns: list[str] = []

    def sent(frame: Any) -> None:
        message = BackMsg.FromString(frame)
        if message.WhichOneof("type") == "rerun_script":
            reruns.append(message.rerun_script.fragment_id)

    view.on("websocket", lambda socket: socket.on("framesent", sent))
    view.reload()
    page.ready()
    view.keyboard.press("s")
    picker = Picker(page, project, field)
    reruns.clear()
    picker.click(110.5, 110.5)
    picker.sees("Forest, point")
    picker.card.get_by_role("button", name="Water").click()
    page.acked(1)
    picker.sees("Water, point")
    assert picker.label("alone").class_id == 2
    assert page.counts() == [1, 2, 2]
    note = picker.card.get_by_label("Note on this label")
    # Keys belong to the note while it is being written.
    note.fill("")
    note.press_sequentially("old oak 3, n")
    note.press("Enter")
    page.acked(2)
    assert picker.label("alone").note == "old oak 3, n"
    assert picker.label("alone").class_id == 2
    # What was typed is kept when another label is chosen without Enter.
    note.fill("felled")
    picker.click(45, 45)
    page.acked(3)
    picker.sees("Forest, polygon")
    assert picker.label("alone").note == "felled"
    picker.click(110.5, 110.5)
    picker.until(lambda: note.input_value() == "felled", "the note does not come back")
    note.fill("never mind")
    note.press("Escape")
    assert note.input_value() == "felled"
    picker.card.get_by_role("button", name="Delete").click()
    page.acked(4)
    assert not picker.card.is_visible()
    assert page.counts() == [1, 1, 2]
    for number in range(5, 9):
        view.keyboard.press("z")
        page.acked(number)
    before = picker.label("alone")
    assert (before.class_id, before.note) == (1, "by the gate")
    for number in range(9, 13):
        view.keyboard.press("y")
        page.acked(number)
    assert len(page.log().labels) == 4
    assert reruns
    assert "" not in reruns, "the whole page was run again"


def test_a_chosen_label_is_moved_and_reshaped_by_dragging(picker: Picker, project: Project) -> None:
    page, log = picker.page, picker.page.log
    start = log().version
    # A drag that begins beside a handle moves the map, not the label.
    picker.click(110.5, 110.5)
    picker.sees("Forest, point")
    picker.drag((110.5, 110.5), (120.5, 90.5))
    page.acked(1)
    np.testing.assert_allclose(pixels(project, picker.label("alone")), [[120.5, 90.5]], atol=0.3)
    picker.sees("Forest, point")

    picker.click(45, 45)
    picker.sees("Forest, polygon")
    before = picker.label("field")
    picker.drag((40, 40), (30, 25))
    page.acked(2)
    after = picker.label("field")
    np.testing.assert_allclose(pixels(project, after), [[30, 25], [40, 80], [80, 80], [80, 40]], atol=0.3)
    # Corners that were not touched are where they were, to the digit.
    assert after.xy[1:] == before.xy[1:]
    picker.until(lambda: "1,600 px" not in picker.card.inner_text(), "the size does not follow")

    picker.click(52, 52)
    picker.click(52, 52) if "Water" not in picker.card.inner_text() else None
    picker.sees("Water, rectangle")
    picker.drag((70, 70), (75, 64))
    page.acked(3)
    # A rectangle stays one (on the screen, which is turned by a degree against the grid).
    moved = pixels(project, picker.label("pond"))
    np.testing.assert_allclose(moved, [[50, 50], [50, 64], [75, 64], [75, 50]], atol=1)
    np.testing.assert_allclose(moved[[0, 2]], [[50, 50], [75, 64]], atol=0.3)
    sides = np.diff(moved[[0, 1, 2, 3, 0]], axis=0)
    assert np.abs(np.sum(sides * np.roll(sides, 1, 0), 1)).max() < 3

    picker.click(100, 70)
    picker.sees("Arable, brush stroke")
    shape = pixels(project, picker.label("stroke"))
    picker.drag((100, 60), (110, 75))
    page.acked(4)
    np.testing.assert_allclose(pixels(project, picker.label("stroke")), np.add(shape, [10, 15]), atol=0.4)

    # One operation each: four steps back give what was there.
    assert log().version == start + 4
    for number in range(5, 9):
        picker.view.keyboard.press("z")
        page.acked(number)
    np.testing.assert_allclose(pixels(project, picker.label("stroke")), shape)
    assert picker.label("field") == before
    np.testing.assert_allclose(pixels(project, picker.label("alone")), [[110.5, 110.5]])


def test_what_is_dragged_off_the_region_or_given_up_stays_where_it_was(picker: Picker, project: Project) -> None:
    picker.click(110.5, 110.5)
    picker.sees("Forest, point")
    before = picker.label("alone")
    picker.view.mouse.move(*picker.at(110.5, 110.5))
    picker.view.mouse.down()
    picker.view.mouse.move(*picker.at(90, 90), steps=4)
    picker.view.keyboard.press("Escape")
    picker.view.mouse.up()
    picker.drag((110.5, 110.5), (60, -12))
    picker.page.acked(1)
    assert "outside the mapped area" in picker.view.locator(".tl-toast").inner_text()
    assert picker.label("alone") == before
    picker.sees("Forest, point")
    picker.view.keyboard.press("Escape")
    picker.click(110.5, 110.5)
    picker.sees("Forest, point")
    # A drag on the bare map moves the map and keeps the choice.
    there = picker.at(80, 100)
    picker.drag((90, 100), (80, 90))
    assert np.hypot(*np.subtract(picker.at(80, 100), there)) > 20
    picker.sees("Forest, point")
    assert picker.label("alone") == before


def test_erased_labels_and_hidden_ones_are_not_chosen(picker: Picker, project: Project) -> None:
    log = project.log
    log.add("erase", None, place(project, (60, 60)), radius=40)
    picker.view.reload()
    picker.page.ready()
    picker.view.keyboard.press("v")
    picker.click(60.5, 60.5)
    picker.view.wait_for_timeout(300)
    assert not picker.card.is_visible()
    picker.click(45, 45)
    picker.sees("Forest, polygon")
    picker.view.keyboard.press("Escape")
    picker.view.locator('[data-layer="labels"] input[type=checkbox]').uncheck()
    picker.click(45, 45)
    assert not picker.card.is_visible()


def test_map_and_list_keep_step(picker: Picker, project: Project) -> None:
    view, page = picker.view, picker.page
    view.locator(".st-key-label_notes_" + project.key).locator("summary").click()
    box = view.get_by_role("combobox", name="Label")
    box.wait_for()
    known(page)
    picker.click(110.5, 110.5)
    picker.until(lambda: box.input_value() == "5. Forest, point: by the gate", "the list does not follow the map")
    listed = view.get_by_label("Note", exact=True).first
    picker.until(lambda: listed.input_value() == "by the gate", "the list does not show the note")
    picker.click(90, 100)
    picker.until(lambda: box.input_value() == "", "the list keeps a label that is no longer chosen")
    # The other way, with the label out of sight: the map goes there.
    for _ in range(3):
        view.mouse.move(*page.at(0.5, 0.5))
        view.mouse.wheel(0, -300)
        view.wait_for_timeout(250)
    x, y = picker.at(110.5, 110.5)
    assert not (page.at(0, 0)[0] < x < page.at(1, 0)[0] and page.at(0, 0)[1] < y < page.at(0, 1)[1])
    box.click()
    view.keyboard.type("gate")
    view.get_by_role("option", name="by the gate").click()
    picker.sees("Forest, point")

    def in_sight() -> bool:
        x, y = picker.at(110.5, 110.5)
        card = picker.card.bounding_box()
        return page.at(0, 0)[0] < x < card["x"] and page.at(0, 0)[1] < y < page.at(0, 1)[1]

    picker.until(in_sight, "the map does not go to the label that was chosen in the list")
    assert page.root.get_attribute("data-tool") == "select"
    # A note written in one place is in the other.
    field = picker.card.get_by_label("Note on this label")
    field.fill("gate, felled")
    field.press("Enter")
    page.acked(1)
    picker.until(lambda: listed.input_value() == "gate, felled", "not in the list")
    listed.fill("back again")
    listed.press("Enter")
    picker.until(lambda: field.input_value() == "back again", "not in the card")
    # What is taken away is chosen no more.
    picker.card.get_by_role("button", name="Delete").click()
    picker.until(lambda: box.input_value() == "", "the list keeps a label that is gone")


def test_the_class_of_a_label_is_in_sight_among_many(
    open_map: OpenMap, project: Project, field: dict[str, str]
) -> None:
    for number in range(1, 12):
        project.log.add_class(f"A class with a longer name {number}", "#882255")
    project.log.edit_label(field["field"], class_id=13)
    for context in ({}, PHONE):
        page = open_map(**context)
        picker = Picker(page, project, field)
        page.page.locator('.tl-tool[data-tool="select"]').click()
        picker.click(45, 45)
        picker.sees("A class with a longer name 10, polygon")
        picker.until(lambda picker=picker: class_in_sight(picker), "the chosen class is out of sight in the list")


def class_in_sight(picker: Picker) -> bool:
    """Whether the class of the chosen label can be read in the card's list of classes."""
    chips = picker.card.locator(".tl-cardclasses")
    around, own = chips.bounding_box(), chips.locator('[aria-pressed="true"]').bounding_box()
    return all(
        around[edge] - 1 <= own[edge] and own[edge] + own[size] <= around[edge] + around[size] + 1
        for edge, size in (("x", "width"), ("y", "height"))
    )


def test_with_the_keyboard_alone(picker: Picker, project: Project) -> None:
    view, page = picker.view, picker.page
    press = view.keyboard.press
    view.locator(".tl-map").focus()
    press("n")
    picker.sees("Forest, point")
    press("n")
    picker.sees("Arable, brush stroke")
    press("Shift+N")
    picker.sees("Forest, point")
    press("3")
    page.acked(1)
    picker.sees("Arable, point")
    before = pixels(project, picker.label("alone"))
    for key in ("Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"):
        press(key)
    # Three key presses, one operation.
    page.acked(2)
    np.testing.assert_allclose(pixels(project, picker.label("alone")), np.add(before, [1, 2]), atol=0.2)
    assert picker.label("alone").class_id == 3
    # Tab leads from the map into the card.
    view.locator(".tl-map").focus()
    for _ in range(12):
        press("Tab")
        if view.evaluate("() => document.activeElement.shadowRoot?.activeElement?.ariaLabel") == "Note on this label":
            break
    view.keyboard.type("kept 1")
    press("Enter")
    page.acked(3)
    assert picker.label("alone").note == "kept 1"
    press("Delete")
    page.acked(4)
    assert not picker.card.is_visible()
    assert len(page.log().labels) == 4
    for number in range(5, 9):
        press("z")
        page.acked(number)
    np.testing.assert_allclose(pixels(project, picker.label("alone")), before)
    # Enter labels at the cross with one tool, and chooses what lies there with another.
    press("Escape")
    view.locator(".tl-map").focus()
    press("2")
    press("Enter")
    page.acked(9)
    press("v")
    press("Enter")
    picker.sees("Water, point")
    press("Escape")
    assert not picker.card.is_visible()


def test_with_a_finger_on_a_phone(open_map: OpenMap, project: Project, field: dict[str, str]) -> None:
    page = open_map(**PHONE)
    picker = Picker(page, project, field)
    view = page.page
    view.locator('.tl-tool[data-tool="select"]').tap()
    touches = page.context.new_cdp_session(view)

    def touch(kind: str, *spots: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(spots)]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    view.touchscreen.tap(*picker.at(60.5, 60.5))
    picker.sees("Arable, point")
    view.touchscreen.tap(*picker.at(60.5, 60.5))
    picker.sees("Water, rectangle")
    box = picker.card.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    small = picker.card.locator("button, input").evaluate_all(
        "list => list.filter(b => b.getBoundingClientRect().height < 43).map(b => b.ariaLabel || b.textContent)"
    )
    assert small == []
    # What is chosen is not under its own card, and undo is at hand.
    assert picker.at(60.5, 60.5)[1] < box["y"]
    assert view.locator('.tl-tool[data-tool="undo"]').is_visible()
    picker.card.get_by_role("button", name="Forest").tap()
    page.acked(1)
    assert picker.label("pond").class_id == 1

    # A finger on a corner reshapes, one beside the handles moves the map, two do neither.
    start, end = picker.at(70, 70), picker.at(78, 62)
    touch("touchStart", start)
    for step in range(1, 7):
        touch("touchMove", tuple(np.add(start, np.subtract(end, start) * step / 6)))
    touch("touchEnd")
    page.acked(2)
    np.testing.assert_allclose(pixels(project, picker.label("pond"))[2], [78, 62], atol=1)
    before = page.log().version
    start = picker.at(20, 100)
    touch("touchStart", start)
    for step in range(1, 7):
        touch("touchMove", (start[0], start[1] + 8 * step))
    touch("touchEnd")
    view.wait_for_timeout(700)
    assert picker.at(20, 100)[1] > start[1] + 20
    corner = picker.at(78, 62)
    touch("touchStart", corner)
    touch("touchMove", (corner[0] + 12, corner[1]))
    touch("touchStart", (corner[0] + 12, corner[1]), (corner[0] + 60, corner[1] + 50))
    touch("touchMove", (corner[0] + 12, corner[1]), (corner[0] + 90, corner[1] + 80))
    touch("touchEnd")
    view.wait_for_timeout(700)
    assert page.log().version == before
    view.locator('.tl-tool[data-tool="undo"]').tap()
    page.acked(3)
    np.testing.assert_allclose(pixels(project, picker.label("pond"))[2], [70, 70], atol=1e-3)
    picker.card.get_by_role("button", name="Delete").tap()
    page.acked(4)
    assert not picker.card.is_visible()
    assert "pond" not in [picker.names[label.id] for label in page.log().labels]
    assert view.evaluate("document.documentElement.scrollWidth") == 390
