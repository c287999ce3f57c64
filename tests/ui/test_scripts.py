"""Streamlit's scripts from memory: the same bytes, only to whom can unpack them, and nothing but files of the folder."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from tessera_core.ui import scripts
from tessera_core.ui.asgi import Message, Request

SCRIPT = b"export const answer = 42;\n" * 100


def request(path: str, method: str = "GET", **headers: str) -> Request:
    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": path, "headers": given, "query_string": b""})


@pytest.fixture
def kept(tmp_path: Path) -> scripts.Kept:
    (tmp_path / "static/js").mkdir(parents=True)
    (tmp_path / "static/js/page.Ab1-_x.js").write_bytes(SCRIPT)
    (tmp_path / "static/js/tiny.js").write_bytes(b"1")
    (tmp_path / "secret.js").write_bytes(SCRIPT)
    # So late that no test meets it.
    return scripts.Kept(tmp_path, delay=3600)


def fetched(kept: scripts.Kept, path: str) -> bytes | None:
    kept.find(request(path, accept_encoding="gzip, br"))
    kept.compress()
    return kept.find(request(path, accept_encoding="gzip, br"))


def test_the_second_browser_gets_it_packed(kept: scripts.Kept) -> None:
    asked = request("/static/js/page.Ab1-_x.js", accept_encoding="gzip")
    assert kept.find(asked) is None
    packed = fetched(kept, asked.route)
    assert packed is not None
    assert len(packed) < len(SCRIPT) / 3
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(scripts.send(packed, asked.route, send))
    headers = dict(sent[0]["headers"])
    assert headers[b"content-encoding"] == b"gzip"
    assert headers[b"vary"] == b"Accept-Encoding"
    assert headers[b"content-type"].startswith(b"text/javascript")
    assert int(headers[b"content-length"]) == len(sent[1]["body"])
    assert gzip.decompress(sent[1]["body"]) == SCRIPT


@pytest.mark.parametrize("headers", [{}, {"accept_encoding": "br"}, {"accept_encoding": "gzip", "range": "bytes=0-9"}])
def test_who_cannot_unpack_it_or_wants_a_part_is_answered_by_streamlit(
    kept: scripts.Kept, headers: dict[str, str]
) -> None:
    assert fetched(kept, "/static/js/page.Ab1-_x.js")
    assert kept.find(request("/static/js/page.Ab1-_x.js", **headers)) is None
    assert kept.find(request("/static/js/page.Ab1-_x.js", "HEAD", accept_encoding="gzip")) is None


@pytest.mark.parametrize(
    "path",
    [
        "/static/js/../../secret.js",
        "/static/js/%2e%2e/secret.js",
        "/static/js/..js",
        "/static/js/none.js",
        "/static/js/tiny.js",
        "/secret.js",
        "/static/media/picture.png",
    ],
)
def test_nothing_else_is_kept(kept: scripts.Kept, path: str) -> None:
    assert fetched(kept, path) is None


def test_no_more_is_kept_than_there_is_room_for(kept: scripts.Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "_MOST_BYTES", 10)
    assert fetched(kept, "/static/js/page.Ab1-_x.js") is None


def test_streamlits_own_folder_is_where_it_is_looked_for() -> None:
    kept = scripts.Kept(delay=3600)
    names = sorted((kept._folder / "static/js").glob("index.*.js"))
    packed = fetched(kept, f"/static/js/{names[0].name}")
    assert packed is not None
    assert gzip.decompress(packed) == names[0].read_bytes()
