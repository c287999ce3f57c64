"""Whole sessions on the page Label: with the mouse, and with its own keys alone.

Each begins with an empty project, follows the app's own advice (hints, next places, doubtful labels) and ends with a map.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tessera_core.bench.click import CLASSES, synthetic_raster
from tessera_core.project.project import Project
from tests.browser.map_page import PATIENCE, SIZE, MapPage, expected_picture, known, on_screen, open_map, project

__all__ = ["open_map", "project"]

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(420)]

OpenMap = Callable[..., MapPage]
# Labels of a class that are enough against a wrong one.
MANY = 6
NAMES = ("Forest", "Water", "Arable", "Rock", "Meadow", "Town")


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """uint8 (SIZE, SIZE), 1..6: the classes of the synthetic scene."""
    return synthetic_raster(SIZE, seed=2)[1]


def pixel_of(page: MapPage, project: Project, label: int = -1) -> tuple[int, int]:
    """Row and column of a label in the log."""
    grid = project.grid
    assert grid is not None
    rows, cols = grid.xy_to_pixel(*np.array(page.log().labels[label].xy[:1]).T)
    return int(rows[0]), int(cols[0])


def places(truth: np.ndarray, kind: int, count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Pixels well inside patches of a kind, far from the edge of the scene and from each other."""
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(truth == kind)
    inside = np.zeros_like(depth)
    inside[6:-6, 6:-6] = depth[6:-6, 6:-6]
    found = []
    for _ in range(count):
        row, col = np.unravel_index(int(inside.argmax()), inside.shape)
        assert inside[row, col] > 0
        found.append((int(row), int(col)))
        rows, cols = np.ogrid[: inside.shape[0], : inside.shape[1]]
        inside[(rows - row) ** 2 + (cols - col) ** 2 < 14**2] = 0
    return found


def label_all(page: MapPage, project: Project, truth: np.ndarray, kinds: int, each: int) -> int:
    """Label well-chosen places of the first kinds; returns how many operations that were."""
    number = 0
    for kind in range(1, kinds + 1):
        page.page.keyboard.press(str(kind))
        for row, col in places(truth, kind, each):
            x, y = on_screen(page, project, row, col)
            page.page.mouse.click(x, y)
            number += 1
            page.acked(number)
    return number


