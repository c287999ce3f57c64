"""The view map in a real browser: what it draws, what it tells, what it keeps. A page of its own, without a project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser.studio import still, until
from tests.servers import free_port, healthy
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 90_000
PAGE = """
import numpy as np
import streamlit as st
from affine import Affine
from tessera_core.grid import Grid
from tessera_core.render.display import DisplayGrid
from tessera_core.render.picture import encode_picture
from tessera_core.ui.components import view_map
from tessera_core.ui.components.view_map import Layer, Marker, Outline

st.set_page_config(layout="wide")
view_map.loader()
world = st.checkbox("World")
blue = st.checkbox("Blue")
display = None if world else DisplayGrid(Grid("EPSG:32631", Affine(10, 0, 500_000, 0, -10, 5_800_000), (80, 100)))

@st.fragment
def body():
    layers, markers, outlines = [], [], []
    if display is not None:
        everywhere = np.ones((80, 100), bool)
        left = np.zeros((80, 100, 3), np.uint8)
        left[..., 2 if blue else 0] = 200
        right = np.zeros((80, 100, 3), np.uint8)
        right[..., 1] = 200
        made = st.session_state.setdefault("made", [])
        def green():
            made.append("green")
            return encode_picture(right, everywhere, display)
        grass = (("#00c800", "grass"),)
        layers = [
            Layer("red", "Red", encode_picture(left, everywhere, display), str(blue), group="base"),
            Layer("green", "Green", green, "1", visible=False, legend=grass),
        ]
        if st.toggle("More"):
            layers.append(Layer("other", "Other", green, "1", visible=False, group="base", legend=grass))
        markers = [Marker("first", 20.5, 30.5, text="Twenty, thirty", kind="pin")]
    else:
        ring = [[-10, 35], [30, 35], [30, 60], [-10, 60], [-10, 35]]
        outlines = [Outline("europe", {"type": "Polygon", "coordinates": [ring]}, fill=0.3, text="Europe")]
    look = view_map.MapLook("Field", height=500, world=world)
    view_map.view_map("test", display, view_map.MapContent(layers, markers, outlines), look=look)
    st.text(f"made: {st.session_state.get('made', [])}")
    log = st.session_state.setdefault("log", [])
    log.extend(view_map.events("test"))
    for i, event in enumerate(log):
        where = "nowhere" if event.row is None else f"{event.row:.1f}/{event.col:.1f}"
        degrees = "nowhere" if event.lon is None else f"{event.lon:.3f}/{event.lat:.3f}"
        st.text(f"event {i}: {event.kind} at {where} and {degrees} on {event.target or 'nothing'} with {len(event.ring)}")

