"""Visits that last: tabs left alone, tabs closed, and crowds; a few minutes on a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import InvalidStatus

from tests.servers import AppServer, Visitor, put_file

pytestmark = pytest.mark.soak

MB = 2**20


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    limits = {"TESSERA_IDLE_MINUTES": "1", "TESSERA_MAX_PEOPLE": "10", "TESSERA_MAX_TABS": "2"}
    server = AppServer(root, tmp_path_factory.mktemp("visits") / "home", limits, streamlit=[])
    server.home.mkdir()
    server.start()
    yield server
    server.stop()


def _within(seconds: float, true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(1)
    return False


def _rss(server: AppServer) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


def _threads(server: AppServer) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).num_threads())


def test_a_tab_left_alone_gives_its_place_back_and_comes_back_by_a_click(server: AppServer) -> None:
    visitor = Visitor(server)
    assert "Try the demo region" in visitor.look()
    left = visitor.session
    # Asked for by the page itself, not by a person.
    assert visitor.wait(lambda frame: False, 100) is False
    back = Visitor(server, visitor.cookie, resume=left)
    assert "You were away for a while" in back.look()
    assert back.session != left
    assert "Try the demo region" in back.click("Go on")
    back.close()


def test_what_a_visit_held_is_given_back_when_it_ends(server: AppServer) -> None:
    with Visitor(server) as warm:
        warm.look()
    # Until the libraries that are loaded behind the first page are there.
    sizes = [_rss(server)]
    while time.sleep(5) or abs(sizes[-1] - _rss(server)) > MB or len(sizes) < 5:
        sizes.append(_rss(server))
    before, threads = sizes[-1], _threads(server)
    with Visitor(server) as visitor:
        visitor.look()
        assert [put_file(server, visitor, 100 * MB).status for _ in range(3)] == [204] * 3
        assert _rss(server) > before + 250 * MB
    assert _within(100, lambda: _rss(server) < before + 80 * MB), (
        f"{(_rss(server) - before) / MB:.0f} MB are still held"
    )
    assert _within(30, lambda: _threads(server) <= threads + 2)


def test_a_crowd_is_counted_and_its_end_noticed(server: AppServer) -> None:
    before = _rss(server)
    crowd: list[Visitor] = []
    refused = 0
    for _ in range(120):
        try:
            crowd.append(Visitor(server, ""))
        except InvalidStatus:
            refused += 1
    said = [visitor.look() for visitor in crowd]
    served = sum("Try the demo region" in text for text in said)
    assert served == 10
    assert sum("This server is full (10 people)" in text for text in said) == len(crowd) - 10
    assert refused == 120 - 70
    grown = _rss(server) - before
    for visitor in crowd:
        visitor.close()
    print(f"{len(crowd)} sessions held {grown / MB:.1f} MB")
    with Visitor(server) as late:
        assert _within(20, lambda: "Try the demo region" in late.look())


@pytest.mark.parametrize(
    ("options", "word", "strangers"),
    [
        (["--server.address", "0.0.0.0"], None, True),
        (["--server.address", "127.0.0.1"], "1", True),
        (["--server.address", "127.0.0.1"], None, False),
        (["--server.address", "localhost"], None, False),
        ([], "0", False),
    ],
)
def test_what_a_start_of_streamlit_opens(
    options: list[str], word: str | None, strangers: bool, root: Path, tmp_path: Path
) -> None:
    server = AppServer(root, tmp_path / "home", {"TESSERA_HOSTED": word}, streamlit=options)
    server.home.mkdir()
    server.start()
    try:
        assert (server.ask("/", {"Accept": "text/html"}).status == 200) is strangers
        with Visitor(server) as visitor:
            assert ("Open a folder" in visitor.look()) is not strangers
        # Behind a proxy only where the owner has said something.
        through = server.ask(
            "/", {"Cookie": server.key(), "Host": "maps.example.org", "X-Forwarded-For": "203.0.113.9"}
        )
        assert (through.status == 200) is (strangers or word is not None)
    finally:
        server.stop()
