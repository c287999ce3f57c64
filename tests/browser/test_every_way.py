"""One session, from the first page to a map that is checked and saved, in every browser and with every way to use one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.render.display import DisplayGrid
from tests.browser.bidi import firefox
from tests.browser.drivers import Chromium, Driver
from tests.browser.hands import Finger, Hand, Keyboard, Mouse
from tests.browser.studio import VIEW
from tests.browser.webdriver import webkit
from tests.servers import DEMO_SIZE, TOKEN, AppServer
from tests.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(420)]

KINDS = 2
EACH = 3
_PART = """css => {
  const roots = [document, ...[...document.querySelectorAll("*")].flatMap((node) => node.shadowRoot ?? [])];
  for (const root of roots) {
    const node = root.querySelector(css);
    if (!node) continue;
    const { x, y, width, height } = node.getBoundingClientRect();
    return { x, y, width, height, text: node.textContent, ...node.dataset };
  }
  return null;
}"""


class Session:
    """Somebody's work on the demo region.

    Args:
        hand: whose.
        home: of the server.
    """

    def __init__(self, hand: Hand, home: Path) -> None:
        self.hand, self.home, self.done = hand, home, 0

    def part(self, css: str) -> dict[str, Any]:
        """Place, text and data of a part of the page, once it is there."""
        return eventually(lambda: self.hand.driver.run(_PART, css), f"no {css}", 0.05)

    def acked(self) -> None:
        """Wait until the answers to the operations of now, one more than before, are on the screen."""
        self.done += 1
        answered = lambda: int(self.part(".tl-root[data-kind=map]").get("shownAck", 0))  # noqa: E731
        eventually(lambda: answered() >= self.done, lambda: f"{answered()} of {self.done} are answered", 0.05)

    def stands(self, before: dict[str, Any] | None = None) -> dict[str, Any]:
        """Where the picture of the region is, once it has moved away from there and moves no more."""
        last: dict[str, Any] = {}

        def same() -> bool:
            nonlocal last
            earlier, last = last, self.part(".leaflet-pca-pane canvas")
            return last == earlier and last != before

        eventually(same, lambda: f"the map stays or moves for ever: {last}", 0.05)
        return last

    # ------------------------------------------------------------------- the way

    def open(self) -> None:
        """The demo region by its one button, and the map for labelling."""
        import rasterio

        self.hand.press("button", "Open the demo region")
        self.hand.press("button", "Start labelling")
        truth = max((self.home / "cache" / "demo").glob(f"{DEMO_SIZE}-*/truth/*.tif"))
        with rasterio.open(truth) as file:
            self.grid = Grid(file.crs.to_string(), file.transform, file.shape)
            self.truth: NDArray[np.uint8] = file.read(1)
        self.kinds = np.argsort(np.bincount(self.truth[self.truth > 0].ravel()))[::-1][:KINDS].tolist()
        self.display = DisplayGrid(self.grid)
        self.part(".leaflet-pca-pane canvas")
        self.stands()

    def on_screen(self, row: int, col: int) -> tuple[float, float]:
        """Where the middle of a pixel of the scene is in the window."""
        box = self.part(".leaflet-pca-pane canvas")
        west, south, east, north = self.display.bounds
        x, y = self.display.from_pixel(np.array(row + 0.5), np.array(col + 0.5))
        return (
            box["x"] + (float(x) - west) / (east - west) * box["width"],
            box["y"] + (north - float(y)) / (north - south) * box["height"],
        )

    def beneath_the_cross(self) -> int:
        """What the truth knows of the middle of the map, 0 outside."""
        box, around = self.part(".leaflet-pca-pane canvas"), self.part(".tl-map")
        west, south, east, north = self.display.bounds
        x = west + (around["x"] + around["width"] / 2 - box["x"]) / box["width"] * (east - west)
        y = north - (around["y"] + around["height"] / 2 - box["y"]) / box["height"] * (north - south)
        row, col = (int(np.floor(value)) for value in self.display.to_pixel(x, y))
        return int(self.truth[row, col]) if 0 <= row < self.grid.height and 0 <= col < self.grid.width else 0

    def examples(self, kind: int) -> list[tuple[int, int]]:
        """Places well inside patches of a kind."""
        from scipy import ndimage

        depth = ndimage.distance_transform_edt(np.pad(self.truth == kind, 1))[1:-1, 1:-1]
        found = []
        for _ in range(EACH):
            row, col = np.unravel_index(int(depth.argmax()), depth.shape)
            found.append((int(row), int(col)))
            rows, cols = np.ogrid[: depth.shape[0], : depth.shape[1]]
            depth[(rows - row) ** 2 + (cols - col) ** 2 < 64] = 0
        return found

    def label(self, field: str, at: Callable[[float, float], None]) -> None:
        """Two classes of some places each."""
        for number, kind in enumerate(self.kinds):
            self.hand.fill(field, f"Kind {number + 1}")
            self.hand.press("button", "Add this class" if field == "Name of another class" else "Add")
            self.acked()
            for row, col in self.examples(kind):
                at(*self.on_screen(row, col))
                self.acked()

    def label_by_keys(self, keyboard: Keyboard) -> None:
        """The same with the cross in the middle of the map, which arrows move over the region."""
        key = keyboard.driver.key
        for number in range(KINDS):
            keyboard.fill("Name of a new class", f"Kind {number + 1}")
            key("Enter")
            self.acked()
            # What comes next is the map's.
            assert "Labelling map" in keyboard.focus()
        had = dict.fromkeys(self.kinds, 0)
        way = [name for turn in range(1, 6) for name in self._round(turn)]
        for name in way:
            before = self.stands()
            key(name)
            self.stands(before)
            kind = self.beneath_the_cross()
            if kind in had and had[kind] < EACH:
                key(str(1 + self.kinds.index(kind)))
                key("Enter")
                self.acked()
                had[kind] += 1
            if min(had.values()) >= 2:
                return
        raise AssertionError(f"the way over the map met {had}")

    @staticmethod
    def _round(turn: int) -> list[str]:
        first, second = ("ArrowLeft", "ArrowUp") if turn % 2 else ("ArrowRight", "ArrowDown")
        return [first] * turn + [second] * turn

    def mapped(self) -> None:
        """The map is there, and is read out."""
        eventually(lambda: "classes" in self.part(".tl-told")["text"], lambda: self.part(".tl-told"), 0.05)
        assert self.part(".tl-told")["text"].startswith(f"Map updated: {KINDS} classes")
        assert self.hand.driver.run(_PART, ".leaflet-classes-pane canvas")

    def suggestion(self, begin: Callable[[], None], answer: Callable[[], None], leave: Callable[[], None]) -> None:
        """Where to label next is asked, answered, and left."""
        begin()
        eventually(lambda: "Place A" in self.part(".tl-card")["text"], lambda: self.part(".tl-card"), 0.05)
        answer()
        self.acked()
        eventually(lambda: "Place B" in self.part(".tl-card")["text"], lambda: self.part(".tl-card"), 0.05)
        leave()
        eventually(lambda: not self.part(".tl-card")["width"], "the card stays", 0.05)

    def check(self, answer: Callable[[], None]) -> None:
        """A sample by chance, of which two places are looked at."""
        self.hand.go("Validate")
        self.hand.press("button", "Choose the places by chance")
        for number in (1, 2):
            answer()
            self.hand.sees(f"{number} of ")

    def export(self) -> None:
        """The class map as a file with its classes."""
        import rasterio

        self.hand.go("Export")
        self.hand.press("button", "Class map (.tif)")
        found = eventually(
            lambda: [path for path in self.hand.driver.downloaded() if path.suffix == ".tif"], "no file comes", 0.1
        )
        with rasterio.open(found[0]) as file:
            assert (file.height, file.width) == self.truth.shape
            assert {file.tags(1)[f"class_{number + 1}"] for number in range(KINDS)} == {"Kind 1", "Kind 2"}
            assert set(np.unique(file.read(1))) == {1, 2}


def with_a_mouse(driver: Driver, server: AppServer) -> None:
    """The session as most people have it."""
    hand = Mouse(driver)
    session = Session(hand, server.home)
    driver.open(f"{server.url}/?token={TOKEN}")
    session.open()
    session.label("Name of a new class", driver.click)
    session.mapped()
    session.suggestion(
        lambda: hand.press("css", ".tl-next"),
        lambda: hand.press("css", ".tl-card .tl-cardchip"),
        lambda: hand.press("button", "Leave"),
    )
    session.check(lambda: hand.press("button", "Kind 1"))
    session.export()
    assert "Traceback" not in server.output()


def test_firefox(fresh: AppServer, tmp_path: Path) -> None:
    with firefox(tmp_path) as window:
        with_a_mouse(window, fresh)
        assert window.errors == []


def test_webkit(fresh: AppServer, tmp_path: Path) -> None:
    with webkit(tmp_path) as window:
        with_a_mouse(window, fresh)


# Every pointer that reaches a page, by its kind; a mouse's own events are named as such.
_WATCH = """
globalThis.pointers = [];
for (const kind of ["pointerdown", "pointermove", "wheel", "touchstart"])
  addEventListener(kind, (event) => pointers.push(`${kind} ${event.pointerType ?? ""}`), { capture: true });
