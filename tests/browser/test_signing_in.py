"""Signing in as a real browser meets it, with a provider of OpenID Connect on this computer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.studio import PATIENCE_MS, until
from tests.servers import AppServer

pytestmark = [pytest.mark.browser, pytest.mark.soak]

SETTINGS = """
[enter]
by = "sign-in"
guests = {guests}
[roles]
owner = ["ada@example.org"]
others = "{others}"
"""


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[AppServer]:
    """A server for many, and a provider that lets anybody be whoever they say."""
    provider = pytest.importorskip("oidc_provider_mock")
    users = [
        provider.User(sub=name, claims={"email": f"{name}@example.org", "email_verified": True})
        for name in ("ada", "bo")
    ]
    with provider.run_server_in_thread(user_claims=users) as running:
        secrets = tmp_path / "secrets.toml"
        # The demo region as shipped, which opens at once.
        environment = {"TESSERA_DEMO_SIZE": None, "TESSERA_HOSTED": "1"}
        server = AppServer(root, tmp_path / "home", environment, streamlit=["--secrets.files", str(secrets)])
        secrets.write_text(
            f"[auth]\nredirect_uri = '{server.url}/oauth2callback'\ncookie_secret = 'of the tests'\nclient_id = 'studio'\n"
            "client_secret = 'secret'\n"
            f"server_metadata_url = 'http://localhost:{running.server_port}/.well-known/openid-configuration'\n"
        )
        server.home.mkdir()
        say(server, guests=True)
        server.start()
        yield server
        server.stop()


def say(server: AppServer, *, guests: bool, others: str = "learner") -> None:
    """Change the settings of the running server."""
    (server.home / "server.toml").write_text(SETTINGS.format(guests=str(guests).lower(), others=others))


def browser(chromium: Any) -> Any:
    """A browser of its own, as on another computer."""
    page = chromium.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(PATIENCE_MS)
    return page


def sign_in(page: Any, name: str) -> None:
    """Press the button, and be somebody at the provider."""
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=f"Authorize as {name}").click()


def test_projects_follow_whoever_signs_in(chromium: Any, server: AppServer) -> None:
    page = browser(chromium)
    page.goto(server.url)
    page.get_by_role("button", name="Open the demo region").click()
    page.get_by_text("Your region").wait_for()
    # As a guest somebody makes a project, and takes it along.
    page.goto(server.url)
    sign_in(page, "ada")
    page.get_by_text("Made in this browser before you signed in").wait_for()
    page.get_by_role("button", name="Take them along").click()
    page.get_by_text("Your projects").wait_for()
    assert page.get_by_text("Made in this browser before").count() == 0
    page.get_by_role("button", name="ada@example.org").wait_for()
    # Ada is the owner.
    page.goto(f"{server.url}/server")
    page.get_by_text("Who is here").wait_for()
    page.get_by_text(re.compile("owner · here for")).first.wait_for()
    # Nobody sends themselves away.
    page.get_by_text("You", exact=True).wait_for()
    until(page, lambda: page.get_by_role("button", name="Send away").count() == 0)

    # On another computer the project is there again; with somebody else it is not, nor is the owner's page.
    elsewhere, other = browser(chromium), browser(chromium)
    for visitor, name in ((elsewhere, "ada"), (other, "bo")):
        visitor.goto(server.url)
        sign_in(visitor, name)
        visitor.get_by_role("button", name=f"{name}@example.org").wait_for()
    elsewhere.get_by_text("Your projects").wait_for()
    assert other.get_by_text("Your projects").count() == 0
    other.goto(f"{server.url}/server")
    other.get_by_text("There is no page here").wait_for()

    # Who signs out is a guest again, to whom nothing of it belongs.
    elsewhere.get_by_role("button", name="ada@example.org").click()
    elsewhere.get_by_role("button", name="Sign out").click()
    # The provider says good-bye on a page of its own.
    elsewhere.wait_for_url(lambda url: urlsplit(url).port != server.port)
    elsewhere.goto(server.url)
    elsewhere.get_by_role("button", name="Sign in").wait_for()
    assert elsewhere.get_by_text("Your projects").count() == 0

    say(server, guests=False)
    guest = browser(chromium)
    guest.goto(f"{server.url}/label")
    guest.get_by_text("Sign in to make maps here").wait_for()
    assert guest.get_by_text("Try the demo region").count() == 0
    guest.get_by_test_id("stTopNavLink").first.wait_for(state="hidden")
    say(server, guests=False, others="nobody")
    sign_in(guest, "bo")
    guest.get_by_text("this server is not open to you").wait_for()
    guest.get_by_role("button", name="Sign out").wait_for()
    for visitor in (page, elsewhere, other, guest):
        visitor.context.close()
