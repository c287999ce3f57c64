"""Every page on the screens that people have: nothing is cut or covered, and nothing keeps anybody out."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tessera_core.project.project import Project
from tests.browser.sights import AXE, FAULTS, PAGES, SCREENS, SIGHTS, at_zoom, barriers, demo_project, look, settled
from tests.servers import TOKEN, AppServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(3000)]

BY_NAME = {sight.name: sight for sight in SIGHTS}
# What is looked at each time: the page on which people are longest, and one of forms and tables.
QUICK = ("label-asked", "export")


@pytest.fixture(scope="module")
def project(server: AppServer) -> Iterator[Project]:
    """Labelled, of two years, with a photograph."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TESSERA_HOME", str(server.home))
        patch.delenv("TESSERA_DEMO_SIZE", raising=False)
        yield demo_project(server.home)


@pytest.fixture(scope="session")
def axe(root: Path) -> None:
    """axe-core is there, or a skip that says why not."""
    if not AXE.exists():
        spec = importlib.util.spec_from_file_location("javascript", root / "tools" / "javascript.py")
        assert spec is not None
        assert spec.loader is not None
        tools = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tools)
        if why := tools.without_tools():
            pytest.skip(f"axe-core is not installed: {why}")


@pytest.fixture
def window(chromium: Any, server: AppServer) -> Iterator[Callable[..., Any]]:
    """Opens a window of a screen and a theme."""
    contexts = []

    def opened(screen: str, theme: str) -> Any:
        contexts.append(context := chromium.new_context(**at_zoom(screen), color_scheme=theme, bypass_csp=True))
        context.request.get(f"{server.url}/?token={TOKEN}")
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


def test_the_pages_of_most_work_fit_a_projector_and_a_phone_and_keep_nobody_out(
    window: Callable[..., Any], server: AppServer, project: Project, axe: None
) -> None:
    page = window("1024x768", "light")
    for name in QUICK:
        look(page, server.url, BY_NAME[name], project)
        assert page.evaluate(FAULTS) == [], name
        assert barriers(page) == [], name
        page.set_viewport_size({"width": 390, "height": 844})
        settled(page)
        assert page.evaluate(FAULTS) == [], name
        page.set_viewport_size({"width": 1024, "height": 768})


@pytest.mark.soak
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_cut_or_covered_on_any_screen(
    screen: str, theme: str, window: Callable[..., Any], server: AppServer, project: Project
) -> None:
    page = window(screen, theme)
    found = {}
    for sight in SIGHTS:
        look(page, server.url, sight, project)
        if faults := page.evaluate(FAULTS):
            found[sight.name] = faults
    assert found == {}


@pytest.mark.soak
@pytest.mark.parametrize(("screen", "theme"), [("1440x900", "light"), ("1440x900", "dark"), ("390x844", "light")])
def test_nothing_keeps_anybody_out(
    screen: str, theme: str, window: Callable[..., Any], server: AppServer, project: Project, axe: None
) -> None:
    page = window(screen, theme)
    found = {}
    for sight in SIGHTS:
        look(page, server.url, sight, project)
        if stopped := barriers(page):
            found[sight.name] = stopped
    assert found == {}


def test_every_page_is_a_sight() -> None:
    assert set(PAGES) <= set(BY_NAME)
    pages = {sight.path.partition("?")[0].strip("/") or "region" for sight in SIGHTS}
    assert pages == {path.stem for path in (Path(__file__).parents[2] / "pages").glob("*.py")}