body()
"""


@pytest.fixture(scope="module")
def url(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("view-map")
    (folder / "page.py").write_text(PAGE)
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(folder / "page.py"), "--server.port", str(port)]
    command += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    environment = os.environ | {"PYTHONPATH": str(root), "TESSERA_HOME": str(folder / "home")}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: healthy(f"http://localhost:{port}"), every=0.1)
        yield f"http://localhost:{port}"
    finally:
        process.kill()
        process.wait(20)


class Map:
    def __init__(self, page: Any) -> None:
        self.page = page
        self.root = page.locator(".tl-root[data-kind=map]")
        page.wait_for_selector(".tl-root[data-kind=map][data-shown]", timeout=PATIENCE)

    def at(self, x: float, y: float) -> tuple[float, float]:
        box = self.page.locator(".tv-map").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def events(self, count: int) -> list[str]:
        """The texts of all events so far, once there are ``count``."""
        self.page.get_by_text(f"event {count - 1}:").wait_for(timeout=PATIENCE)
        return self.page.get_by_text(re.compile(r"^event \d+:")).all_inner_texts()

    def shows(self, x: float, y: float, colour: list[int]) -> None:
        """Wait until the screen shows a colour at a place of the map."""
        self.page.mouse.move(2, 2)

        def seen() -> list[int]:
            screen, (px, py) = still(self.page), self.at(x, y)
            return [int(part) for part in screen[int(py), int(px)]]

        until(self.page, lambda: seen() == colour, lambda: f"{seen()} instead of {colour}")

    def layers(self) -> None:
        self.page.get_by_label("Layers and comparison").click()


def zoomed_in(page: Any) -> None:
    """Turn the wheel over the map; without Ctrl it belongs to a page that scrolls."""
    canvas = page.locator(".leaflet-layer-red-pane canvas").first
    before = canvas.bounding_box()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -600)
    page.keyboard.up("Control")
    last = before

    # The map follows some moments later; of one colour, it does not show that it moves.
    def rests() -> bool:
        nonlocal last
        was, last = last, canvas.bounding_box()
        return last != before and was == last and not page.locator(".leaflet-zoom-anim").count()

    until(page, rests, "the wheel does nothing")


@pytest.fixture
def view(browser_window: Any, url: str) -> Iterator[Map]:
    page = browser_window.new_page()
    page.set_viewport_size({"width": 1200, "height": 800})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    yield Map(page)
    page.close()
    assert errors == []
    away = [address for address in asked if not address.startswith((url, "data:", "blob:"))]
    assert [address for address in away if "tile" in address] == [], "the map asked for tiles that nobody switched on"


def test_clicks_boxes_shapes_and_markers_arrive_once_and_in_place(view: Map) -> None:
    page = view.page
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    page.mouse.click(*view.at(0.5, 0.5))
    (click,) = view.events(1)
    row, col = map(float, re.search(r"at ([\d.]+)/([\d.]+)", click).groups())
    assert abs(row - 40) < 1
    assert abs(col - 50) < 1
    page.locator("[data-tool=box]").click()
    page.mouse.move(*view.at(0.45, 0.4))
    page.mouse.down()
    page.mouse.move(*view.at(0.55, 0.6), steps=4)
    page.mouse.up()
    assert "box at" in view.events(2)[1]
    page.locator("[data-tool=polygon]").click()
    for place in ((0.45, 0.4), (0.55, 0.4), (0.5, 0.6)):
        page.mouse.click(*view.at(*place))
    page.get_by_role("button", name="Finish shape").click()
    assert re.search(r"polygon at .* with 3$", view.events(3)[2])
    # Quick clicks: none is lost, none counts twice.
    page.locator("[data-tool=click]").click()
    for i in range(12):
        page.mouse.click(*view.at(0.42 + 0.01 * i, 0.5))
    assert len(view.events(15)) == 15
    page.wait_for_timeout(1000)
    assert len(view.events(15)) == 15


def test_a_marker_tells_its_text_and_its_name(view: Map) -> None:
    page = view.page
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    box = page.locator(".leaflet-layer-red-pane canvas").bounding_box()
    # The grid lies on a central meridian, so that display and pixels are parallel; a pin's head is above its place.
    x, y = box["x"] + 30.5 / 100 * box["width"], box["y"] + 20.5 / 80 * box["height"] - 17
    page.mouse.move(x, y)
    page.get_by_text("Twenty, thirty").wait_for()
    page.mouse.click(x, y)
    assert re.search(r"marker at .* on first", view.events(1)[0])


def test_layers_swap_swipe_and_stand_side_by_side(view: Map) -> None:
    page = view.page
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    view.shows(0.4, 0.5, [200, 0, 0])
    # What nobody has looked at has not been made.
    page.get_by_text("made: []").wait_for()
    view.layers()
    # The button that closes the panel pushes none of the sliders aside.
    sliders = [page.locator(f"[data-layer={name}] input[type=range]").bounding_box() for name in ("green", "red")]
    assert sliders[0]["x"] == pytest.approx(sliders[1]["x"], abs=1)
    page.locator("[data-layer=green] input[type=checkbox]").check()
    page.wait_for_selector("[data-layergreen]", timeout=PATIENCE)
    page.get_by_text("made: ['green']").wait_for()
    view.shows(0.5, 0.5, [0, 200, 0])
    page.get_by_text("grass").wait_for()
    page.locator("[data-layer=green] input[type=range]").fill("50")
    view.shows(0.5, 0.5, [100, 100, 0])
    page.get_by_label("Comparison", exact=True).select_option("swipe")
    view.shows(0.45, 0.8, [200, 0, 0])
    view.shows(0.55, 0.8, [0, 200, 0])
    page.get_by_label("Comparison", exact=True).select_option("beside")
    page.locator(".tv-stage").nth(1).wait_for()
    view.shows(0.25, 0.8, [200, 0, 0])
    view.shows(0.75, 0.8, [0, 200, 0])
    # Both halves move together.
    page.mouse.move(*view.at(0.75, 0.5))
    zoomed_in(page)
    left = page.locator(".tv-stage").nth(0).locator(".leaflet-layer-red-pane canvas")
    right = page.locator(".tv-stage").nth(1).locator(".leaflet-layer-green-pane canvas")
    until(page, lambda: left.bounding_box()["width"] > 1000, "the map is not zoomed")
    still(page)
    assert left.bounding_box()["width"] == pytest.approx(right.bounding_box()["width"])
    # On a page that scrolls the wheel alone is the page's, and the map says how it is zoomed.
    before = left.bounding_box()["width"]
    page.set_viewport_size({"width": page.viewport_size["width"], "height": 420})
    page.mouse.move(*view.at(0.75, 0.3))
    page.mouse.wheel(0, 120)
    page.get_by_text("Ctrl + wheel zooms the map").wait_for()
    page.wait_for_function("() => document.querySelector('[data-testid=stMain]').scrollTop > 50")
    assert left.bounding_box()["width"] == pytest.approx(before)


def test_sliders_of_the_map_ask_nobody(view: Map) -> None:
    page = view.page
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    view.layers()
    sent = page.evaluate(
        """() => {
          window.sent = 0;
          const send = WebSocket.prototype.send;
          WebSocket.prototype.send = function (data) { window.sent += 1; return send.call(this, data); };
          return window.sent;
        }"""
    )
    assert sent == 0
    slider = page.locator("[data-layer=red] input[type=range]")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=20)
    page.mouse.up()
    assert 30 < int(slider.input_value()) < 70
    page.wait_for_timeout(800)
    assert page.evaluate("() => window.sent") == 0
    # Looking at what has not been sent does ask, which shows that asking would have been counted.
    page.locator("[data-layer=green] input[type=checkbox]").check()
    page.wait_for_selector("[data-layergreen]", timeout=PATIENCE)
    assert page.evaluate("() => window.sent") > 0


def test_a_base_layer_that_is_gone_leaves_another_in_sight(view: Map) -> None:
    page = view.page
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    page.get_by_text("More").click()
    view.layers()
    page.locator("[data-layer=other] input[type=radio]").check()
    page.wait_for_selector("[data-layerother]", timeout=PATIENCE)
    page.get_by_label("Close the layers").click()
    view.shows(0.5, 0.5, [0, 200, 0])
    page.get_by_text("More").click()
    page.get_by_text("grass").wait_for(state="detached")
    view.shows(0.5, 0.5, [200, 0, 0])


def test_a_new_version_is_drawn_and_the_view_stays(view: Map) -> None:
    page = view.page
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    page.mouse.move(*view.at(0.5, 0.5))
    zoomed_in(page)
    still(page)
    before = page.locator(".leaflet-layer-red-pane canvas").bounding_box()
    page.get_by_text("Blue").click()
    page.wait_for_selector("[data-layerred=True]", timeout=PATIENCE)
    view.shows(0.5, 0.5, [0, 0, 200])
    after = page.locator(".leaflet-layer-red-pane canvas").bounding_box()
    assert after["width"] == pytest.approx(before["width"])
    page.reload()
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    page.wait_for_timeout(500)
    assert page.locator(".leaflet-layer-red-pane canvas").bounding_box()["width"] == pytest.approx(
        before["width"], rel=0.01
    )


def test_the_picture_can_be_saved(view: Map, tmp_path: Path) -> None:
    page = view.page
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    with page.expect_download() as waiting:
        page.get_by_label("Save as PNG").click()
    assert waiting.value.suggested_filename == "field-red.png"
    path = tmp_path / "field.png"
    waiting.value.save_as(path)
    saved = np.asarray(Image.open(path).convert("RGB"))
    height, width = saved.shape[:2]
    assert height in range(990, 1010)
    assert saved[500, width // 2].tolist() == [200, 0, 0]
    # North at the top right and the scale bar at the bottom left, dark on light.
    assert (saved[20:108, width - 80 : width - 20].max(-1) < 60).sum() > 300
    assert (saved[height - 40 : height - 20, 30:200].max(-1) < 60).sum() > 300
    # With a layer that has a legend, a heading and an entry in its colour stand below the map.
    view.layers()
    page.locator("[data-layer=green] input[type=checkbox]").check()
    page.wait_for_selector("[data-layergreen]", timeout=PATIENCE)
    with page.expect_download() as waiting:
        page.get_by_label("Save as PNG").click()
    assert waiting.value.suggested_filename == "field-red-green.png"
    waiting.value.save_as(path)
    legend = np.asarray(Image.open(path).convert("RGB"))[height:]
    assert len(legend) > 80
    assert (legend == [0, 200, 0]).all(-1).sum() > 500
    assert (legend.max(-1) < 60).sum() > 100


def test_the_world_needs_no_network_and_keys_suffice(view: Map) -> None:
    page = view.page
    page.get_by_text("World").click()
    page.wait_for_timeout(2500)
    canvas = page.locator(".leaflet-land-pane canvas")
    drawn = canvas.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v > 0).length"
    )
    assert drawn > 20_000
    page.locator(".tv-map").focus()
    page.keyboard.press("Enter")
    first = view.events(1)[0]
    assert "at nowhere and" in first
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    page.keyboard.press("Enter")
    degrees = [float(re.search(r"and (-?[\d.]+)/", text).group(1)) for text in view.events(2)]
    assert degrees[1] > degrees[0] + 5


def test_a_finger_clicks_and_a_phone_shows_everything(chromium: Any, url: str) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    view = Map(page)
    page.wait_for_selector("[data-layerred]", timeout=PATIENCE)
    box = page.locator(".tv-map").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.touchscreen.tap(*view.at(0.5, 0.5))
    assert "click at" in view.events(1)[0]
    view.layers()
    panel = page.locator(".tv-panel").bounding_box()
    assert panel["x"] >= 0
    assert panel["x"] + panel["width"] <= 390
    # The panel lies over the button that opened it, so it has one of its own.
    page.get_by_label("Close the layers").tap()
    page.locator(".tv-panel").wait_for(state="hidden")
    page.touchscreen.tap(*view.at(0.5, 0.4))
    assert len(view.events(2)) == 2
    context.close()
