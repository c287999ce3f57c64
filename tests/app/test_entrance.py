"""Who may come into a server for many, tried on a real one whose settings change while it runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from websockets.exceptions import InvalidStatus

from tessera_core.hosting import audit, processes
from tessera_core.hosting.processes import Registry
from tessera_core.ui.entrance import Throttle
from tests.servers import Answer, AppServer, Visitor
from tests.waiting import eventually

PAGE = {"Accept": "text/html"}
TOKEN = "an-owners-token-of-the-tests"
CODE = "heron-lake-42"
BY_CODE = f"[enter]\nby = 'code'\ncode = '{CODE}'\n"
BY_PROXY = "[enter]\nby = 'proxy'\n[roles]\nteacher = ['@school.example']\nothers = 'nobody'\n"


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """``streamlit run app.py``, as containers do."""
    environment = {"TESSERA_OWNER_TOKEN": TOKEN, "TESSERA_HOSTED": "1"}
    server = AppServer(root, tmp_path_factory.mktemp("entrance") / "home", environment, streamlit=[])
    server.home.mkdir()
    server.start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def same_home(server: AppServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TESSERA_HOME", str(server.home))
    yield
    (server.home / "server.toml").unlink(missing_ok=True)


def _say(server: AppServer, text: str) -> None:
    (server.home / "server.toml").write_text(text)


def _enter(server: AppServer, code: str, path: str = "/", **headers: str) -> Answer:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return server.ask(path, PAGE | form | headers, "POST", urlencode({"code": code}).encode())


def _cookies(answer: Answer) -> str:
    return "; ".join(cookie.split(";")[0] for cookie in answer.headers.get_all("set-cookie", []))


# --------------------------------------------------------------------- a code


def test_without_the_code_nothing_is_given_and_with_it_the_link_leads_on(server: AppServer) -> None:
    _say(server, BY_CODE)
    for path in ("/", "/label?project=~0123", "/static/x.js", "/media/x.png", "/_stcore/host-config"):
        answer = server.ask(path, PAGE)
        assert (answer.status, answer.headers.get_all("set-cookie")) == (403, None)
    assert "people who have its code" in server.ask("/", PAGE).text
    assert "<form" not in server.ask("/media/x.png").text
    # Else a browser sends "Origin: null" with the form, which another page's form does as well.
    assert server.ask("/", PAGE).headers["referrer-policy"] == "same-origin"
    with pytest.raises(InvalidStatus):
        Visitor(server, cookie="tessera_visitor=" + "x" * 43)
    wrong = _enter(server, "heron-lake-43")
    assert (wrong.status, "not the code" in wrong.text, wrong.headers.get_all("set-cookie")) == (403, True, None)
    right = _enter(server, f" {CODE} ", "/label?project=~0123")
    assert (right.status, right.headers["location"]) == (303, "./label?project=~0123")
    key = _cookies(right)
    assert CODE not in key
    assert "HttpOnly" in str(right.headers["set-cookie"])
    page = server.ask("/", PAGE | {"Cookie": key})
    assert page.status == 200
    with Visitor(server, f"{key}; {_cookies(page)}") as learner:
        assert "Try the demo region" in learner.look()
    assert [(event["what"], event["role"]) for event in audit.events()][:2] == [
        ("came in", "learner"),
        ("a wrong code", "visitor"),
    ]
    # A new code makes the old cookie worthless.
    _say(server, BY_CODE.replace("42", "44"))
    assert server.ask("/", PAGE | {"Cookie": key}).status == 403


def test_another_page_cannot_enter_a_code(server: AppServer) -> None:
    _say(server, BY_CODE)
    assert _enter(server, CODE, Origin="https://evil.example").status == 403
    assert _enter(server, CODE, Origin=server.url).status == 303


def test_tries_are_counted_for_each_address_and_for_all_and_forgotten() -> None:
    throttle = Throttle(each=2, of_all=3)
    for address in ("a", "a", "b"):
        assert not throttle.refuses("b")
        throttle.wrong(address)
    assert throttle.refuses("a")
    assert throttle.refuses("c")
    throttle.seconds = 0
    assert not throttle.refuses("a")


# ------------------------------------------------------------- a proxy in front


def test_a_trusted_proxy_names_people_and_they_are_found_again(server: AppServer) -> None:
    _say(server, BY_PROXY)
    header = "X-Forwarded-Email"
    assert server.ask("/", PAGE).status == 403
    assert server.ask("/", PAGE | {header: "tess@school.example"}).status == 200
    assert server.ask("/", PAGE | {header: "eve@elsewhere.example"}).status == 403
    for forwarded in ({}, {"X-Forwarded-For": "203.0.113.9"}):
        with Visitor(server, "", **{header: "Tess@School.example"}, **forwarded) as teacher:
            assert "Try the demo region" in teacher.look()
    came = [event for event in audit.events() if event["what"] == "came in"][:2]
    assert [(event["who"], event["role"], event["how"]) for event in came] == [
        ("Tess@School.example", "teacher", "proxy")
    ] * 2


@pytest.mark.parametrize("forwarded", [{}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "192.0.2.1"}])
def test_a_forged_header_names_nobody(forwarded: dict[str, str], server: AppServer) -> None:
    """The connection does not come from the proxy, whatever its headers say."""
    _say(server, BY_PROXY.replace("'proxy'", "'proxy'\nproxies = ['192.0.2.1']"))
    assert server.ask("/", PAGE | {"X-Forwarded-Email": "tess@school.example"} | forwarded).status == 403
    with pytest.raises(InvalidStatus):
        Visitor(server, "", **{"X-Forwarded-Email": "tess@school.example"}, **forwarded)


def test_a_header_given_twice_names_nobody(server: AppServer) -> None:
    _say(server, BY_PROXY)
    head = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n"
    with socket.create_connection(("localhost", server.port)) as connection:
        twice = "X-Forwarded-Email: tess@school.example\r\n" * 2
        connection.sendall(f"{head}{twice}\r\n".encode())
        assert b" 403 " in connection.recv(100)


def test_headers_of_our_own_are_nobodys_word(server: AppServer) -> None:
    own = {"X-Tessera-Role": "owner", "X-Tessera-Visitor": "somebody", "X-Tessera-How": "token"}
    with Visitor(server, None, **own) as visitor:
        visitor.look()
        assert "There is no page here" in visitor.look("server")
    assert next(iter(audit.events()))["role"] == "visitor"


# ------------------------------------------------------------------- the owner


def test_the_owners_token_opens_the_owners_page_and_leaves_the_address(server: AppServer) -> None:
    assert server.ask("/?owner=guessed", PAGE).status == 403
    answer = server.ask(f"/server?owner={TOKEN}", PAGE)
    assert (answer.status, answer.headers["location"]) == (303, "./server")
    key = _cookies(answer)
    assert TOKEN not in key
    with Visitor(server, key) as owner:
        owner.look()
        assert "Who is here" in owner.look("server")
    with Visitor(server, "tessera_owner=" + "0" * 64) as nobody:
        nobody.look()
        assert "Who is here" not in nobody.look("server")


def test_somebody_is_sent_away_by_the_owner_and_may_come_back(server: AppServer) -> None:
    watcher = Registry()
    with Visitor(server) as visitor:
        visitor.look()
        (process,) = eventually(lambda: [one for one in watcher.others() if len(one.seats) == 1])
        watcher.order(process.name, "let go", process.seats[0].name)
        # The server closes the connection, and the browser comes again for the same session.
        assert not visitor.wait(lambda _: False)
        with Visitor(server, visitor.cookie, visitor.session) as again:
            assert "The owner of this server gave your place to others. Everything you did is saved." in again.look()
            assert "Try the demo region" in again.click("Go on")


def test_a_word_to_everybody_and_the_time_that_work_is_announced_after_a_restart(server: AppServer) -> None:
    watcher = Registry()
    processes.put_notice("Down at noon <b>for ten minutes</b>")
    try:
        with Visitor(server) as visitor:
            assert "Down at noon" in visitor.look()
            (process,) = eventually(lambda: [one for one in watcher.others() if len(one.seats) == 1])
        processes.note_interrupted(process.seats[0].person, "Loading the fen")
        with Visitor(server, visitor.cookie) as again:
            assert "The server was restarted before this was done: **Loading the fen**" in again.look()
        with Visitor(server, visitor.cookie) as later:
            assert "Loading the fen" not in later.look()
    finally:
        processes.put_notice("")


# Last, because nobody may try after it.
def test_a_code_cannot_be_found_by_trying(server: AppServer) -> None:
    _say(server, BY_CODE)
    statuses = [_enter(server, f"guess-{number}").status for number in range(32)]
    assert statuses[0] == 403
    last = _enter(server, CODE)
    assert (last.status, last.headers["retry-after"], "Wait ten minutes" in last.text) == (429, "600", True)
