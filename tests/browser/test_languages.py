"""What people read is in their language: chosen in the header, kept, complete, and nothing of it is cut off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tessera_core.language import LANGUAGES, PSEUDO, RIGHT_TO_LEFT
from tessera_core.project.project import Project
from tests.browser.sights import FAULTS, PAGES, PATIENCE, SIGHTS, at_zoom, demo_project, settled
from tests.servers import TOKEN, AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(3000)]

BY_NAME = {sight.name: sight for sight in SIGHTS}
QUICK = ("region", "export")
# Names that are the same in every language, what people typed, and Streamlit's own words.
_NAMES = (
    r"\d{4} · .*|Demo region|Tessera Studio( nano)?|Broadleaf wood|Grassland and hay meadows|Winter wheat|Town|TESSERA.*|AlphaEarth"
    r"|QGIS|GeoTIFF|GeoJSON|GeoPackage|KML|CSV|PCA|UMAP|NDVI|KNN|ONNX|English|Deutsch|Español|Français|Português|qps"
    r"|Collect Earth Online.*|Planetary Computer|AWS"
)
SHOTS = os.environ.get("TESSERA_SHOTS")
_PLAIN = (Path(__file__).parent / "plain.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(server: AppServer) -> Iterator[Project]:
    """Labelled, of two years, with a photograph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESSERA_HOME", str(server.home))
        patch.delenv("TESSERA_DEMO_SIZE", raising=False)
        yield demo_project(server.home)


@pytest.fixture
def window(chromium: Any, server: AppServer) -> Iterator[Callable[..., Any]]:
    """Opens a window of a screen, for a browser of a language."""
    contexts = []

    def opened(screen: str = "1440x900", locale: str = "en-GB") -> Any:
        contexts.append(context := chromium.new_context(**at_zoom(screen), locale=locale))
        context.request.get(f"{server.url}/?token={TOKEN}")
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        return page

    yield opened
    for context in contexts:
        context.close()


def _open(page: Any, server: AppServer, name: str, project: Project, language: str) -> None:
    path = BY_NAME[name].path.format(project=project.folder.name)
    page.goto(f"{server.url}{path}{'&' if '?' in path else '?'}lang={language}")
    settled(page)


def test_a_browser_is_spoken_to_in_its_language_and_a_choice_is_kept(
    window: Callable[..., Any], server: AppServer
) -> None:
    page = window(locale="fr-FR")
    page.goto(server.url)
    settled(page)
    expect(page.locator("html")).to_have_attribute("lang", "fr", timeout=PATIENCE)
    page.get_by_role("button", name="Français").click()
    page.get_by_role("link", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de", timeout=PATIENCE)
    settled(page)
    page.goto(f"{server.url}/data")
    settled(page)
    expect(page.get_by_role("heading", name="Daten", exact=True)).to_be_visible()
    # Streamlit's own widgets, too.
    expect(page.get_by_test_id("stFileUploaderDropzone").get_by_role("button", name="Hochladen").first).to_be_visible()
    expect(page.get_by_test_id("stFileUploaderDropzoneInstructions").first).to_contain_text("pro Datei")
    expect(page.locator("html")).to_have_attribute("lang", "de", timeout=PATIENCE)


@pytest.mark.parametrize("name", [
    # What a lesson says is in its own files.
    name if name in QUICK else pytest.param(name, marks=pytest.mark.soak) for name in PAGES if name != "learn"
])  # fmt: skip
def test_every_sentence_of_a_page_is_in_the_catalogues(
    name: str, window: Callable[..., Any], server: AppServer, project: Project
) -> None:
    page = window()
    _open(page, server, name, project, PSEUDO)
    page.get_by_text("⟦").first.wait_for()
    assert page.evaluate(_PLAIN, _NAMES) == []


@pytest.mark.soak
@pytest.mark.parametrize("screen", ["1440x900", "390x844"])
@pytest.mark.parametrize("language", [*LANGUAGES, RIGHT_TO_LEFT])
def test_nothing_is_cut_or_covered_in_any_language(
    language: str, screen: str, window: Callable[..., Any], server: AppServer, project: Project
) -> None:
    page = window(screen)
    found = {}
    for name in PAGES:
        _open(page, server, name, project, language)
        if faults := page.evaluate(FAULTS):
            found[name] = faults
        if language == RIGHT_TO_LEFT and name == "welcome":
            expect(page.locator("h1").first).to_have_css("text-align", "right")
        if SHOTS is not None:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(SHOTS) / f"{language}-{screen}-{name}.png", full_page=True)
    assert found == {}