def test_a_session_with_the_mouse(open_map: OpenMap, project: Project, truth: np.ndarray) -> None:
    page = open_map()
    view = page.page
    for name in NAMES[3:]:
        view.get_by_label("Name of a new class").fill(name)
        view.get_by_role("button", name="Add").click()
    page.acked(3)
    number = 3
    # Who works by keyboard is on the map then, not at the head of the page.
    assert "tl-map" in page.root.evaluate("map => map.getRootNode().activeElement?.className ?? ''")
    for kind in range(1, CLASSES + 1):
        view.locator(".tl-pick").nth(kind - 1).click()
        for row, col in places(truth, kind, MANY if kind <= 2 else 2):
            view.mouse.click(*on_screen(page, project, row, col))
            number += 1
            page.acked(number)
    known(page)
    card = view.locator(".tl-score").inner_text()
    assert "right at places it has not seen" in card
    assert "95 % sure" in card
    assert f"{2 * MANY + 2 * (CLASSES - 2)} labels" in card
    assert "random split" in card

    # Label here next: one click jumps to the place, one click labels it, and the next one comes.
    view.get_by_role("button", name="Label here next").click()
    dialog = view.locator(".tl-card")
    dialog.wait_for()
    first = dialog.locator("p").inner_text()
    dialog.locator(".tl-cardchip", has_text="Rock").click()
    number += 1
    page.acked(number)
    assert page.log().labels[-1].class_id == 4
    assert dialog.locator("p").first.inner_text() != first or "Place B" in dialog.inner_text()
    assert "Place B" in dialog.inner_text()
    dialog.get_by_label("Leave").click()
    assert not dialog.is_visible()

    # A mistake on purpose: the doctor finds it, one click goes there, one click mends it.
    row, col = places(truth, 2, MANY + 1)[-1]
    view.get_by_title("Show the whole area").click()
    view.wait_for_timeout(600)
    view.locator(".tl-pick").nth(0).click()
    view.mouse.click(*on_screen(page, project, row, col))
    number += 1
    page.acked(number)
    known(page)
    told = view.locator(".tl-told")
    page.until(
        lambda: re.fullmatch(r"Map updated: 6 classes, \d+ % right", told.text_content() or "") is not None,
        "what the map has become is not read out",
    )
    view.locator(".tl-fold summary", has_text="Doubtful labels").click()
    item = view.locator(".tl-item", has_text="Labelled Forest, but it looks like Water")
    item.first.wait_for()
    item.first.click()
    dialog.get_by_role("button", name="It is Water").click()
    number += 1
    page.acked(number)
    assert page.log().labels[-1].class_id == 2
    view.keyboard.press("Escape")

    # Both confidences, each with its sentence.
    view.locator('[data-layer="dissimilarity"] input[type=checkbox]').check()
    page.until(lambda: page.has("dissimilarity"), "the layer of what is unlike the labels does not come")
    assert "region" in view.locator('[data-layer="dissimilarity"] .tl-about').inner_text()
    view.locator('[data-layer="sets"] input[type=checkbox]').check()
    page.until(lambda: page.has("sets"), "the layer of possible classes does not come")
    about = view.locator('[data-layer="sets"] .tl-about')
    assert "10 of 100" in about.inner_text()
    about.locator("select").select_option("0.2")
    about.locator("p", has_text=re.compile("20 of 100|20 %")).wait_for(timeout=PATIENCE)
    view.locator('[data-layer="confidence"] input[type=checkbox]').check()
    page.until(lambda: page.has("confidence"), "no confidence")
    assert "confident on average" in view.locator('[data-layer="confidence"] .tl-about').inner_text()


@pytest.mark.soak
def test_similar_places_become_a_class(open_map: OpenMap, project: Project, truth: np.ndarray) -> None:
    page = open_map()
    view = page.page
    sockets: list[Any] = []
    sent: list[object] = []
    view.on("websocket", lambda socket: sockets.append(socket))
    view.reload()
    page.ready()
    sockets[-1].on("framesent", lambda frame: sent.append(frame))
    view.locator(".tl-fold summary", has_text="Find similar").click()
    view.get_by_role("button", name="Like this").click()
    (row, col), (other_row, other_col) = places(truth, 5, 1)[0], places(truth, 3, 1)[0]
    view.mouse.click(*on_screen(page, project, row, col))
    page.until(lambda: page.has("similar"), "no likeness")
    view.get_by_role("button", name="Not this").click()
    view.mouse.click(*on_screen(page, project, other_row, other_col))
    page.until(lambda: view.locator(".tl-seed").count() == 2, "the counter-example is not shown")
    view.wait_for_timeout(1500)
    assert page.log().labels == []
    slider = view.get_by_label("How much alike, in percent")

    def shown() -> int:
        return page.root.evaluate(
            """map => {
              const canvas = map.querySelector('.leaflet-similar-pane canvas');
              const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
              let n = 0;
              for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
              return n;
            }"""
        )

    slider.fill("40")
    page.until(lambda: shown() > 0, "nothing is alike")
    view.wait_for_timeout(300)
    many = shown()
    # The slider is answered by the browser alone.
    before = len(sent)
    slider.fill("92")
    page.until(lambda: shown() < many, "the threshold changes nothing")
    assert len(sent) == before
    view.get_by_label("Class for similar places", exact=True).select_option("")
    view.get_by_label("New class for similar places").fill("Meadow")
    view.get_by_role("button", name="Make labels").click()
    page.until(lambda: page.counts()[-1:] == [30], "no labels were made")
    labels = page.log().labels
    grid = project.grid
    assert grid is not None
    rows, cols = grid.xy_to_pixel(*np.array([label.xy[0] for label in labels]).T)
    kinds = truth[rows.astype(int), cols.astype(int)]
    assert (kinds == 5).mean() > 0.9
    view.locator(".tl-map").focus()
    view.keyboard.press("z")
    page.until(lambda: page.log().labels == [], "one undo does not take them back")


