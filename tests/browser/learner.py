"""A scripted learner: does what a step of a lesson says, and nothing else.

What is to be pressed, typed or clicked has to be named in bold in the step's own text; the learner sees where water or wood is
by the truth of the demo region, as a person does by the picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera_core.grid import Grid
from tessera_core.language import t, using
from tessera_core.language.catalogue import catalogue
from tessera_core.lessons import library
from tessera_core.lessons.model import Lesson
from tessera_core.lessons.truth import Truth
from tests.browser.studio import Studio, clicked
from tests.servers import DEMO_SIZE, AppServer

# Whether a click there meets the map itself, and no button or letter on it.
FREE = """([x, y]) => {
    let at = document.elementFromPoint(x, y);
    while (at?.shadowRoot?.elementFromPoint(x, y)) at = at.shadowRoot.elementFromPoint(x, y);
    return Boolean(at?.closest(".tl-box")) && !at.closest("button, a, .tl-control, .tl-group, .tl-plate");
}"""


@dataclass(frozen=True)
class Do:
    """Something to do: ``open`` a page, ``switch`` a layer, ``add`` a class, ``click`` places, ``press`` a button,
    ``pick`` one of a row, ``toggle`` a switch, ``slide`` a slider, ``point`` at what is ringed or ``draw`` around it, ``answer``
    places of a sample, ``keys``.

    Attributes:
        what: one of these.
        name: of the page, layer, class or button, as it stands on the screen.
        n: how many places, or how often a key.
    """

    what: str
    name: str = ""
    n: int = 1


def truth_in(server: AppServer, lesson: Lesson) -> Truth:
    """The truth of the demo region of the running app, in the names of a lesson."""
    import rasterio

    from tessera_core.project.demo import DEMO_CLASSES

    path = max((server.home / "cache" / "demo").glob(f"{DEMO_SIZE}-*/truth/*.tif"))
    with rasterio.open(path) as file:
        ids: NDArray[np.uint8] = file.read(1)
        grid = Grid(file.crs.to_string(), file.transform, file.shape)
    table = np.zeros(256, np.uint8)
    for position, kinds in enumerate(lesson.legend.values(), 1):
        table[[one.id for one in DEMO_CLASSES if one.name in kinds]] = position
    return Truth(tuple(lesson.legend), table[ids], grid)


class Learner:
    """Somebody who goes through a lesson in a browser.

    Args:
        studio: the page.
        server: that it is of.
        lesson: id of the lesson.
        touch: whether fingers are used.
        shots: folder for a picture of each step, or None.
        language: that the learner reads.
        taste: which of the places of a class are chosen; None for those furthest inside.
    """

    def __init__(
        self,
        studio: Studio,
        server: AppServer,
        lesson: str,
        touch: bool = False,
        shots: Path | None = None,
        language: str = "en",
        taste: int | None = None,
    ) -> None:
        self.language = language
        self.studio, self.page, self.server, self.touch, self.shots = studio, studio.page, server, touch, shots
        found = library.find(lesson)
        assert found is not None
        self.lesson = found
        self.words = found.words(language)
        self.names = {text: name for name, text in self.words.names.items()}
        self.truth: Truth | None = None
        self.clicked: list[tuple[int, int]] = []
        self.taste = taste
        self.panel = self.page.locator(".lesson-panel")
        self.bar = self.page.locator(".lesson-bar")
        self.next = self.panel.locator(".lesson-foot .tl-primary:not(.lesson-follow)")

    def begin(self) -> None:
        """Open the page Learn and start."""
        self.studio.open(f"/learn?lang={self.language}")
        self.page.locator(f".st-key-learn_start_{self.lesson.id} button").click()
        self.panel.wait_for()

    # ------------------------------------------------------------------ looking

    def unfold(self) -> None:
        """Show the panel where it is folded."""

        # It may unfold by itself, just when it is pressed.
        def unfolded() -> bool:
            if self.bar.get_attribute("aria-expanded") == "false":
                clicked(self.bar)
            return bool(self.bar.get_attribute("aria-expanded") == "true")

        self.studio.until(unfolded, "the panel does not unfold")
        self.panel.locator(".lesson-body").wait_for()

    @property
    def step(self) -> str:
        """Id of the step that is shown, by its title."""
        title = self.panel.locator("h2").text_content()
        return next(step for step, texts in self.words.steps.items() if texts.title == title)

    @property
    def ready(self) -> bool:
        """Whether the step is done."""
        return bool(self.next.get_attribute("aria-disabled") == "false")

    def told(self) -> list[str]:
        """What stands in bold in the step."""
        found: list[str] = self.panel.locator(".lesson-text strong").all_text_contents()
        return found

    def told_to(self, act: Do, bold: list[str]) -> None:
        """The step has to name what is done: what is opened, switched, typed or pressed in bold."""
        text = str(self.panel.locator(".lesson-text").text_content()).casefold()
        if act.what in ("keys", "answer", "click", "point", "draw", "slide") and self.language != "en":
            return
        if act.what in ("keys", "answer"):
            assert "number" in text, text
        elif act.what in ("click", "point"):
            assert "click" in text, text
        elif act.what == "draw":
            assert "draw" in text, text
        elif act.what == "slide":
            assert f"slider {act.name}".casefold() in text, text
        else:
            assert self.name(act) in bold, f"{self.name(act)!r} is not in bold: {text}"

    def name(self, act: Do) -> str:
        """What it is called in the learner's language: a class of the lesson, or a word of the studio."""
        english = {text: name for name, text in self.lesson.words("en").names.items()}
        return self.words.names[english[act.name]] if act.name in english else self.say_it(act.name)

    def say_it(self, english: str) -> str:
        """A word of the studio in the learner's language."""
        with using(self.language):
            said = t(english)
            if said == english and self.language != "en":
                # What goes on behind it, a number for example, is not in bold.
                longer = (one for one in catalogue(self.language).messages() if one.startswith(f"{english}:"))
                said = t(next(longer, english)).partition(":")[0].strip()
            return said

    # ------------------------------------------------------------------ doing

    def go(self, script: dict[str, list[Do]]) -> list[str]:
        """The whole lesson; returns the steps that were gone through."""
        done = []
        while True:
            done.append(self.do_step(script, len(done) + 1))
            if self.next.is_hidden():
                return done
            self.go_on()

    def do_step(self, script: dict[str, list[Do]], number: int) -> str:
        """What the step that is shown asks for, until it is done; returns its id. ``number`` names its picture."""
        step = self.step
        told = self.told()
        for act in script.get(step, []):
            self.told_to(act, told)
            self.do(act)
        self.unfold()
        if self.words.steps[step].question:
            self.answer(step)
        if script.get(step, [])[-1:] and script[step][-1].what == "keys" and not self.soon():
            # Whoever sees that nothing was ticked asks for places again, as the step says.
            for act in script[step]:
                self.do(act)
        self.studio.until(lambda: self.ready or self.next.is_hidden(), lambda: f"it is never done: {self.said()}")
        if self.shots is not None:
            self.studio.still()
            self.page.screenshot(path=self.shots / f"{number:02d}-{step}.png")
        return step

    def go_on(self) -> None:
        """Press Next, and wait for the next step."""
        left = self.step
        self.next.click()
        self.studio.until(lambda: self.step != left, f"{left} is not left")

    def soon(self) -> bool:
        """Whether the step is done within as long as a person would wait before trying again."""
        for _ in range(100):
            if self.ready or self.next.is_hidden():
                return True
            self.page.wait_for_timeout(200)
        return False

    def said(self) -> str:
        """All that the panel says, for the message of a test that fails."""
        return str(self.panel.inner_text())

    def answer(self, step: str) -> None:
        """Choose until it is right; the first choice where none is."""
        choices = self.panel.locator(".lesson-choice")
        for number in range(choices.count()):
            choice = choices.nth(number)
            choice.click()
            self.studio.until(lambda one=choice: one.get_attribute("aria-pressed") == "true", f"{step}: no answer")
            question = next(one.question for one in self.lesson.steps if one.id == step)
            if question is None or question.right is None or number == question.right:
                return

    def do(self, act: Do) -> None:
        """One thing."""
        name = self.name(act)
        match act.what:
            case "open":
                self.panel.get_by_role("link", name=f"{self.say_it('Open the page')} {name}").click()
                self.page.locator(f"[data-testid=stTopNavLink]:has-text('{name}'), h1").first.wait_for(state="attached")
            case "switch":
                self.ringed(name).locator("input[type=checkbox]").click()
                self.put_away()
                self.page.get_by_label(name, exact=True).first.click()
            case "add":
                self.put_away()
                field = self.page.locator("[data-tour='label.new-class'] input:visible").first
                field.fill(name)
                field.press("Enter")
                self.page.locator(".tl-pick, .tl-stripchip").filter(has_text=name).locator(
                    "visible=true"
                ).first.wait_for()
            case "click":
                self.put_away()
                if not self.clicked:
                    self.studio.wait_for_map()
                self.choose(name)
                for _ in range(act.n):
                    self.click(name)
            case "press":
                self.put_away()
                self.page.get_by_role("button", name=name).first.click()
            case "pick":
                self.put_away()
                choice = self.page.get_by_role("radio", name=name).or_(self.page.get_by_role("button", name=name))
                self.studio.until(lambda: clicked(choice.first), f"{name} cannot be picked")
            case "point" | "draw":
                self.put_away()
                self.point(act.what == "draw")
            case "slide":
                self.put_away()
                handle = self.page.get_by_role("slider").locator("visible=true").first
                handle.focus()
                handle.press("ArrowLeft")
            case "toggle":
                self.put_away()
                self.page.get_by_text(name).first.click()
            case "answer":
                self.put_away()
                for number in range(1, act.n + 1):
                    # Once enough are answered, the panel comes back and takes the keys.
                    self.put_away()
                    self.page.get_by_role("button", name=self.say_it("Cannot tell")).wait_for()
                    self.studio.still()
                    self.page.keyboard.press(name)
                    self.page.get_by_text(f"{number} {self.of()} ", exact=False).first.wait_for()
            case "keys":
                for _ in range(act.n):
                    self.say(name)

    def say(self, key: str) -> None:
        """Answer what the map asks: by the key of a class, with a finger by the first of its names below the question."""
        card = self.page.locator(".tl-card")
        chip, more = (
            card.locator(".tl-cardchip").first,
            card.get_by_role("button", name=self.numbered("Next {more} places")),
        )

        def asked() -> bool:
            # When all its places are done, the map looks for others.
            if more.is_visible():
                clicked(more)
            return bool(chip.is_visible())

        self.studio.until(asked, lambda: f"nothing is asked: {card.all_inner_texts()}")
        before = self.labels()
        if self.touch:
            self.studio.until(lambda: clicked(chip), "the answer cannot be pressed")
        else:
            self.page.keyboard.press(key)
        self.studio.until(lambda: self.labels() > before, lambda: f"no label was made: {card.all_inner_texts()}")

    def numbered(self, english: str) -> re.Pattern[str]:
        """A button with a number in its name."""
        return re.compile(re.sub(r"\\\{\w+\\\}", r"\\d+", re.escape(self.say_it(english))))

    def of(self) -> str:
        """The word between two numbers."""
        return {"en": "of", "de": "von", "es": "de", "fr": "sur", "pt": "de"}[self.language]

    def labels(self) -> int:
        """Labels of all classes, as the list says."""
        return sum(int(text or 0) for text in self.page.locator(".tl-row .tl-count").all_text_contents())

    def point(self, drag: bool) -> None:
        """Click the middle of what is ringed, or draw around it."""
        ring = self.page.locator(".lesson-ring")
        ring.wait_for()
        self.studio.still()
        box = ring.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        if drag:
            reach = min(box["width"], box["height"]) / 4
            self.page.mouse.move(x - reach, y - reach)
            self.page.mouse.down()
            for way in ((1, -1), (1, 1), (-1, 1), (-1, -1)):
                self.page.mouse.move(x + way[0] * reach, y + way[1] * reach, steps=5)
            self.page.mouse.up()
        elif self.touch:
            self.page.touchscreen.tap(x, y)
        else:
            self.page.mouse.click(x, y)

    def put_away(self) -> None:
        """On a phone the page comes first while something is done on it."""

        # It comes back with what it has to say, perhaps just now.
        def folded() -> bool:
            if self.bar.get_attribute("aria-expanded") == "true":
                clicked(self.bar)
            return bool(self.bar.get_attribute("aria-expanded") == "false")

        if self.touch:
            self.studio.until(folded, "the panel does not fold")

    def ringed(self, name: str) -> Any:
        """The row of that name, once the ring is around it."""
        ring = self.page.locator(".lesson-ring")
        row = self.page.locator(".tl-layer, [data-layer]").filter(has_text=name).first

        def around() -> bool:
            a, b = ring.bounding_box(), row.bounding_box()
            return bool(a and b and a["y"] <= b["y"] + 1 and a["y"] + a["height"] >= b["y"] + b["height"] - 1)

        self.studio.until(around, f"the ring is not around {name}")
        return row

    def choose(self, name: str) -> None:
        """The class to label with."""
        chip = self.page.locator(".tl-pick, .tl-stripchip").filter(has_text=name).locator("visible=true").first
        self.studio.until(lambda: clicked(chip), f"{name} cannot be chosen")

    def click(self, name: str) -> None:
        """A place of a class, well inside and far from the others."""
        truth = self.truth = self.truth or truth_in(self.server, self.lesson)
        depth = truth.depth(self.names[name])
        if self.taste is not None:
            depth = depth * np.random.default_rng(self.taste).uniform(0.6, 1, depth.shape)
        rows, cols = np.ogrid[: depth.shape[0], : depth.shape[1]]
        # Under the tools at the sides of the map nothing is seen.
        side = depth.shape[1] // 8
        depth[:, :side] = depth[:, -side:] = 0
        for row, col in self.clicked:
            depth[(rows - row) ** 2 + (cols - col) ** 2 < 25] = 0
        while True:
            row, col = (int(v) for v in np.unravel_index(int(depth.argmax()), depth.shape))
            assert depth[row, col] > 0, f"no further place of {name}"
            x, y = self.studio.on_screen(truth.grid, np.array([row]), np.array([col]))
            # A browser takes a finger beside a button for one on it.
            around = ((0, 0), (16, 0), (-16, 0), (0, 16), (0, -16)) if self.touch else ((0, 0),)
            if all(self.page.evaluate(FREE, [float(x[0]) + dx, float(y[0]) + dy]) for dx, dy in around):
                break
            depth[(rows - row) ** 2 + (cols - col) ** 2 < 9] = 0
        self.clicked.append((row, col))
        before = self.count(name)
        if self.touch:
            self.page.touchscreen.tap(float(x[0]), float(y[0]))
        else:
            self.page.mouse.click(float(x[0]), float(y[0]))
        self.studio.until(lambda: self.count(name) > before, f"a click on {name} made no label")

    def count(self, name: str) -> int:
        """Labels of a class, as the list says."""
        row = self.page.locator(".tl-row").filter(has_text=name).locator(".tl-count")
        return int(row.first.text_content() or 0) if row.count() else 0
