"""Leaving a page ends what it waits for: each job of the pages Explore and Compare, in a real browser.

The server is the usual one with the jobs' own code; only the answer to "was I cancelled?" is held back for the job under test
until it was, so that a job of milliseconds lasts until its page is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_core.labels.model import Label, LabelClass
from tessera_core.project.project import Project
from tests.analysis.two_years import two_years
from tests.browser.studio import Studio
from tests.servers import AppServer
from tests.waiting import PATIENCE_S, eventually

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZE = 96
HOLDING = """
import os, time
from pathlib import Path
from tessera_core.project import jobs

home = Path(os.environ["TESSERA_HOME"])
run = jobs.Job._run

def held(job, work):
    def holding(progress, cancelled):
        def asked():
            wanted = home / "hold"
            deadline = time.monotonic() + 100
            while wanted.exists() and wanted.read_text() in job.title and time.monotonic() < deadline and not cancelled():
                time.sleep(0.05)
            return cancelled()
        return work(progress, asked)
    run(job, holding)
    with open(home / "ended", "a") as file:
        file.write(f"{job.title}: {job.state}\\n")

jobs.Job._run = held
"""


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """A server whose jobs last until they are cancelled, where a test wants them to."""
    home = tmp_path_factory.mktemp("leaving") / "home"
    patches = home.parent / "patches"
    home.mkdir()
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(HOLDING, encoding="utf-8")
    server = AppServer(root, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{patches}:{root}")
        server.start()
    _make_project(home)
    yield server
    server.stop()


def _make_project(home: Path) -> None:
    made = two_years(0, share=0.25, size=SIZE)
    project = Project.create(home / "projects" / "fields", "Fields")
    for raster in (made.first, made.second):
        path = raster.save(home / "rasters" / str(raster.provenance.year))
        project.attach_embeddings(raster.provenance.year, path, raster.provenance, raster.grid)
    classes = [LabelClass(k, f"Kind {k}", f"#{40 * k:02x}8080") for k in range(1, 4)]
    places = np.random.default_rng(0).integers(2, SIZE - 2, (40, 2))
    labels = []
    for number, (row, col) in enumerate(places.tolist()):
        x, y = made.first.grid.pixel_to_xy(row + 0.5, col + 0.5)
        labels.append(Label(f"l{number}", int(made.covers[row, col]) % 3 + 1, "point", ((float(x), float(y)),)))
    project.log.import_labels(classes, labels)


def _explore(studio: Studio, mode: str) -> None:
    studio.open("/explore?project=fields")
    studio.page.get_by_role("radio", name=mode).or_(studio.page.get_by_role("button", name=mode)).first.click()


def _umap(studio: Studio) -> None:
    _explore(studio, "Scatter")
    studio.page.get_by_text("UMAP", exact=True).click()
    studio.choose("Pixels", "5,000")
    offer = studio.page.get_by_role("button", name="Lay out 5,000 pixels")
    ready = studio.page.get_by_text("UMAP 1 · UMAP 2")
    offer.or_(ready).first.wait_for()
    if offer.count():
        offer.click()


def _region_colours(studio: Studio) -> None:
    _umap(studio)
    studio.page.get_by_text("UMAP 1 · UMAP 2").wait_for(timeout=1000 * PATIENCE_S)
    studio.page.get_by_label("Layers and comparison").click()
    studio.page.locator("[data-layer=umap] input").first.check()


def _compare(studio: Studio, part: str) -> None:
    studio.open("/compare?project=fields")
    studio.page.get_by_role("radio", name=part).click()


def _join(studio: Studio) -> None:
    _compare(studio, "Join embeddings")
    studio.choose("and", "2023")
    studio.button("Join them").click()


# In this order, because the region is coloured by a layout that is there.
JOBS: dict[str, Callable[[Studio], None]] = {
    "Grouping the pixels": lambda studio: _explore(studio, "Groups"),
    "Laying out the pixels": _umap,
    "Colouring the region": _region_colours,
    "Comparing 2023 with 2024": lambda studio: _compare(studio, "Change"),
    "Mapping 2023 to 2024": lambda studio: _compare(studio, "Class to class"),
    "Joining the embeddings": _join,
}


# One of each way to start a job; the others go by the same function, and are in the long run.
QUICK = {"Comparing 2023 with 2024", "Joining the embeddings"}


@pytest.mark.parametrize("title", [pytest.param(job, marks=() if job in QUICK else pytest.mark.soak) for job in JOBS])
def test_leaving_the_page_ends_its_job(studio: Studio, server: AppServer, title: str) -> None:
    (server.home / "hold").write_text(title, encoding="utf-8")
    JOBS[title](studio)
    bar: Any = studio.page.get_by_text(title).first
    bar.wait_for()
    assert _ended(server, title) == []
    studio.go("Export")
    bar.wait_for(state="detached")
    assert eventually(lambda: _ended(server, title), every=0.1) == ["cancelled"]
    # Nothing half-made is left, and whoever comes back gets it.
    (server.home / "hold").unlink()
    assert [path for path in server.home.rglob("*.part*")] == []
    JOBS[title](studio)
    eventually(lambda: len(_ended(server, title)) == 2, lambda: _ended(server, title), every=0.1)
    assert _ended(server, title) == ["cancelled", "done"]


def _ended(server: AppServer, title: str) -> list[str]:
    """How the jobs of that title have ended so far."""
    log = server.home / "ended"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line.rpartition(": ")[2] for line in lines if line.startswith(title)]