def shown(page: MapPage, pane: str) -> bool:
    """Whether a picture is drawn and in sight."""
    return page.root.evaluate(
        """(map, pane) => {
          const found = map.querySelector(`.leaflet-${pane}-pane`);
          return Boolean(found?.querySelector("canvas")) && found.style.display !== "none";
        }""",
        pane,
    )


def test_a_search_ends_with_escape_with_its_panel_and_with_the_page(
    open_map: OpenMap, project: Project, truth: np.ndarray
) -> None:
    page = open_map()
    view = page.page
    banner, fold = view.locator(".tl-banner"), view.locator(".tl-fold summary", has_text="Find similar")

    def begin(button: str, words: str) -> None:
        view.get_by_role("button", name=button).click()
        assert words in banner.inner_text()

    fold.click()
    begin("Like this", "Clicks say what it is like.")
    (row, col), (other_row, other_col) = places(truth, 5, 1)[0], places(truth, 3, 1)[0]
    view.mouse.click(*on_screen(page, project, row, col))
    page.until(lambda: shown(page, "similar"), "no likeness")
    begin("Not this", "Clicks say what it is not like.")
    view.keyboard.press("Escape")
    assert not banner.is_visible()
    assert page.root.get_attribute("data-tool") == "point"
    begin("Not this", "not like")
    # What was looked for is a class of its own unless somebody says otherwise, and stays what they say.
    choice = view.get_by_label("Class for similar places", exact=True)
    assert choice.input_value() == ""
    choice.select_option(label="Water")
    view.mouse.click(*on_screen(page, project, other_row, other_col))
    page.until(lambda: view.locator(".tl-seed").count() == 2, "the counter-example is not shown")
    assert choice.locator("option:checked").inner_text() == "Water"
    # Folded, nothing of it is left on the map, and a click makes a label again.
    fold.click()
    page.until(lambda: not banner.is_visible(), "the banner outlives the panel")
    assert view.locator(".tl-seed").count() == 0
    assert not shown(page, "similar")
    assert page.log().labels == []
    view.mouse.click(*on_screen(page, project, row, col))
    page.acked(1)
    assert len(page.log().labels) == 1
    fold.click()
    page.until(lambda: shown(page, "similar"), "what was found does not come back with its panel")
    for away in ("reload", "another page"):
        begin("Not this", "not like")
        if away == "reload":
            view.reload()
        else:
            view.get_by_role("link", name="Region").first.click()
            view.wait_for_selector(".tl-map", state="detached", timeout=PATIENCE)
            view.get_by_role("link", name="Label").first.click()
        page.ready()
        assert not banner.is_visible(), away
        assert page.root.get_attribute("data-tool") == "point", away
        view.locator(".tl-fold summary", has_text="Find similar").click()


def test_nothing_is_painted_alike_before_the_threshold_is_known(
    open_map: OpenMap, project: Project, truth: np.ndarray
) -> None:
    page = open_map()
    view = page.page
    paint = """map => {
      const canvas = map.querySelector('.leaflet-similar-pane canvas');
      if (!canvas) return 0;
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      let n = 0;
      for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
      return n / (data.length / 4);
    }"""

    # Likeness comes as a picture and, beside it, as a threshold; here the threshold comes last.
    def slow(socket: Any) -> None:
        server = socket.connect_to_server()

        def pass_on(message: Any) -> None:
            if isinstance(message, bytes) and b'"areas": [' in message.replace(b'"areas":[', b'"areas": ['):
                view.wait_for_timeout(1200)
            socket.send(message)

        server.on_message(pass_on)
        socket.on_message(lambda message: server.send(message))

    view.route_web_socket("**/_stcore/stream*", slow)
    view.reload()
    page.ready()
    view.locator(".tl-fold summary", has_text="Find similar").click()
    view.get_by_role("button", name="Like this").click()
    (row, col) = places(truth, 5, 1)[0]
    view.mouse.click(*on_screen(page, project, row, col))
    page.until(lambda: page.has("similar"), "no likeness")
    most, slider = 0.0, view.get_by_label("How much alike, in percent")
    for _ in range(20):
        most = max(most, page.root.evaluate(paint))
        view.wait_for_timeout(100)
    slider.wait_for()
    assert 0 < page.root.evaluate(paint) < 0.6
    assert most < 0.6


