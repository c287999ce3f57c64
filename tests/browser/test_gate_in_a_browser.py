"""The gate as a real browser meets it: the token, its cookie, and a server that is full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio import PATIENCE_MS, clicked, until
from tests.servers import TOKEN, AppServer

pytestmark = pytest.mark.browser


def test_only_the_browser_that_was_given_the_address_gets_in(chromium: Any, server: AppServer) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(server.url)
    page.get_by_text("Open the address that was printed").wait_for()
    page.goto(f"{server.url}/data?token={TOKEN}")
    page.get_by_text("Loaded embeddings").wait_for()
    assert page.url == f"{server.url}/data"
    page.reload()
    page.get_by_text("Loaded embeddings").wait_for()
    assert page.evaluate("document.cookie").count("tessera_") == 0
    stranger = chromium.new_context().new_page()
    stranger.goto(f"{server.url}/data")
    stranger.get_by_text("Open the address that was printed").wait_for()
    stranger.context.close()
    context.close()


# What the server says and when it lets somebody in, tests/app/test_gate.py proves over the wire on every run.
@pytest.mark.soak
def test_a_full_server_is_told_and_let_in_later(chromium: Any, root: Path, tmp_path: Path) -> None:
    server = AppServer(root, tmp_path / "home", {"TESSERA_MAX_PEOPLE": "1"}, streamlit=[])
    server.home.mkdir()
    server.start()
    try:
        first, second = chromium.new_context(), chromium.new_context()
        here, waiting = first.new_page(), second.new_page()
        for page in (here, waiting):
            page.set_default_timeout(PATIENCE_MS)
        here.goto(server.url)
        here.get_by_text("Try the demo region").wait_for()
        waiting.goto(f"{server.url}/explore")
        waiting.get_by_text("This server is full (1 person). Try again in a few minutes.").wait_for()
        # Other pages would say the same, so there is no way to them.
        waiting.get_by_test_id("stTopNavLink").first.wait_for(state="hidden")
        # The same person has room for another tab.
        another = first.new_page()
        another.goto(server.url)
        another.get_by_text("Try the demo region").wait_for()
        first.close()
        again, inside = waiting.get_by_role("button", name="Try again"), waiting.get_by_text("Choose a region").first

        def let_in() -> bool:
            # The server hears a little later that somebody has gone.
            again.or_(inside).first.wait_for()
            return inside.is_visible() or (clicked(again) and False)

        until(waiting, let_in)
        waiting.get_by_test_id("stTopNavLink").first.wait_for()
        second.close()
    finally:
        server.stop()
