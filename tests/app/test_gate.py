"""The gate in front of the app, tried on real servers over HTTP and over the browser's websocket."""

from __future__ import annotations

import asyncio
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streamlit import config
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tessera_core.errors import InputError
from tessera_core.hosting import Limits, hosted
from tessera_core.project.project import Project
from tessera_core.project.request import EmbeddingRequest
from tessera_core.region import parse_bbox
from tessera_core.ui import gate, state
from tessera_core.ui.hub import KEY_HEADER, KEY_VARIABLE
from tessera_core.ui.region import load
from tests.factories import landscape
from tests.servers import TOKEN, AppServer, Visitor, put_file
from tests.waiting import PATIENCE_S, eventually

PAGE = {"Accept": "text/html"}
OWNERS_TOOL = "Open a folder"


@pytest.fixture(scope="module")
def own(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """One person's own app, opened in a browser that only notes what it was started with."""
    folder = tmp_path_factory.mktemp("own")
    browser = folder / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/opened\n')
    browser.chmod(0o755)
    yield from _served(AppServer(root, folder / "home", {"BROWSER": f"{browser} %s"}, window=True))


@pytest.fixture(scope="module")
def open_server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """``streamlit run app.py`` as containers do, with nothing said of who may use it."""
    limits = {"TESSERA_MAX_PEOPLE": "2", "TESSERA_MAX_TABS": "2", "TESSERA_MAX_UPLOADS_MB": "4"}
    yield from _served(AppServer(root, tmp_path_factory.mktemp("open") / "home", limits, streamlit=[]))


def _served(server: AppServer) -> Iterator[AppServer]:
    server.home.mkdir()
    server.start()
    yield server
    server.stop()


# ------------------------------------------------------------------ who is a stranger


@pytest.mark.parametrize(
    ("address", "word", "expected"),
    [
        (None, None, True),
        ("0.0.0.0", None, True),
        ("::", None, True),
        ("192.168.1.7", None, True),
        ("maps.example.org", None, True),
        ("localhost", None, False),
        ("127.0.0.1", None, False),
        ("127.3.2.1", None, False),
        ("::1", None, False),
        ("localhost", "1", True),
        (None, "0", False),
    ],
)
def test_every_address_but_this_computers_own_is_for_strangers(
    address: str | None, word: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", word or "")
    before = config.get_option("server.address")
    config.set_option("server.address", address)
    for function in (gate.decide, gate.owners_word):
        function.cache_clear()
    try:
        assert gate.decide() is hosted() is expected
    finally:
        config.set_option("server.address", before)
        for function in (gate.decide, gate.owners_word):
            function.cache_clear()


def test_streamlit_run_without_a_word_shows_no_owners_tools(open_server: AppServer) -> None:
    with Visitor(open_server) as visitor:
        text = visitor.look()
    assert "Try the demo region" in text
    assert OWNERS_TOOL not in text
    assert str(open_server.home) not in text
    assert "serves everyone who can reach" in open_server.output()


# ------------------------------------------------------------- one's own computer


def test_without_the_token_nothing_is_given(own: AppServer) -> None:
    for path in (
        "/",
        "/label",
        "/static/x.js",
        "/_stcore/host-config",
        "/_stcore/metrics",
        "/media/x.png",
        "/?token=wrong",
    ):
        answer = own.ask(path)
        assert answer.status == 403, path
        assert "Open the address that was printed" in answer.text
    assert own.ask("/_stcore/upload_file/a/b", method="PUT", data=b"x").status == 403
    assert own.ask("/_stcore/health").text == "ok"
    for cookie in ("", "tessera_owner=1", f"{own.key().split('=')[0]}=guess"):
        with pytest.raises(InvalidStatus, match="403"):
            Visitor(own, cookie)


def test_the_printed_address_opens_the_app_and_the_token_leaves_the_address(own: AppServer) -> None:
    assert f"http://localhost:{own.port}/?token={TOKEN}" in own.output()
    answer = own.ask(f"/label?project=mine&token={TOKEN}&year=2024")
    assert answer.status == 303
    assert answer.headers["location"] == "./label?project=mine&year=2024"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    with Visitor(own, cookie.split(";")[0]) as visitor:
        assert OWNERS_TOOL in visitor.look()
    # An address from before a restart, in a browser that is known.
    assert own.ask("/?token=older", {"Cookie": cookie.split(";")[0]}).headers["location"] == "./"


@pytest.mark.parametrize("path", ["//evil.example/", "/javascript:alert(1)", "/\\evil.example", "/%2F%2Fevil.example"])
def test_the_way_on_never_leads_to_another_server(own: AppServer, path: str) -> None:
    location = own.ask(f"{path}?token={TOKEN}").headers["location"]
    assert location.startswith("./")
    assert "//" not in location


@pytest.mark.parametrize(
    "header",
    [
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:8501"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"X-Forwarded-Host": "maps.example.org"},
        {"Forwarded": "for=203.0.113.9"},
        {"X-Real-IP": "203.0.113.9"},
    ],
)
def test_other_names_and_proxies_are_refused_with_a_way_out(own: AppServer, header: dict[str, str]) -> None:
    answer = own.ask("/", {"Cookie": own.key(), **header})
    assert answer.status == 403
    assert "TESSERA_HOSTED=1" in answer.text


def test_a_server_of_a_hub_answers_its_proxy_and_nobody_else(root: Path, tmp_path: Path) -> None:
    key = "a-key-of-the-proxy"
    server = AppServer(root, tmp_path / "home", {KEY_VARIABLE: key})
    server.home.mkdir()
    server.start()
    try:
        for headers in ({}, {KEY_HEADER: ""}, {KEY_HEADER: "guess"}, {"Cookie": f"{KEY_HEADER}={key}"}):
            for path in ("/", f"/?token={TOKEN}", "/media/x.png", "/_stcore/host-config", "/_stcore/metrics"):
                answer = server.ask(path, headers)
                assert answer.status in (403, 404), path
                assert "set-cookie" not in answer.headers
                assert "JupyterHub" in answer.text
        for cookie in ("", "tessera_owner=1"):
            with pytest.raises(InvalidStatus, match="403"):
                Visitor(server, cookie)
        # As the proxy of a hub sends it on: another name, another address, forwarded.
        proxied = {KEY_HEADER: key, "Host": "hub.example.org", "X-Forwarded-For": "203.0.113.9"}
        page = server.ask("/", {**proxied, **PAGE})
        assert page.status == 200
        # Neighbours on the hub's host name would be sent it, too.
        assert "tessera_" not in page.headers.get("set-cookie", "")
        with pytest.raises(InvalidStatus, match="403"):
            Visitor(server, "", Origin="http://evil.example", **{KEY_HEADER: key})
        with Visitor(server, "", **{KEY_HEADER: key}) as visitor:
            text = visitor.look()
        assert OWNERS_TOOL in text
        assert key not in text
        assert key not in server.output()
        assert TOKEN not in server.output()
    finally:
        server.stop()


def test_pages_of_other_ports_may_not_listen(own: AppServer) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        Visitor(own, own.key(), Origin="http://localhost:1")
    with pytest.raises(InvalidStatus, match="403"):
        Visitor(own, own.key(), Origin="http://evil.example")


@pytest.mark.skipif(
    sys.platform != "linux", reason="the browser of this test is a shell script, and it looks into /proc"
)
def test_what_opens_the_app_is_readable_by_its_user_only(own: AppServer) -> None:
    own.key()
    opened = own.home.parent / "opened"
    # Everyone on the computer can read what a program was started with.
    command = eventually(lambda: opened.exists() and opened.read_text().strip())
    assert command
    assert TOKEN not in command
    page = Path(unquote(urlsplit(command).path))
    assert f"?token={TOKEN}" in page.read_text()
    for path in (own.home / "secret", page):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert own.process is not None
    assert TOKEN not in Path(f"/proc/{own.process.pid}/cmdline").read_text()


# ---------------------------------------------------------------- a server for many


def test_visitors_have_names_of_their_own_which_nobody_can_claim(open_server: AppServer) -> None:
    first = open_server.ask("/", PAGE).headers["set-cookie"]
    assert "HttpOnly" in first
    assert first.split(";")[0] != open_server.ask("/", PAGE).headers["set-cookie"].split(";")[0]
    assert open_server.ask("/", PAGE | {"Cookie": first.split(";")[0]}).headers["set-cookie"] is None


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/script-health-check", "/_stcore/agent/interact"])
def test_what_tells_about_the_server_is_closed(open_server: AppServer, path: str) -> None:
    assert open_server.ask(path).status == 404


def test_a_full_server_says_so_and_lets_in_when_somebody_leaves(open_server: AppServer) -> None:
    first, second = Visitor(open_server), Visitor(open_server)
    assert "Try the demo region" in first.look()
    assert "Try the demo region" in second.look()
    with Visitor(open_server) as third:
        assert "This server is full (2 people). Try again in a few minutes." in third.look("explore")
        # Nothing is left to press but one button, and pressing it helps only when there is room.
        assert "This server is full" in third.click("Try again")
        assert "Try the demo region" not in third.text()
        with Visitor(open_server, first.cookie) as again:
            assert "Try the demo region" in again.look()
            with Visitor(open_server, first.cookie) as too_many:
                assert "You have 2 tabs of this server open" in too_many.look()
        first.close()
        second.close()
        eventually(lambda: "full" not in third.click("Try again"), every=0.3)
        # The page that was asked for in the first place.
        assert "Open a region first; then you can look around in it here." in third.text()


def test_uploads_without_a_widget_are_held_up_to_a_limit(open_server: AppServer) -> None:
    with Visitor(open_server) as visitor:
        visitor.look()
        answers = [put_file(open_server, visitor, 3 * 2**19) for _ in range(4)]
        # Too much by itself, told before any of it has come.
        assert put_file(open_server, visitor, 5 * 2**20).status == 413
        assert put_file(open_server, visitor, 5 * 2**20).status == 413
    statuses = [answer.status for answer in answers]
    assert "Traceback" not in open_server.output()
    assert statuses[0] == 204
    assert statuses[-1] == 413
    assert "4 MB" in answers[-1].text


# -------------------------------------------------------- messages that no page sends


@pytest.mark.parametrize("kind", sorted(BackMsg.DESCRIPTOR.fields_by_name))
def test_only_what_a_page_sends_gets_to_streamlit(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    gate.decide.cache_clear()
    message = BackMsg()
    field = BackMsg.DESCRIPTOR.fields_by_name[kind]
    if field.message_type is None:
        setattr(message, kind, True)
    else:
        getattr(message, kind).SetInParent()
    wire = [
        {"type": "websocket.receive", "bytes": message.SerializeToString()},
        {"type": "websocket.disconnect", "code": 1000},
    ]
    passed: list[str] = []

    async def app(scope: gate.Scope, receive: gate.Receive, send: gate.Send) -> None:
        while (got := await receive())["type"] == "websocket.receive":
            passed.append(str(BackMsg.FromString(got["bytes"]).WhichOneof("type")))

    async def receive() -> gate.Message:
        return wire.pop(0)

    async def send(_: gate.Message) -> None:
        raise AssertionError("nothing is to be answered")

    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": [(b"x-tessera-visitor", b"somebody else")]}
    asyncio.run(gate.Gate(app)(scope, receive, send))
    gate.decide.cache_clear()
    # An operation without content is one that no page sends.
    needed = {"rerun_script", "stop_script", "app_heartbeat", "file_urls_request"}
    assert passed == ([kind] if kind in needed else [])
    assert (b"x-tessera-visitor", b"somebody else") not in scope["headers"]


def test_every_question_is_answered_while_the_page_is_run_again_and_again(open_server: AppServer) -> None:
    questions = [f"question {number}" for number in range(60)]
    with Visitor(open_server) as visitor:
        visitor.look()
        for question in questions:
            asks = BackMsg()
            asks.file_urls_request.request_id = question
            asks.file_urls_request.file_names.append("work.tessera")
            asks.file_urls_request.session_id = visitor.session
            visitor.send(visitor.looking(""))
            visitor.send(asks)
        answered = []
        while len(answered) < len(questions):
            frame = visitor.receive(PATIENCE_S)
            assert frame is not None
            if frame.WhichOneof("type") == "file_urls_response":
                answered.append(frame.file_urls_response.response_id)
    assert answered == questions


def test_garbage_ends_only_the_connection_it_came_by(open_server: AppServer) -> None:
    with Visitor(open_server) as other, Visitor(open_server, other.cookie) as rude:
        other.look()
        rude.connection.send(b"\xff" * 40)
        with pytest.raises(ConnectionClosed):
            rude.connection.recv(timeout=PATIENCE_S)
        assert "Try the demo region" in other.look()


def test_limits_of_the_environment_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_MAX_PEOPLE", "30")
    monkeypatch.setenv("TESSERA_IDLE_MINUTES", "5")
    assert (Limits.read().people, Limits.read().idle_minutes) == (30, 5)
    monkeypatch.setenv("TESSERA_MAX_JOBS", "many")
    with pytest.raises(Exception, match="TESSERA_MAX_JOBS is 'many'"):
        Limits.read()


# -------------------------------------------------------- what a browser is told


def test_no_frame_tells_where_the_server_keeps_things(open_server: AppServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(open_server.home))
    project, gone = (Project.create(open_server.home / "projects" / name, name.title()) for name in ("fields", "gone"))
    for year in (2023, 2024):
        raster = landscape(32, year=year, seed=year)
        path = raster.save(project.folder / "embeddings" / str(year))
        project.attach_embeddings(year, path, raster.provenance, raster.grid)
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    query, lost = f"project={state.key_of(project.folder)}", f"project={state.key_of(gone.folder)}"
    secret = [str(open_server.home), str(open_server.root), str(Path.home()) + "/", str(tempfile.gettempdir())]
    seen = []
    with Visitor(open_server) as visitor:
        # The first run of a session is of another page than asked for.
        visitor.look()
        for page in (
            "",
            "explore",
            "label",
            "continuous",
            "numbers",
            "validate",
            "compare",
            "export",
            "generate",
            "data",
        ):
            seen.append((page, visitor.look(page, query), visitor.raw()))
        (gone.folder / "project.json").write_text("{")
        seen.append(("broken", visitor.look("", lost), visitor.raw()))
        seen.append(("unknown", visitor.look("", "project=~../../etc"), visitor.raw()))
    assert any("Fields" in text for _, text, _ in seen)
    told = [(page, place, _around(raw, place)) for page, _, raw in seen for place in secret if place.encode() in raw]
    assert told == [], "\n".join(map(str, told))


def test_an_address_from_before_the_page_was_renamed_still_opens_it(open_server: AppServer) -> None:
    with Visitor(open_server) as visitor:
        visitor.look()
        assert "your field plots become a map here" in visitor.look("numbers")
        assert "your field plots become a map here" in visitor.look("continuous")


def _around(raw: bytes, place: str) -> bytes:
    at = raw.index(place.encode())
    return raw[max(0, at - 40) : at + 100]


def test_a_place_is_as_large_as_a_server_for_many_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    large = EmbeddingRequest(parse_bbox("5.0,51.0,5.5,51.3"), (2024,), "tessera")
    monkeypatch.setenv("TESSERA_HOSTED", "0")
    assert load.too_large(large) == ""
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    assert "up to 400 km²" in load.too_large(large)
    assert load.too_large(EmbeddingRequest(parse_bbox("5.0,51.0,5.1,51.1"), (2024,), "tessera")) == ""
    with pytest.raises(InputError, match="Choose a smaller one"):
        load.start(large, None)


# ------------------------------------------------- in this process, many requests


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A gate of one's own app in this process."""
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    monkeypatch.setenv("TESSERA_HOSTED", "")
    before = config.get_option("server.address")
    config.set_option("server.address", "localhost")
    asked_once = (gate.decide, gate.owners_word, gate._own_cookie, gate._own_cookie_name)
    for function in asked_once:
        function.cache_clear()
    yield monkeypatch
    config.set_option("server.address", before)
    for function in asked_once:
        function.cache_clear()


def _passes(headers: dict[str, str], client: str = "127.0.0.1", method: str = "GET", *, known: bool = True) -> bool:
    """Whether a request with these headers, and with the cookie where ``known``, gets to the app."""
    through = []

    async def app(scope: gate.Scope, receive: gate.Receive, send: gate.Send) -> None:
        through.append(scope)

    async def receive() -> gate.Message:
        return {"type": "http.request", "body": b""}

    async def send(_: gate.Message) -> None:
        return None

    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    if known:
        raw.append((b"cookie", f"{gate._own_cookie_name()}={gate._own_cookie()}".encode()))
    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw, "client": (client, 1)}
    asyncio.run(gate.Gate(app)(scope, receive, send))
    return bool(through)


OURS = ("localhost", "LOCALHOST", "localhost:8501", "127.0.0.1:1", "127.8.9.10", "[::1]:8501", "localhost.")
NOT_OURS = (
    "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "evil.example#localhost",
    "[::1].evil.example", "0.0.0.0", "[::]", "10.0.0.1", "169.254.169.254", "localhost.example:8501", "", "127.0.0.1%00.x",
    "[::ffff:10.0.0.1]", "[broken",
)  # fmt: skip


def test_only_names_of_this_computer_are_answered(mine: pytest.MonkeyPatch) -> None:
    assert [host for host in OURS if not _passes({"Host": host})] == []
    assert [host for host in NOT_OURS if _passes({"Host": host})] == []
    assert not any(_passes({"Host": host}, known=False) for host in OURS)
    assert not _passes({"Host": "localhost"}, client="192.168.1.9")
    assert not _passes({"Host": "localhost:8501", "Origin": "http://localhost:9999"}, method="PUT")
    assert _passes({"Host": "localhost:8501", "Origin": "http://localhost:8501"}, method="PUT")


@given(host=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40), cookie=st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_a_request_says_without_the_cookie_it_stays_outside(
    mine: pytest.MonkeyPatch, host: str, cookie: str
) -> None:
    assert not _passes({"Host": host, "Cookie": cookie}, known=False)
    assert not _passes({"Host": "localhost", "Cookie": f"{gate._own_cookie_name()}={cookie}"}, known=False)


def test_the_owners_word_lets_proxies_in_but_not_without_the_token(mine: pytest.MonkeyPatch) -> None:
    mine.setenv("TESSERA_HOSTED", "0")
    config.set_option("server.address", None)
    gate.owners_word.cache_clear()
    outside = {"Host": "hub.example.org", "X-Forwarded-For": "203.0.113.9"}
    assert _passes(outside, client="203.0.113.9")
    assert not _passes(outside, client="203.0.113.9", known=False)
