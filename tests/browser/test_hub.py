"""The app inside JupyterLab, and as what a JupyterHub starts, driven in a browser; skipped where these are not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio import PATIENCE_MS, VIEW, Studio
from tests.servers import DEMO_SIZE, free_port
from tests.waiting import eventually
from tools.image import label

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(900)]
TOKEN = "a-token-of-the-notebooks"


def status(url: str, headers: Mapping[str, str] | None = None) -> int:
    """What an address answers with at last; 0 where nobody listens."""
    request = urllib.request.Request(url, headers={"Accept": "text/html", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextmanager
def started(
    command: list[str], folder: Path, url: str, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program with all that it starts, from its first page to the end of the block."""
    with open(folder / "log", "wb") as log:
        wanted = {
            **os.environ,
            "TESSERA_HOME": str(folder / "home"),
            "TESSERA_DEMO_SIZE": str(DEMO_SIZE),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_PREFER_ENV_PATH": "1",
            **environment,
        }
        process = subprocess.Popen(command, cwd=folder, env=wanted, stdout=log, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: status(url) == 200, lambda: (folder / "log").read_text()[-3000:])
            yield process
        finally:
            process.terminate()
            process.wait(60)


def children(process: subprocess.Popen[bytes]) -> list[Any]:
    """The processes of the app below a program."""
    import psutil

    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "tessera_core" in child.cmdline() and "app" in child.cmdline()]


def not_for_neighbours(app: Any) -> None:
    """Whoever else is on the computer reaches the app's port and gets nothing; its command line tells no secret."""
    words = app.cmdline()
    port = words[words.index("--port") + 1]
    key = app.environ()["TESSERA_HUB_KEY"]
    assert status(f"http://127.0.0.1:{port}/") == 403
    assert status(f"http://127.0.0.1:{port}/", {"X-Tessera-Hub-Key": "guess"}) == 403
    assert status(f"http://127.0.0.1:{port}/", {"X-Tessera-Hub-Key": key}) == 200
    assert not any(key in word for word in words)


def test_jupyterlab_starts_it_from_its_launcher_for_its_user_alone(chromium: Any, tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab")
    pytest.importorskip("jupyter_server_proxy", reason="jupyter-server-proxy is not installed: see docs/howto/hub.md")
    if not [point for point in entry_points(group="jupyter_serverproxy_servers") if point.name == "studio"]:
        pytest.skip("this checkout is not installed beside JupyterLab: pip install -e .")
    port, base = free_port(), "/user/ada/"
    url = f"http://localhost:{port}{base}"
    options = ["--no-browser", "--allow-root", f"--port={port}", f"--ServerApp.base_url={base}"]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--IdentityProvider.token={TOKEN}"]
    with started(command, tmp_path, f"{url}lab", {}) as lab:
        # A person without the hub's word is led to its login and starts nothing.
        stranger = chromium.new_context().new_page()
        stranger.goto(f"{url}studio/")
        assert "/login" in stranger.url
        assert children(lab) == []
        stranger.context.close()
        context = chromium.new_context(viewport=VIEW)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}lab?token={TOKEN}")
        card = page.locator(".jp-LauncherCard").filter(has_text="Tessera Studio")
        with context.expect_page() as opening:
            card.click()
        tab = opening.value
        assert tab.url.startswith(f"{url}studio")
        told = label(Studio(tab, f"{url}studio"), 0)
        assert told["labels"] == {"wood": 1, "water": 1}
        (app,) = children(lab)
        not_for_neighbours(app)
        context.close()


def test_a_hub_gives_each_person_a_studio_of_their_own(chromium: Any, root: Path, tmp_path: Path) -> None:
    for module in ("jupyterhub", "jupyter_server_proxy"):
        pytest.importorskip(module, reason=f"{module} is not installed: see docs/howto/hub.md")
    proxy = os.environ.get("CONFIGURABLE_HTTP_PROXY") or shutil.which("configurable-http-proxy")
    if proxy is None:
        pytest.skip("configurable-http-proxy is not installed: npm install -g configurable-http-proxy")
    port, inner, api = free_port(), free_port(), free_port()
    url = f"http://localhost:{port}"
    # The recipe of the documentation, with people who need no account of this computer.
    (tmp_path / "jupyterhub_config.py").write_text(
        (root / "examples" / "jupyterhub_config.py").read_text(encoding="utf-8")
        + "\n".join(
            [
                "",
                "from jupyterhub.spawner import SimpleLocalProcessSpawner",
                "c.JupyterHub.spawner_class = SimpleLocalProcessSpawner",
                f"SimpleLocalProcessSpawner.home_dir_template = {str(tmp_path / 'homes')!r} + '/{{username}}'",
                "c.Spawner.environment = {'TESSERA_HOME': lambda spawner: "
                f"{str(tmp_path / 'homes')!r} + '/' + spawner.user.name + '/studio', 'PYTHONPATH': {str(root)!r}}}",
                "c.JupyterHub.authenticator_class = 'dummy'",
                "c.DummyAuthenticator.password = 'a class'",
                "c.Authenticator.allow_all = True",
                f"c.JupyterHub.bind_url = '{url}/'",
                f"c.JupyterHub.hub_port = {inner}",
                f"c.ConfigurableHTTPProxy.command = [{proxy!r}]",
                f"c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{api}'",
                "",
            ]
        ),
        encoding="utf-8",
    )
    (tmp_path / "homes").mkdir()
    command = [sys.executable, "-m", "jupyterhub", "-f", str(tmp_path / "jupyterhub_config.py")]
    with started(command, tmp_path, f"{url}/hub/login", {}) as hub:
        projects = {}
        for name in ("ada", "ben"):
            context = chromium.new_context(viewport=VIEW)
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{url}/hub/login")
            page.get_by_label("Username").fill(name)
            page.get_by_label("Password").fill("a class")
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url(re.compile(f"/user/{name}/"))
            told = label(Studio(page, f"{url}/user/{name}"), 0)
            assert told["labels"] == {"wood": 1, "water": 1}
            cookies = [cookie["name"] for cookie in context.cookies() if cookie["path"] == "/"]
            # A cookie for the whole hub would reach the servers of others on it.
            assert not any(cookie.startswith("tessera") for cookie in cookies)
            if name == "ben":
                other = context.new_page()
                answer = other.goto(f"{url}/user/ada/")
                assert answer.status == 403
                assert other.get_by_test_id("stMainBlockContainer").count() == 0
            projects[name] = [path.parent.name for path in (tmp_path / "homes" / name).rglob("project.json")]
            context.close()
        assert len(projects["ada"]) == len(projects["ben"]) == 1
        assert projects["ada"] != projects["ben"]
        apps = children(hub)
        assert len(apps) == 2
        for app in apps:
            not_for_neighbours(app)
