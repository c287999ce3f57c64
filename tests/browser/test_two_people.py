"""A whole validation by two people: places by chance, a share for two, blind answers, pictures, settling, the report, offline."""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_core.cli import main
from tessera_core.dpixels.tile import S2_BANDS, write_tile
from tessera_core.project import library, second, validate
from tessera_core.project.pack import make_pack, open_pack
from tessera_core.project.project import Project
from tests.browser.studio import VIEW, Studio
from tests.factories import landscape
from tests.servers import TOKEN, AppServer

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(1500)]
KINDS = 4


@pytest.fixture
def project(server: AppServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Four kinds, labelled, with the satellites' year."""
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    raster = landscape(64)
    raster.save(tmp_path / "fields")
    random = np.random.default_rng(1)
    bands = random.integers(400, 3000, (8, 64, 64, len(S2_BANDS))).astype(np.uint16)
    series = write_tile(
        tmp_path / "series", bands=bands, masks=np.ones((8, 64, 64), np.uint8), doys=np.arange(8) * 45 + 10,
        grid=raster.grid, meta={"year": raster.provenance.year},
    )  # fmt: skip
    made = library.start(library.identify(str(tmp_path / "fields")), "Two people")
    year = raster.provenance.year
    made.attach_embeddings(year, made.embeddings[year].path, raster.provenance, raster.grid, dpixels=series)
    for number, (row, col) in enumerate(((10, 10), (10, 50), (50, 10), (50, 50))):
        x, y = made.grid.pixel_to_xy(row, col)
        made.log.add("point", made.log.add_class(f"Kind {number}").id, [(float(x), float(y))])
    return made


@pytest.fixture
def people(chromium: Any, server: AppServer) -> Iterator[list[Studio]]:
    """Two browsers that share nothing: one on a desk, one a phone."""
    contexts = [
        chromium.new_context(viewport=view, accept_downloads=True) for view in (VIEW, {"width": 390, "height": 844})
    ]
    studios = []
    for context in contexts:
        context.request.get(f"{server.url}/?token={TOKEN}")
        studios.append(Studio(context.new_page(), server.url))
    yield studios
    for studio, context in zip(studios, contexts, strict=True):
        studio.close()
        context.close()


def shot(studio: Studio, name: str) -> None:
    if folder := os.environ.get("I_SHOTS"):
        view = studio.page.viewport_size
        studio.page.set_viewport_size({"width": view["width"], "height": 2600})
        studio.still()
        studio.page.screenshot(path=f"{folder}/{name}.png")
        studio.page.set_viewport_size(view)


def place_of(studio: Studio) -> int:
    """Which place is asked, from 0."""
    return int(headline(studio).locator("strong").inner_text().removeprefix("Place ").strip()) - 1


def headline(studio: Studio) -> Any:
    """The line that names the place, and one's answer where there is one."""
    return studio.page.locator("p").filter(has=studio.page.locator("strong", has_text="Place")).first


def kind_at(known: validate.Validation, place: int) -> int:
    """What is there: the quarters of the landscape, 1 to 4."""
    rows, cols = known.sample.rows[place] // 32, known.sample.cols[place] // 32
    return int(2 * rows + cols) + 1


def test_two_people_check_a_map_and_their_report_says_so(
    people: list[Studio], project: Project, server: AppServer, tmp_path: Path
) -> None:
    ann, bo = people
    year = project.years[0]
    address = f"/validate?project={urllib.parse.quote(project.folder.name)}"
    ann.open(address)
    ann.sees("Which places?")
    shot(ann, "01-design")
    for name in ("How exact should the accuracy be?", "How much of the map do you expect to be right?"):
        ann.page.get_by_role("slider", name=name).focus()
        ann.page.keyboard.press("End")
    ann.page.get_by_role("slider", name="Places in every class, at least").focus()
    for press in ("Home", "ArrowRight", "ArrowRight", "ArrowRight"):
        ann.page.keyboard.press(press)
    ann.button("Choose the places by chance").click()
    ann.page.get_by_role("button", name="Cannot tell").wait_for()
    known = saved(project)
    total = len(known.sample)
    assert total < 40
    ann.page.get_by_text("Two people, one place").click()
    ann.page.get_by_role("button", name=" places answered by two").click()
    ann.sees("places are meant for two.")
    doubled = ann.until(lambda: saved(project).doubled, "no place is meant for two")
    ann.sees("Give your name below")
    shot(ann, "02-meant-for-two")
    named(ann, "Ann")
    ann.sees(f"{total} places wait for Ann.")
    for answered in range(total):
        place = place_of(ann)
        ann.page.keyboard.press(str(kind_at(known, place)))
        ann.until(lambda n=answered: saved(project).seen == n + 1, f"answer {answered} is not kept")
        ann.until(lambda p=place: place_of(ann) != p or saved(project).seen == total, "the next place does not come")
    ann.sees("No place waits for Ann.")
    shot(ann, "03-ann-is-done")

    bo.open(address)
    bo.sees("Give your name below")
    shot(bo, "04-bo-begins")
    named(bo, "Bo")
    bo.sees(f"{len(doubled)} places wait for Bo.")
    wrong = min(doubled)
    for answered in range(len(doubled)):
        # What Ann said is not shown.
        bo.until(lambda: "Kind" not in headline(bo).inner_text(), "an answer is shown")
        place = place_of(bo)
        assert place in doubled
        shot(bo, f"05-bo-{answered}") if answered < 1 else None
        right = kind_at(known, place)
        bo.page.keyboard.press(str(right % KINDS + 1 if place == wrong else right))
        bo.until(lambda n=answered: len(saved(project).opinions) == n + 1, "Bo's answer is not kept")
        last = answered + 1 == len(doubled)
        bo.until(lambda p=place, over=last: over or place_of(bo) != p, "the next place does not come")
    bo.sees("No place waits for Bo.")
    assert second.differing(saved(project)) == [wrong]
    shot(bo, "06-bo-is-done")

    ann.open(address)
    ann.sees(f"Two people or more answered {len(doubled)} places; at {len(doubled) - 1} they said the same.")
    ann.sees(f"Not settled: {wrong + 1}.")
    shot(ann, "07-to-settle")
    ann.sees("Give your name above")
    named(ann, "Ann")
    ann.page.get_by_role("button", name="Look at it").click()
    ann.until(lambda: place_of(ann) == wrong, "the place is not shown")
    ann.choose(f"Place {wrong + 1} is", f"Kind {kind_at(known, wrong) - 1}")
    ann.until(lambda: not second.differing(saved(project)), "nothing is settled")
    assert saved(project).final[wrong].response.interpreter == "Ann"
    ann.sees("With people's errors in it")
    shot(ann, "08-settled")
    ann.button("Keep the pictures of all places").click()
    ann.sees(f"Pictures of {total} places are kept")

    ann.open(f"/export?project={urllib.parse.quote(project.folder.name)}")
    report = ann.download("Report (.pdf)", Path(os.environ.get("I_SHOTS", tmp_path)))
    assert main(["verify", str(report), str(project.folder)]) == 0
    (copy,) = open_pack(make_pack([project], tmp_path / "class"))
    page = bo.page
    page.route(lambda url: not url.startswith(bo.url), lambda route: route.abort())
    bo.open(f"/validate?project={urllib.parse.quote(copy.folder.name)}")
    page.get_by_text("Two people, one place").click()
    bo.sees(f"Two people or more answered {len(doubled)} places")
    pictures = page.get_by_test_id("stImageContainer").locator("img")
    drawn = "all => all.length > 5 && all.every(i => i.complete && i.naturalWidth > 50)"
    bo.until(lambda: pictures.evaluate_all(drawn), "no pictures of the place")
    shot(bo, "10-offline")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert json.loads(
        (copy.folder / "places" / str(year) / f"{known.sample.rows[0]}-{known.sample.cols[0]}.json").read_text()
    )


def saved(project: Project) -> validate.Validation:
    """What is on the disk now."""
    found = validate.load(project, project.years[0])
    assert found is not None
    return found


def named(studio: Studio, name: str) -> None:
    """Say who one is."""
    box = studio.page.get_by_role("textbox", name="Your name")
    box.fill(name)
    box.press("Enter")
    box.evaluate("one => one.blur()")
