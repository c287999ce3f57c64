"""The exported web map in a real browser: from a file, with the network off, on a screen and on a phone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_core.export.webmap import write_web_map
from tessera_core.render.display import DisplayGrid
from tessera_core.session.base_maps import BASE_MAPS
from tests.browser.studio import still
from tests.export.web_maps import HOSTILE, make_background, make_product

pytestmark = pytest.mark.browser


def opened(chromium: Any, path: Path, width: int, height: int = 900) -> tuple[Any, list[str], list[str]]:
    """The page, what it asked of any network, and what went wrong in it."""
    context = chromium.new_context(viewport={"width": width, "height": height}, offline=True)
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
    page.goto(path.as_uri())
    page.locator("html[data-ready]").wait_for(timeout=60_000)
    return page, [url for url in asked if not url.startswith(("file:", "data:", "blob:"))], wrong


@pytest.mark.parametrize("width", [1440, 390])
def test_a_click_tells_class_and_confidence_and_nothing_is_asked_of_a_network(
    chromium: Any, tmp_path: Path, width: int
) -> None:
    product = make_product(names=(f"Wood {HOSTILE}", "Water"), name=HOSTILE)
    page, asked, wrong = opened(chromium, write_web_map(tmp_path / "map.html", product, make_background()), width)
    if width < 640:  # there the panel lies over the lower part of the map
        page.locator("#panel summary").click()
    display = DisplayGrid(product.grid, product.classes.size)
    classes, sure = display.warp(product.classes), display.warp(product.confidence, 255)
    rows, cols = display.shape
    # In the middle, which a bubble at the edge does not push out of sight.
    middle = [place for place in np.argwhere(classes > 0).tolist() if 20 < place[1] < 40]
    for row, col in (middle[100], middle[-100]):
        still(page)  # a bubble near the edge moved the map
        found = page.evaluate(
            """() => { const box = document.querySelector("canvas.pixels").getBoundingClientRect();
                       return [box.x, box.y, box.width, box.height]; }"""
        )
        assert found[2] > 100
        x, y = found[0] + (col + 0.5) / cols * found[2], found[1] + (row + 0.5) / rows * found[3]
        page.mouse.click(x, y)
        popup = page.locator(".leaflet-popup-content").last
        popup.get_by_text(f"{sure[row, col]} % sure").wait_for()
        assert product.label_classes[classes[row, col] - 1].name == popup.locator("strong").text_content()
        page.keyboard.press("Escape")
        page.locator(".leaflet-popup").wait_for(state="detached")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (asked, wrong) == ([], [])
    page.context.close()


def test_layers_come_and_go_and_fade(chromium: Any, tmp_path: Path) -> None:
    page, asked, wrong = opened(chromium, write_web_map(tmp_path / "map.html", make_product(), make_background()), 1440)
    confidence = page.get_by_label("Confidence", exact=True)
    assert not confidence.is_checked()
    confidence.check()
    assert page.locator(".leaflet-confidence-pane canvas").count() == 1
    page.get_by_label("Opacity of Classes").fill("20")
    assert page.locator(".leaflet-classes-pane canvas").evaluate("e => e.style.opacity") == "0.2"
    page.get_by_label("Classes", exact=True).uncheck()
    assert page.locator(".leaflet-classes-pane canvas").count() == 0
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    page.locator(".leaflet-popup-content").wait_for()
    assert (asked, wrong) == ([], [])
    page.context.close()


def test_background_maps_are_asked_for_only_where_they_were_wanted(chromium: Any, tmp_path: Path) -> None:
    path = write_web_map(tmp_path / "map.html", make_product(), make_background(), BASE_MAPS)
    context = chromium.new_context(viewport={"width": 1000, "height": 700})
    tile = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    asked: list[str] = []

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        route.fulfill(body=tile, content_type="image/png")

    context.route("https://**/*", answer)
    page = context.new_page()
    page.goto(path.as_uri())
    page.locator("html[data-ready]").wait_for()
    page.wait_for_function("document.querySelectorAll('img.leaflet-tile-loaded').length > 0")
    hosts = {url.split("/")[2] for url in asked}
    assert hosts == {"tile.openstreetmap.org"}
    context.close()
