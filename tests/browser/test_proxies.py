"""The proxies of ``deploy/`` in front of the app, with TLS, a host name and a sub-path, driven in a browser."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.browser.studio import PATIENCE_MS, VIEW, Studio
from tests.servers import AppServer, free_port
from tests.waiting import eventually
from tools.image import label

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(600)]
NAME = "studio.test"


def certificate(folder: Path) -> None:
    """A self-signed certificate for :data:`NAME`."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    words += [
        "-addext",
        f"subjectAltName=DNS:{NAME}",
        "-keyout",
        str(folder / "key.pem"),
        "-out",
        str(folder / "crt.pem"),
    ]
    subprocess.run([program, *words], check=True, capture_output=True)


def ask(port: int, path: str) -> tuple[int, Mapping[str, str]]:
    """Status and headers of an answer of the proxy, under the name it serves; 0 where nobody listens yet."""
    context = ssl._create_unverified_context()
    try:
        # Proxies choose the certificate by the name that is asked for while the connection is made.
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as secure,
        ):
            connection = http.client.HTTPConnection(NAME, port, timeout=20)
            connection.sock = secure
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    except OSError:
        return 0, {}


def nginx(root: Path, folder: Path, upstream: int, port: int, plain: int) -> list[str]:
    """The command that runs ``deploy/nginx.conf`` as it stands, but for names, ports and the certificate."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        pytest.skip("nginx is not installed")
    text = (root / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    for old, new in (
        ("maps.example.org;", f"{NAME};"),
        ("/etc/ssl/maps.example.org.crt", str(folder / "crt.pem")),
        ("/etc/ssl/maps.example.org.key", str(folder / "key.pem")),
        ("127.0.0.1:8501", f"127.0.0.1:{upstream}"),
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
    ):
        assert old in text
        text = text.replace(old, new)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}} http {{ {places} {text} }}"
    (folder / "nginx.conf").write_text(whole, encoding="utf-8")
    return [program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


def caddy(root: Path, folder: Path, upstream: int, port: int, plain: int) -> list[str]:
    """The command that runs ``deploy/Caddyfile`` as it stands, with the certificate given instead of fetched."""
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed")
    text = (root / "deploy" / "Caddyfile").read_text(encoding="utf-8")
    assert "encode zstd gzip" in text
    text = text.replace("encode zstd gzip", f"tls {folder}/crt.pem {folder}/key.pem\n\tencode zstd gzip", 1)
    (folder / "Caddyfile").write_text(
        f"{{\n\thttp_port {plain}\n\thttps_port {port}\n\tadmin off\n}}\n{text}", encoding="utf-8"
    )
    return [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def haproxy(root: Path, folder: Path, upstream: int, port: int, plain: int) -> list[str]:
    """The command that runs ``deploy/haproxy.cfg`` as it stands, but for ports and the certificate."""
    program = shutil.which("haproxy") or "/usr/sbin/haproxy"
    if not Path(program).exists():
        pytest.skip("haproxy is not installed")
    both = "".join((folder / name).read_text(encoding="utf-8") for name in ("crt.pem", "key.pem"))
    (folder / "both.pem").write_text(both, encoding="utf-8")
    text = (root / "deploy" / "haproxy.cfg").read_text(encoding="utf-8")
    for old, new in (
        ("/etc/haproxy/maps.example.org.pem", str(folder / "both.pem")),
        ("server a 127.0.0.1:8501", f"server a 127.0.0.1:{upstream}"),
        ("bind :443 ", f"bind 127.0.0.1:{port} "),
        ("bind :80\n", f"bind 127.0.0.1:{plain}\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "haproxy.cfg").write_text(text, encoding="utf-8")
    return [program, "-db", "-f", str(folder / "haproxy.cfg")]


@pytest.mark.parametrize("proxy", [nginx, caddy, haproxy])
def test_the_app_works_behind_the_proxies_of_the_documentation(
    proxy: Callable[..., list[str]], launcher: tuple[Any, dict[str, Any]], root: Path, tmp_path: Path
) -> None:
    certificate(tmp_path)
    server = AppServer(root, tmp_path / "home", {"TESSERA_HOSTED": "1", "STREAMLIT_SERVER_BASE_URL_PATH": "studio"})
    server.home.mkdir()
    port, plain = free_port(), free_port()
    command = proxy(root, tmp_path, server.port, port, plain)
    environment = {"STUDIO_HOST": NAME, "STUDIO_PATH": "/studio", "STUDIO_UPSTREAM": f"127.0.0.1:{server.port}"}
    # Where Caddy keeps what it finds out.
    environment |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    server.url += "/studio"
    server.start()
    engine, options = launcher
    # The name leads here, and to no proxy that the environment names.
    rules = (f"--host-resolver-rules=MAP {NAME} 127.0.0.1", "--no-proxy-server")
    browser = engine.launch(**options | {"args": [*options["args"], *rules]})
    running = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE)
    try:
        context = browser.new_context(viewport=VIEW, ignore_https_errors=True)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        url = f"https://{NAME}:{port}/studio"

        def stands() -> bool:
            assert running.poll() is None, running.stderr and running.stderr.read()
            return ask(port, "/studio/_stcore/health")[0] == 200

        eventually(stands)
        told = label(Studio(page, url), 0)
        assert told["labels"] == {"wood": 1, "water": 1}
        (cookie,) = [cookie for cookie in context.cookies() if cookie["name"] == "tessera_visitor"]
        assert cookie["secure"]
        assert cookie["httpOnly"]
        fresh = context.new_page()
        fresh.set_default_timeout(PATIENCE_MS)
        # What people type, and what an address of the middle of a visit is.
        fresh.goto(f"https://{NAME}:{port}/studio")
        fresh.get_by_test_id("stMainBlockContainer").wait_for()
        fresh.goto(f"{url}/data")
        fresh.get_by_role("heading", name="Packs").wait_for()
        assert ask(port, "/studio/_stcore/metrics")[0] == 404
        headers = ask(port, "/studio/")[1]
        assert headers["strict-transport-security"]
        assert "frame-ancestors" in headers["content-security-policy"]
    finally:
        browser.close()
        running.terminate()
        running.wait(30)
        server.stop()
