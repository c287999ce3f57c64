"""What there is to see of the app: every page in its states, the screens people have, and what is wrong with a screen.

The tests of layout and of accessibility look at these, and ``tools/shots.py`` makes pictures of them.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tessera_core.project import library
from tessera_core.project.home import projects_home
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster

# A server that has just started loads its libraries first, which takes long on a busy machine.
PATIENCE = 240_000
# Width, height and zoom: laptops, a projector, 150 and 200 %, a phone both ways, a large screen.
SCREENS: dict[str, tuple[int, int, float]] = {
    "1440x900": (1440, 900, 1),
    "1024x768": (1024, 768, 1),
    "1280x720": (1280, 720, 1),
    "1440x900-at-150": (960, 600, 1.5),
    "1440x900-at-200": (720, 450, 2),
    "844x390": (844, 390, 1),
    "390x844": (390, 844, 1),
    "2560x1440": (2560, 1440, 1),
}
PHONES = ("844x390", "390x844")
NAMES = ("Broadleaf wood", "Grassland and hay meadows", "Winter wheat", "Town")
EACH = 6
PLOTS = 60


@dataclass(frozen=True)
class Sight:
    """A page in a state.

    Attributes:
        name: short.
        path: of the page; ``{project}`` stands for the project's folder.
        prepare: what a person does there first.
    """

    name: str
    path: str
    prepare: Callable[[Any], None]


def demo_project(home: Path) -> Project:
    """A labelled project of two years of the demo region: the one that comes with the program, and a neighbour of it as another.

    ``TESSERA_HOME`` must be ``home``, and the region's size the one that comes with the program.
    """
    import rasterio

    region = library.take_demo()
    assert region is not None, "no year of the demo region comes with this checkout"
    project = library.start_demo(region, fresh=True)
    (year, path), *_ = region.ready.items()
    raster = EmbeddingRaster.open(path)
    codes, scales = (np.roll(part, 9, axis=0) for part in (raster.codes, raster.scales))
    other = EmbeddingRaster(codes, scales, raster.grid, replace(raster.provenance, year=year + 1))
    saved = other.save(home / "rasters" / "other")
    project.attach_embeddings(year + 1, saved, other.provenance, other.grid)
    project.update(year=year)
    with rasterio.open(region.truth[year]) as file:
        truth = file.read(1)
    common = np.argsort(np.bincount(truth[truth > 0].ravel()))[::-1][: len(NAMES)]
    rng = np.random.default_rng(0)
    for kind, name in zip(common.tolist(), NAMES, strict=True):
        class_id = project.log.add_class(name).id
        rows, cols = np.nonzero(truth == kind)
        for at in rng.choice(len(rows), EACH, replace=False):
            x, y = project.grid.pixel_to_xy(rows[at] + 0.5, cols[at] + 0.5)  # type: ignore[union-attr]
            project.log.add("point", class_id, [(float(x), float(y))])
    return project


_STILL = """() => {
  const app = document.querySelector("[data-testid=stApp]");
  const still = app?.dataset.testScriptState === "notRunning" && !document.querySelector("[data-testid=stSkeleton]");
  const page = document.querySelector("[data-testid=stMainBlockContainer]");
  globalThis.stillSince = still && page?.innerText.trim() ? (globalThis.stillSince ?? performance.now()) : undefined;
  return globalThis.stillSince !== undefined && performance.now() - globalThis.stillSince > 500;
}"""


def settled(page: Any) -> None:
    """Wait until no run is under way, and none has been for a moment, so that what is drawn is drawn."""
    page.evaluate("() => { globalThis.stillSince = undefined; }")
    page.wait_for_function(_STILL, timeout=PATIENCE)


def _map(page: Any) -> None:
    page.locator(".tl-root[data-shown]").first.wait_for(timeout=PATIENCE)
    settled(page)


def _region(page: Any) -> None:
    page.get_by_role("button", name=re.compile("(Start|Go on) labelling")).wait_for(timeout=PATIENCE)
    settled(page)


def _label(page: Any) -> None:
    page.locator('.tl-root[data-kind="map"][data-shown]').wait_for(timeout=PATIENCE)
    page.locator(".tl-score[data-version]:not([data-version=''])").wait_for(timeout=PATIENCE, state="attached")
    settled(page)


def _asked(page: Any) -> None:
    _label(page)
    page.locator(".tl-next").click()
    page.locator(".tl-card").wait_for()


def _selected(page: Any) -> None:
    _label(page)
    page.locator(".tl-map").focus()
    page.keyboard.press("v")
    page.keyboard.press("n")
    page.locator(".tl-card").wait_for()


def _seeking(page: Any) -> None:
    _label(page)
    page.locator(".tl-fold summary", has_text="Find similar").click()
    page.get_by_role("button", name="Like this").click()
    page.locator(".tl-map").focus()
    page.keyboard.press("Enter")
    page.get_by_label("How much alike, in percent").wait_for(timeout=PATIENCE)
    page.get_by_role("button", name="Not this").click()


def _editing(page: Any) -> None:
    _label(page)
    page.locator(".tl-more").nth(1).click()
    page.locator(".tl-swipe input").check()


def _quality(page: Any) -> None:
    _label(page)
    page.get_by_text("How good is it?", exact=True).click()
    page.get_by_text("Random split", exact=True).wait_for(timeout=PATIENCE)
    settled(page)


def _mode(name: str, text: str) -> Callable[[Any], None]:
    def prepare(page: Any) -> None:
        _map(page)
        page.get_by_test_id("stButtonGroup").get_by_text(name, exact=True).click()
        page.get_by_text(text).first.wait_for(timeout=PATIENCE)
        settled(page)

    return prepare


def _sheet(project: Project) -> bytes:
    """A table of measured plots: a number that the satellites see."""
    assert project.grid is not None
    raster = EmbeddingRaster.open(next(iter(project.embeddings.values())).path)
    rng = np.random.default_rng(1)
    lines = ["longitude,latitude,canopy height (m)"]
    for row, col in zip(*(rng.choice(side, PLOTS, replace=False) for side in project.grid.shape), strict=True):
        lon, lat = project.grid.pixel_to_lonlat(row + 0.5, col + 0.5)
        seen = float(raster.codes[row, col, 0]) * float(raster.scales[row, col])
        lines.append(f"{float(lon):.6f},{float(lat):.6f},{15 + 5 * seen + rng.normal(0, 0.5):.1f}")
    return "\n".join(lines).encode()


def _plots(page: Any) -> None:
    """Brought by the person: examples are there only once the rest of the demo region was made."""
    settled(page)
    score = page.get_by_text("Typically off by").first
    if not score.count():
        (name,) = urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)["project"]
        sheet = {"name": "plots.csv", "mimeType": "text/csv", "buffer": _sheet(Project.open(projects_home() / name))}
        page.locator("input[type=file]").first.set_input_files(sheet)
    score.wait_for(timeout=PATIENCE)
    settled(page)


def _sample(page: Any) -> None:
    page.get_by_role("button", name="Choose the places by chance", exact=True).or_(
        page.get_by_role("button", name="Cannot tell")
    ).first.wait_for(timeout=PATIENCE)
    settled(page)
    draw = page.get_by_role("button", name="Choose the places by chance", exact=True)
    if draw.count():
        draw.click()
    page.get_by_role("button", name="Cannot tell").first.wait_for(timeout=PATIENCE)
    settled(page)


def _compared(page: Any) -> None:
    page.get_by_test_id("stMetricValue").first.wait_for(timeout=PATIENCE)
    settled(page)


def _lesson(page: Any) -> None:
    """Label with the first lesson open, each time in the same project."""
    settled(page)
    page.locator(".st-key-learn_on_first-map button, .st-key-learn_start_first-map button").first.click()
    page.locator(".lesson-panel").wait_for(timeout=PATIENCE)
    settled(page)
    where = urllib.parse.urlsplit(page.url)
    page.goto(where._replace(path="/label").geturl())
    page.locator(".lesson-panel").wait_for(timeout=PATIENCE)
    page.locator('.tl-root[data-kind="map"][data-shown]').wait_for(timeout=PATIENCE)
    settled(page)


SIGHTS = (
    Sight("welcome", "/", settled),
    Sight("region", "/?project={project}", _region),
    Sight("label", "/label?project={project}", _label),
    Sight("label-asked", "/label?project={project}", _asked),
    Sight("label-selected", "/label?project={project}", _selected),
    Sight("label-seeking", "/label?project={project}", _seeking),
    Sight("label-editing", "/label?project={project}", _editing),
    Sight("label-quality", "/label?project={project}", _quality),
    Sight("explore", "/explore?project={project}", _map),
    Sight("explore-scatter", "/explore?project={project}", _mode("Scatter", "Draw around points")),
    Sight("explore-pixel", "/explore?project={project}", _mode("Pixel", "Click a place on the map")),
    Sight("explore-groups", "/explore?project={project}", _mode("Groups", "How many groups")),
    Sight("continuous", "/continuous?project={project}", settled),
    Sight("continuous-map", "/continuous?project={project}", _plots),
    Sight("validate", "/validate?project={project}", settled),
    Sight("validate-asked", "/validate?project={project}", _sample),
    Sight("compare", "/compare?project={project}", _compared),
    Sight("export", "/export?project={project}", settled),
    Sight("generate", "/generate?project={project}", settled),
    Sight("data", "/data?project={project}", settled),
    Sight("help", "/help?project={project}", settled),
    Sight("server", "/server?project={project}", settled),
    Sight("learn", "/learn?project={project}", settled),
    Sight("classroom", "/classroom?project={project}", settled),
    Sight("label-lesson", "/learn?project={project}", _lesson),
)
# One state a page, for a look that must not take long.
PAGES = (
    "welcome",
    "region",
    "label",
    "explore",
    "continuous",
    "validate",
    "compare",
    "export",
    "generate",
    "data",
    "help",
    "server",
    "learn",
    "classroom",
)


def to_top(page: Any) -> None:
    """Scroll the page to its head: what stays in sight while it is scrolled lies over what passes beneath."""
    page.evaluate("() => document.querySelector('[data-testid=stMain]')?.scrollTo(0, 0)")


def look(page: Any, url: str, sight: Sight, project: Project) -> None:
    """Go to a sight and bring it into its state."""
    page.goto(url + sight.path.format(project=urllib.parse.quote(project.folder.name)))
    page.get_by_test_id("stMainBlockContainer").wait_for(timeout=PATIENCE)
    sight.prepare(page)
    page.mouse.move(3, 3)
    to_top(page)


def at_zoom(screen: str) -> dict[str, Any]:
    """Options of a browser context with that screen; a browser's zoom makes the window smaller and its pixels finer."""
    width, height, zoom = SCREENS[screen]
    touch = {"has_touch": True, "is_mobile": True} if screen in PHONES else {}
    return {"viewport": {"width": width, "height": height}, "device_scale_factor": zoom, **touch}


# A function of the page that tells what is wrong with the screen, in sentences.
FAULTS = (Path(__file__).parent / "faults.js").read_text(encoding="utf-8")


# ------------------------------------------------------------------ axe-core

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
# What keeps people out; "moderate" and "minor" are looked at, but stop nobody, except who goes from heading to heading.
SERIOUS = ("serious", "critical")
HEADINGS = ("heading-order", "page-has-heading-one")


def violations(page: Any) -> list[tuple[str, str, str]]:
    """What axe-core finds on the screen: impact, rule and a sentence for each place."""
    if not page.evaluate("() => 'axe' in window"):
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.map(
             ({ id, impact, help, nodes }) =>
               ({ id, impact, help, nodes: nodes.map((n) => [n.target.flat().join(" "), n.html.slice(0, 160)]) }))"""
    )
    return [
        (one["impact"], one["id"], f"{one['impact']}: {one['id']} ({one['help']}): {where} {html}")
        for one in found
        for where, html in one["nodes"]
    ]


def barriers(page: Any) -> list[str]:
    """What axe-core finds on the screen that keeps people out, in sentences."""
    return [told for impact, rule, told in violations(page) if impact in SERIOUS or rule in HEADINGS]