"""


@pytest.fixture
def window(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Chromium]]:
    """Opens a window of Chromium that notes which pointers its pages meet."""
    contexts = []

    def opened(**screen: Any) -> Chromium:
        contexts.append(context := chromium.new_context(accept_downloads=True, **screen))
        page = context.new_page()
        page.add_init_script(_WATCH)
        return Chromium(page, tmp_path)

    yield opened
    for context in contexts:
        context.close()


def test_the_keyboard_alone(window: Callable[..., Chromium], fresh: AppServer) -> None:
    driver = window(viewport=VIEW)
    hand = Keyboard(driver)
    session = Session(hand, fresh.home)
    driver.open(f"{fresh.url}/?token={TOKEN}")
    session.open()
    session.label_by_keys(hand)
    session.mapped()
    session.suggestion(lambda: driver.key("n"), lambda: driver.key("1"), lambda: driver.key("Escape"))
    session.check(lambda: hand.press("button", "Kind 1"))
    # A key of its own is quicker.
    driver.key("2")
    hand.sees("3 of ")
    session.export()
    assert driver.run("() => pointers") == []
    hand.kept()


def test_a_finger_alone(window: Callable[..., Chromium], fresh: AppServer) -> None:
    driver = window(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    hand = Finger(driver)
    session = Session(hand, fresh.home)
    driver.open(f"{fresh.url}/?token={TOKEN}")
    session.open()
    session.label("Name of another class", hand.tap)
    session.mapped()
    # Two fingers bring it nearer, and leave no label.
    before, around = session.stands(), session.part(".tl-map")
    hand.spread(around["x"] + around["width"] / 2, around["y"] + around["height"] / 2, 80)
    assert session.stands(before)["width"] > 1.5 * before["width"]

    def answer() -> None:
        card = session.part(".tl-card")
        assert card["x"] >= 0
        assert card["x"] + card["width"] <= 390
        hand.press("css", ".tl-card .tl-cardchip")

    session.suggestion(
        lambda: hand.press("button", "Where to label next (N)"), answer, lambda: hand.press("button", "Leave")
    )
    hand.press("button", "Undo (Z)")
    session.acked()
    assert driver.run("() => document.documentElement.scrollWidth") == 390
    session.check(lambda: hand.press("button", "Kind 1"))
    session.export()
    met = set(driver.run("() => pointers"))
    assert "pointerdown touch" in met
    assert {kind for kind in met if kind.endswith("mouse") or kind.startswith("wheel")} == set()
