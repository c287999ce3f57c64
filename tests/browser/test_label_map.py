"""The label map in a real browser: mouse, keyboard, touch, lost connections. A synthetic scene, the app as people start it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.canvas import png_bytes
from tests.browser.map_page import PATIENCE, MapPage, expected_picture, open_map, project
from tests.browser.studio import Studio

__all__ = ["open_map", "project"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PLACES = [("1", 0.4, 0.3), ("1", 0.55, 0.35), ("2", 0.45, 0.5), ("2", 0.6, 0.6), ("3", 0.5, 0.7), ("3", 0.38, 0.62)]


def test_label_three_classes_undo_and_reload(open_map: Callable[..., MapPage], project: Project) -> None:
    page = open_map()
    hint = page.page.locator(".tl-hint")
    assert "Forest" in hint.inner_text()
    for number, (key, x, y) in enumerate(PLACES, start=1):
        page.page.keyboard.press(key)
        page.click(x, y)
        page.acked(number)
        # A map as soon as two classes have a label.
        assert page.has("classes") == (number >= 3)
    assert page.counts() == [2, 2, 2]
    assert not hint.is_visible()
    # What is on the screen is what the same labels give outside the app, pixel by pixel.
    np.testing.assert_array_equal(page.class_map(), expected_picture(page.log(), project))
    with_six = page.class_map()

    page.page.keyboard.press("z")
    page.acked(7)
    assert page.counts() == [2, 2, 1]
    assert not np.array_equal(page.class_map(), with_six)
    page.page.keyboard.press("Control+y")
    page.acked(8)
    assert page.counts() == [2, 2, 2]
    np.testing.assert_array_equal(page.class_map(), with_six)

    page.page.reload()
    page.ready()
    page.until(lambda: page.has("classes"), "no class map after the reload")
    assert page.counts() == [2, 2, 2]
    np.testing.assert_array_equal(page.class_map(), with_six)


# Nothing is said again after five seconds, so that an answer that was never drawn is missed.
NO_RESEND = """const later = window.setTimeout;
window.setTimeout = (what, ms, ...more) => (ms === 5000 ? 0 : later(what, ms, ...more));"""


def test_a_layer_and_an_undo_of_one_moment_are_both_answered(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    page.page.add_init_script(NO_RESEND)
    page.open()
    for number, (key, x, y) in enumerate(PLACES, start=1):
        page.page.keyboard.press(key)
        page.click(x, y)
        page.acked(number)
    layer = page.page.get_by_role("checkbox", name="Unlike your labels")
    layer.wait_for()
    # The layer's wish and the undo leave in one task, for two fragments.
    for number in (7, 8):
        layer.evaluate(
            """(box, key) => {
                box.click();
                window.dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey: key === "y", bubbles: true }));
            }""",
            "z" if number == 7 else "y",
        )
        page.acked(number)
    assert page.counts() == [2, 2, 2]


def test_a_click_lands_on_the_pixel_under_the_pointer(open_map: Callable[..., MapPage], project: Project) -> None:
    page = open_map()
    readout = page.page.locator(".tl-readout")
    page.page.mouse.move(*page.at(0.5, 0.4))
    lat, lon = (float(part.split("°")[0]) for part in readout.inner_text().split(" · ")[0].split(", "))
    page.click(0.5, 0.4)
    page.acked(1)
    (label,) = page.log().labels
    grid = project.grid
    assert grid is not None
    rows, cols = grid.lonlat_to_pixel([lon], [lat])
    there = grid.xy_to_pixel(*np.array(label.xy).T)
    # The read-out has five decimals: about a metre, a tenth of a pixel.
    np.testing.assert_allclose([there[0][0], there[1][0]], [rows[0], cols[0]], atol=0.2)


def test_twenty_quick_clicks_are_all_kept(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    for number in range(20):
        page.page.keyboard.press(str(1 + number % 3))
        page.click(0.36 + 0.014 * number, 0.3 + 0.4 * ((number * 7) % 20) / 20)
        page.page.wait_for_timeout(120)
    page.acked(20)
    assert page.counts() == [7, 7, 6]
    assert len(page.log().labels) == 20


def test_every_tool(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    press = page.page.keyboard.press
    press("b")
    press("]")
    page.drag((0.4, 0.3), (0.45, 0.32), (0.5, 0.3))
    press("2")
    press("p")
    for place in ((0.4, 0.6), (0.46, 0.6), (0.46, 0.7)):
        page.click(*place)
    press("Enter")
    press("p")
    page.drag((0.52, 0.6), (0.56, 0.6), (0.56, 0.66), (0.52, 0.66))
    press("3")
    press("r")
    page.drag((0.6, 0.4), (0.64, 0.45))
    press("e")
    page.drag((0.44, 0.28), (0.46, 0.36))
    page.acked(5)
    labels = page.log().labels
    assert [label.kind for label in labels] == ["brush", "polygon", "polygon", "rectangle", "erase"]
    assert [label.class_id for label in labels] == [1, 2, 2, 3, 0]
    assert labels[0].radius == pytest.approx(30)
    assert len(labels[1].xy) == 3
    # An unfinished polygon can be given up, and leaves nothing.
    press("p")
    page.click(0.4, 0.8)
    page.click(0.45, 0.8)
    press("Escape")
    press("d")
    page.click(0.5, 0.5)
    page.acked(6)
    assert len(page.log().labels) == 6


def test_classes_are_added_renamed_recoloured_merged_and_deleted(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    page.page.get_by_label("Name of a new class").fill("Bare ground")
    page.page.keyboard.press("Enter")
    # At once, before the server has given the class an id.
    page.click(0.5, 0.5)
    page.acked(2)
    assert page.page.locator(".tl-chosen .tl-name").inner_text() == "Bare ground"
    assert page.counts() == [0, 0, 0, 1]
    page.page.locator(".tl-more").nth(3).click()
    page.page.get_by_label("Class name").fill("Quarry")
    page.page.get_by_label("Colour #850b62").click()
    page.page.get_by_role("button", name="Done").click()
    page.acked(4)
    new = page.log().classes[-1]
    assert (new.name, new.color) == ("Quarry", "#850b62")
    page.page.locator(".tl-more").nth(3).click()
    page.page.get_by_label("Merge into another class").select_option(label="Forest")
    page.acked(5)
    assert page.counts() == [1, 0, 0]
    page.page.locator(".tl-more").nth(1).click()
    page.page.get_by_role("button", name="Delete").click()
    page.acked(6)
    assert [c.name for c in page.log().classes] == ["Forest", "Arable"]
    # A name that is taken is refused in words, and nothing is stuck.
    page.page.get_by_label("Name of a new class").fill("Forest")
    page.page.keyboard.press("Enter")
    page.acked(7)
    assert "already a class" in page.page.locator(".tl-toast").inner_text()


def test_view_and_tool_stay_over_clicks_and_page_switches(open_map: Callable[..., MapPage]) -> None:
    page = open_map()

    def place() -> str:
        return page.page.locator(".tl-readout").inner_text().split(" · ")[0]

    page.page.mouse.move(*page.at(0.55, 0.45))
    for _ in range(3):
        page.page.mouse.wheel(0, -300)
        page.page.wait_for_timeout(300)
    page.drag((0.55, 0.45), (0.5, 0.4))
    page.page.wait_for_timeout(500)
    page.page.mouse.move(*page.at(0.6, 0.5))
    zoomed = place()
    page.click(0.6, 0.5)
    page.acked(1)
    page.page.mouse.move(*page.at(0.6, 0.5))
    assert place() == zoomed
    page.page.keyboard.press("b")
    page.page.get_by_role("link", name="Region").first.click()
    page.page.wait_for_selector(".tl-map", state="detached", timeout=PATIENCE)
    page.page.get_by_role("link", name="Label").first.click()
    page.ready()
    page.page.mouse.move(*page.at(0.3, 0.3))
    page.page.mouse.move(*page.at(0.6, 0.5))
    assert place() == zoomed
    assert page.root.get_attribute("data-tool") == "brush"


def test_nothing_is_lost_when_the_server_dies_and_comes_back(open_map: Callable[..., MapPage], server: Any) -> None:
    page = open_map()
    page.click(0.4, 0.4)
    page.acked(1)
    server.stop()
    for x in (0.45, 0.5, 0.55):
        page.click(x, 0.45)
    assert len(page.log().labels) == 1
    server.start()
    page.acked(4)
    assert len(page.log().labels) == 4
    assert len({label.id for label in page.log().labels}) == 4


def test_over_a_slow_line_another_page_and_back_again_shows_the_map(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    held: list[bytes] | None = None
    lines: list[Any] = []

    def delay(line: Any) -> None:
        server = line.connect_to_server()
        lines.append(line)
        line.on_message(server.send)
        server.on_message(lambda message: line.send(message) if held is None else held.append(message))

    page.page.route_web_socket("**/_stcore/stream*", delay)
    page.open()
    # Each label is a run; what belongs to none of them is not thrown away meanwhile.
    for number, (key, x, y) in enumerate(PLACES[:4], start=1):
        page.page.keyboard.press(key)
        page.click(x, y)
        page.acked(number)
    held = []
    links = page.page.get_by_test_id("stTopNavLink")
    links.filter(has_text="Data").click()
    # All of that page is under way when the person turns back.
    page.until(lambda: any(_ends_a_run(message) for message in held or []), "the other page is not made")
    links.filter(has_text="Label").click()
    page.page.wait_for_timeout(500)
    slow, held = held, None
    for message in slow:
        lines[-1].send(message)
    page.ready()
    page.until(lambda: page.has("classes"), "no class map")
    assert page.counts() == [2, 2, 0]


def _ends_a_run(message: bytes) -> bool:
    said = ForwardMsg.FromString(message)
    return said.WhichOneof("type") == "script_finished" and said.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY


def test_confidence_threshold_and_swipe_need_no_label(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    for number, (key, x, y) in enumerate(PLACES, start=1):
        page.page.keyboard.press(key)
        page.click(x, y)
        page.acked(number)
    assert not page.has("confidence")
    page.page.locator('.tl-layer[data-layer="confidence"] input[type=checkbox]').check()
    page.until(lambda: page.has("confidence"), "the confidence layer does not appear")
    page.page.locator(".tl-unsure input").fill("100")
    page.until(lambda: page.pixel("classes", 0.5, 0.45)[:3] == [150, 150, 150], "unsure pixels do not turn grey")
    page.page.locator(".tl-unsure input").fill("0")
    page.until(lambda: page.pixel("classes", 0.5, 0.45)[:3] != [150, 150, 150], "grey pixels do not come back")
    page.page.locator(".tl-swipe input").check()
    page.page.wait_for_selector(".tl-divider", timeout=PATIENCE)
    clip = page.root.evaluate("map => map.querySelector('.leaflet-classes-pane').style.clip")
    assert clip.startswith("rect(")
    assert len(page.log().labels) == 6


def test_touch_on_a_phone(open_map: Callable[..., MapPage]) -> None:
    page = open_map(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    small = page.page.evaluate(
        """() => {
          const sizes = [];
          const visit = (root) => root.querySelectorAll("*").forEach((node) => {
            if (node.shadowRoot) visit(node.shadowRoot);
            if (!node.matches(".tl-tool, .tl-stripchip, .tl-pick, .tl-button")) return;
            const box = node.getBoundingClientRect();
            if (box.width && (box.height < 44 || box.width < 40)) sizes.push([node.className, box.width, box.height]);
          });
          visit(document);
          return [sizes, document.documentElement.scrollWidth];
        }"""
    )
    assert small == [[], 390]
    page.page.touchscreen.tap(*page.at(0.5, 0.4))
    page.acked(1)
    page.page.locator(".tl-stripchip", has_text="Water").tap()
    page.page.locator('.tl-tool[data-tool="brush"]').tap()
    touches = page.context.new_cdp_session(page.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [page.at(*point) for point in points]
        spots = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)]
        touches.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    touch("touchStart", (0.4, 0.35))
    for step in range(8):
        touch("touchMove", (0.4 + 0.02 * step, 0.35))
    touch("touchEnd")
    page.acked(2)
    assert [(label.kind, label.class_id) for label in page.log().labels] == [("point", 1), ("brush", 2)]

    def shown_width() -> float:
        return page.root.evaluate("map => map.querySelector('.leaflet-pca-pane canvas').getBoundingClientRect().width")

    before = shown_width()
    touch("touchStart", (0.45, 0.4))
    touch("touchStart", (0.45, 0.4), (0.55, 0.45))
    for step in range(1, 9):
        touch("touchMove", (0.45 - 0.02 * step, 0.4 - 0.01 * step), (0.55 + 0.02 * step, 0.45 + 0.01 * step))
    touch("touchEnd")
    page.until(lambda: shown_width() > 1.5 * before, "two fingers do not zoom")
    assert len(page.log().labels) == 2

    # A polygon corner by corner, finished by its button; undo takes it back, and then the stroke.
    page.page.locator(".tl-stripchip", has_text="Arable").tap()
    page.page.locator('.tl-tool[data-tool="polygon"]').tap()
    for place in ((0.4, 0.3), (0.5, 0.3), (0.5, 0.4)):
        page.page.touchscreen.tap(*page.at(*place))
    page.page.get_by_role("button", name="Finish shape").tap()
    page.acked(3)
    polygon = page.log().labels[-1]
    assert (polygon.kind, polygon.class_id, len(polygon.xy)) == ("polygon", 3, 3)
    for number in (4, 5):
        page.page.locator('.tl-tool[data-tool="undo"]').tap()
        page.acked(number)
    assert [label.kind for label in page.log().labels] == ["point"]
    page.page.locator('.tl-tool[data-tool="redo"]').tap()
    page.acked(6)
    assert [label.kind for label in page.log().labels] == ["point", "brush"]


def test_a_phone_needs_no_scrolling_to_begin(open_map: Callable[..., MapPage], project: Project) -> None:
    for label_class in project.log.classes:
        project.log.remove_class(label_class.id)
    page = open_map(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    # The line above the map is one line, however long the project's name is.
    assert page.page.locator(".st-key-studio_header").bounding_box()["height"] < 40
    page.page.touchscreen.tap(*page.at(0.5, 0.4))
    assert "Add a class first" in page.page.locator(".tl-toast").inner_text()
    # The field for it is on the map.
    field = page.page.get_by_label("Name of another class")
    assert field.bounding_box()["y"] < page.at(0, 1)[1]
    field.tap()
    page.page.keyboard.type("Heath")
    page.page.keyboard.press("Enter")
    page.acked(1)
    page.page.touchscreen.tap(*page.at(0.5, 0.4))
    page.acked(2)
    field.fill("Bog")
    page.page.get_by_role("button", name="Add this class", exact=True).first.tap()
    page.page.touchscreen.tap(*page.at(0.6, 0.5))
    page.acked(4)
    names = {c.id: c.name for c in page.log().classes}
    assert [names[label.class_id] for label in page.log().labels] == ["Heath", "Bog"]


def test_the_class_map_can_be_lifted_to_see_the_place(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    peek = page.page.locator('[data-tool="peek"]')
    assert peek.is_disabled()
    for number, (key, x, y) in enumerate(PLACES[:3], start=1):
        page.page.keyboard.press(key)
        page.click(x, y)
        page.acked(number)

    def shown() -> bool:
        return page.root.evaluate("map => map.querySelector('.leaflet-classes-pane').style.display !== 'none'")

    box = page.page.locator('[data-layer="classes"] input[type=checkbox]')
    assert shown()
    peek.click()
    assert not shown()
    assert not box.is_checked()
    page.page.keyboard.press("m")
    assert shown()
    assert box.is_checked()
    assert len(page.log().labels) == 3


def test_the_picture_under_the_map_is_chosen_once_for_all_pages(
    open_map: Callable[..., MapPage], project: Project, server: Any
) -> None:
    raster = EmbeddingRaster.open(project.embeddings_path(2024))
    flat = {"truecolour": (200, 40, 40), "ndvi": (40, 160, 60)}
    pictures = {name: png_bytes(np.full((*raster.shape, 3), colour, np.uint8)) for name, colour in flat.items()}
    folder = raster.save(server.home / "with pictures", pictures=pictures)
    project.attach_embeddings(2024, folder, raster.provenance, raster.grid)
    page = open_map()

    def ground() -> list[int]:
        return page.pixel("truecolour", 0.5, 0.5)[:3] if page.has("truecolour") else []

    def covered() -> bool:
        return page.root.evaluate("map => map.querySelector('.leaflet-truecolour-pane').style.display !== 'none'")

    row = page.page.locator('[data-layer="truecolour"]')
    toast = page.page.locator(".tl-toast.tl-on")
    page.until(lambda: ground() == [*flat["truecolour"]], "no photograph lies under the map")
    assert covered()
    # The embedding picture is one key away, and says what it is.
    page.page.keyboard.press("c")
    assert not covered()
    assert "Embedding picture. What changed alike" in toast.inner_text()
    page.page.keyboard.press("c")
    assert covered()
    assert "True colour." in toast.inner_text()
    Studio(page.page, server.url).choose("Picture", "Greenness")
    page.until(lambda: ground() == [*flat["ndvi"]], "the chosen picture does not come")
    assert "Greenness" in row.inner_text()
    page.open()
    page.until(lambda: ground() == [*flat["ndvi"]], "the project does not remember its picture")
    page.page.get_by_test_id("stTopNavLink").filter(has_text="Region").click()
    page.page.locator("img[alt^='Greenness.']").wait_for()


def test_keyboard_alone(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    page.page.locator(".tl-map").focus()
    press = page.page.keyboard.press
    press("1")
    press("Enter")
    page.acked(1)
    for _ in range(2):
        press("ArrowDown")
        page.page.wait_for_timeout(400)
    press("2")
    press("Enter")
    page.acked(2)
    labels = page.log().labels
    assert [label.class_id for label in labels] == [1, 2]
    assert labels[1].xy[0][1] < labels[0].xy[0][1]
    page.until(lambda: page.has("classes"), "no map")


def test_messages_stay_small(open_map: Callable[..., MapPage]) -> None:
    page = open_map()
    sizes: list[int] = []
    sockets: list[Any] = []
    page.page.on("websocket", lambda socket: sockets.append(socket))
    page.page.reload()
    page.ready()
    (socket,) = sockets
    socket.on("framereceived", lambda frame: sizes.append(len(frame)))
    for number, (key, x, y) in enumerate(PLACES, start=1):
        page.page.keyboard.press(key)
        page.click(x, y)
        page.acked(number)
    assert sizes
    # Neither Leaflet nor the static pictures travel again: 160 x 160 pixels and a header are a few KB.
    assert max(sizes) < 40_000