def test_a_session_with_the_keyboard_alone(open_map: OpenMap, project: Project, truth: np.ndarray) -> None:
    page = open_map()
    view = page.page
    view.locator(".tl-map").focus()
    press = view.keyboard.press

    def here() -> tuple[int, int]:
        # The cross is in the middle of the map.
        from tessera_core.render.display import DisplayGrid

        assert project.grid is not None
        display = DisplayGrid(project.grid)
        box, middle = view.locator(".leaflet-pca-pane canvas").bounding_box(), page.at(0.5, 0.5)
        west, south, east, north = display.bounds
        x = west + (middle[0] - box["x"]) / box["width"] * (east - west)
        y = north - (middle[1] - box["y"]) / box["height"] * (north - south)
        row, col = display.to_pixel(x, y)
        return int(row), int(col)

    number = 0
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        press(key)
        view.wait_for_timeout(400)
        row, col = here()
        if not (0 <= row < SIZE and 0 <= col < SIZE):
            continue
        kind = min(int(truth[row, col]), 3)
        press(str(kind))
        press("Enter")
        number += 1
        page.acked(number)
    assert len({label.class_id for label in page.log().labels}) >= 2
    known(page)
    # N goes to the next place, a digit labels it and moves on; here until all five are done and new ones are found.
    press("n")
    card = view.locator(".tl-card")
    card.wait_for()
    # The map's own answer is hidden while the person is asked, unless they want to see it.
    assert not shown(page, "classes")
    assert "hidden" in card.inner_text()
    press("m")
    assert shown(page, "classes")
    press("m")
    letters = []
    for _ in range(5):
        letters.append(card.locator("b").first.inner_text()[:7])
        press("3")
        number += 1
        page.acked(number)
    assert letters == [f"Place {letter}" for letter in "ABCDE"]
    # What the five have changed is said before more is asked.
    page.until(lambda: "What your answers changed" in card.inner_text(), "nothing is said of the answers")
    assert "5 answers taken in." in card.inner_text()
    assert shown(page, "classes")
    press("n")
    assert "Place A" in card.inner_text()
    before = len(page.log().labels)
    press("n")
    assert "Place B" in card.inner_text()
    press("Escape")
    assert not card.is_visible()
    assert len(page.log().labels) == before
    for _ in range(5):
        press("z")
        number += 1
    page.acked(number)
    assert len(page.log().labels) == before - 5
    for _ in range(5):
        press("y")
        number += 1
    page.acked(number)
    assert len(page.log().labels) == before
    # Nothing had to be saved by hand, and the page says so.
    assert re.match(r"Saved (just now|\d+ s ago)", view.get_by_text(re.compile(r"^Saved ")).first.inner_text())


@pytest.mark.soak
def test_a_slow_method_replaces_the_quick_map(open_map: OpenMap, project: Project, truth: np.ndarray) -> None:
    from tessera_core.heads import predict_raster
    from tessera_core.project.classify import fit_labels
    from tessera_core.raster import EmbeddingRaster

    page = open_map()
    label_all(page, project, truth, 3, 3)
    known(page)
    quick = page.class_map()
    project.refresh()
    project.update(head="forest")
    page.page.reload()
    page.ready()
    page.until(lambda: page.has("classes"), "no map")
    raster = EmbeddingRaster.open(project.embeddings_path(2024))
    slow = predict_raster(fit_labels(page.log().labels, raster, "forest"), raster).classes
    wanted = expected_picture(page.log(), project, slow)
    assert not np.array_equal(wanted, quick)
    page.until(lambda: np.array_equal(page.class_map(), wanted), "the map of the forest does not come")
