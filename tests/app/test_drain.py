"""A server for many that is asked to stop: nobody new comes in, what was done is saved, it ends with 0 in the time it says."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tessera_core.hosting import audit
from tessera_core.hosting.processes import Registry
from tests.servers import AppServer, Visitor
from tests.waiting import PATIENCE_S, eventually

PAGE = {"Accept": "text/html"}
TOKEN = "an-owners-token-of-the-tests"


@pytest.fixture
def pair(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AppServer, AppServer]]:
    """Two processes on one home."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    environment = {
        "TESSERA_HOSTED": "1",
        "TESSERA_DRAIN_SECONDS": "3",
        "TESSERA_OWNER_TOKEN": TOKEN,
        "TESSERA_MAX_PEOPLE": "2",
    }
    servers = (
        AppServer(root, tmp_path / "home", environment, streamlit=[]),
        AppServer(root, tmp_path / "home", environment),
    )
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


def test_two_processes_count_together_and_each_ends_in_an_orderly_way(pair: tuple[AppServer, AppServer]) -> None:
    first, second = pair
    watcher = Registry()
    eventually(lambda: {one.port for one in watcher.others()} == {first.port, second.port})
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert first.ask("/metrics").status == first.ask("/metrics", {"Authorization": "Bearer x"}).status
    assert "tessera_people 0" in first.ask("/metrics", bearer).text
    with Visitor(first) as anna, Visitor(second) as bert, Visitor(second) as cora:
        assert "Try the demo region" in anna.look()
        assert "Try the demo region" in bert.look()
        # Two people are there, one at each process.
        assert "This server is full (2 people)" in cora.look()
        assert "tessera_people 2" in eventually(
            lambda: "tessera_tabs 2" in (text := second.ask("/metrics", bearer).text) and text
        )

        assert first.process is not None
        first.process.send_signal(signal.SIGTERM)
        eventually(lambda: first.ask("/_stcore/health").status == 503)
        refused = first.ask("/", PAGE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "30")
        assert "being restarted" in refused.text
        with pytest.raises(InvalidStatus, match="403"):
            Visitor(first, "tessera_visitor=" + "x" * 43)
        # Who is there goes on meanwhile.
        assert "Try the demo region" in anna.look()
        assert first.process.wait(PATIENCE_S) == 0
        assert second.ask("/_stcore/health").status == 200
        # The one who was at the other process has gone with it.
        assert "Try the demo region" in eventually(
            lambda: "Try the demo region" in (text := cora.click("Try again")) and text
        )
    # Whoever runs the server may end a process from its page, and the other kind of start ends with 0 as well.
    (left,) = watcher.others()
    watcher.order(left.name, "drain")
    assert second.process is not None
    assert second.process.wait(PATIENCE_S) == 0
    assert watcher.others() == []
    assert [event["what"] for event in audit.events()].count("the server was asked to stop") == 2
    assert not list((first.home / "server").glob("*.alive"))


def test_a_second_signal_stops_at_once(root: Path, tmp_path: Path) -> None:
    server = AppServer(root, tmp_path / "home", {"TESSERA_HOSTED": "1", "TESSERA_DRAIN_SECONDS": "600"}, streamlit=[])
    server.home.mkdir()
    server.start()
    try:
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: server.ask("/_stcore/health").status == 503)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.2)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE_S)
    finally:
        server.stop()
