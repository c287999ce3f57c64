"""The guard of tests/guard bites: nothing that a test does, or starts, reaches beyond this computer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Addresses kept for documentation (RFC 5737, RFC 3849) and a name that can never exist (RFC 2606).
FOUR, SIX, NAME = "192.0.2.1", "2001:db8::1", "nowhere.invalid"


@pytest.fixture
def attempts(no_outside: Path) -> Iterator[Callable[[], str]]:
    """What was noted during this test; forgotten at its end, because here it is wanted."""
    size = no_outside.stat().st_size
    yield lambda: no_outside.read_bytes()[size:].decode()
    os.truncate(no_outside, size)


@pytest.mark.parametrize("host", [FOUR, SIX, NAME, FOUR.encode()])
def test_look_ups_and_connections_are_refused_and_noted(host: str | bytes, attempts: Callable[[], str]) -> None:
    with pytest.raises(OSError, match="beyond this computer"):
        socket.create_connection((host, 80), timeout=1)  # type: ignore[arg-type]
    assert repr(host) in attempts()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, (FOUR, 53)), (socket.AF_INET6, (SIX, 53, 0, 0))])
def test_datagrams_are_refused(family: int, address: tuple[str, int], attempts: Callable[[], str]) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as one, pytest.raises(OSError, match="beyond this computer"):
        one.sendto(b"hello", address)
    assert address[0] in attempts()


def test_programs_that_a_test_starts_are_guarded(attempts: Callable[[], str]) -> None:
    program = f"import socket; socket.create_connection(('{FOUR}', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode != 0
    assert "beyond this computer" in done.stderr
    assert FOUR in attempts()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_computer_answers(host: str, attempts: Callable[[], str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection((host, server.getsockname()[1]), timeout=5).close()
    assert not attempts()


def test_libraries_with_sockets_of_their_own_find_a_proxy_that_nobody_answers() -> None:
    """Audit hooks do not see compiled code; that asks the proxy of the environment."""
    import rasterio
    from obstore.store import HTTPStore

    with pytest.raises(rasterio.errors.RasterioIOError), rasterio.Env(GDAL_HTTP_TIMEOUT=5, GDAL_HTTP_MAX_RETRY=0):
        rasterio.open(f"/vsicurl/http://{FOUR}/a.tif")
    store = HTTPStore.from_url(f"http://{FOUR}", retry_config={"max_retries": 0}, client_options={"allow_http": True})
    with pytest.raises(Exception, match=r"(?s)127\.0\.0\.1:9|proxy|refused"):
        store.get("a")


def test_an_attempt_that_a_program_swallows_fails_its_test(root: Path, tmp_path: Path) -> None:
    inner = tmp_path / "test_inner.py"
    inner.write_text(
        "import contextlib, socket\n"
        "def test_it():\n"
        "    with contextlib.suppress(OSError):\n"
        f"        socket.create_connection(('{FOUR}', 80), timeout=1)\n",
        encoding="utf-8",
    )
    (tmp_path / "conftest.py").write_text("from tests.conftest import no_outside\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ["PYTHONPATH"]])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(inner)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert "1 passed" in done.stdout
    assert "1 error" in done.stdout
    assert "tried to reach beyond this computer" in done.stdout
