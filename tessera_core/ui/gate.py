"""The gate in front of the app: who may come in, decided below Streamlit, before any page, upload or picture is touched.

On one's own computer it lets in the browser that was given the address with the token, and no other user, web page or proxy.
On a server for strangers it gives each visitor a name of their own and keeps them from what would hurt the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import cache
from html import escape
from importlib.util import find_spec
from pathlib import Path, PurePath
from types import FrameType
from typing import Literal
from urllib.parse import unquote, urlsplit

from streamlit import config, runtime
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.heap import give_back
from tessera_core._utils.later import permit
from tessera_core._utils.paths import cache_home
from tessera_core.errors import InputError, TesseraError
from tessera_core.hosting import OWN, VARIABLE, Person, hosted, offers_embeddings, owner_token, server_secret, settings
from tessera_core.language import best, using
from tessera_core.project.imagery import TILES_ROUTE, served_tile
from tessera_core.ui import browser_cache, early, keeper, replies, scripts, seats, sessions
from tessera_core.ui.asgi import (
    LANGUAGE_COOKIE,
    App,
    Message,
    Receive,
    Request,
    Scope,
    Send,
    answer,
    plain,
    same,
    set_cookie,
)
from tessera_core.ui.entrance import Entrance, is_owner
from tessera_core.ui.hub import KEY_HEADER, KEY_VARIABLE
from tessera_core.ui.people import SEAT_HEADER, headers_of

TOKEN_VARIABLE = "TESSERA_TOKEN"
_QUERY = "token"
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain")
_PROXY_HEADERS = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
# What a page needs to send; the rest empties caches that others use, writes files, or tells about the server.
_MESSAGES = ("rerun_script", "stop_script", "app_heartbeat", "file_urls_request", "backend_operation_request")
_OPERATIONS = ("deferred_file", "dataframe_chunk")
_CHECK_IDLE_SECONDS = 5.0


class _TooMuch(Exception):
    """An upload goes beyond what a session, or the server, may hold."""


@cache
def owners_word() -> bool:
    """Whether the person who started the server said ``TESSERA_HOSTED=0``; asked before :func:`decide` may set it."""
    return os.environ.get(VARIABLE) == "0"


@cache
def decide() -> bool:
    """Settle, once and before any page is shown, whether this server is one for strangers; True if it is.

    Without a word of the owner it is one unless it listens on this computer's own address only. Streamlit listens on all
    addresses unless told otherwise.
    """
    if not owners_word() and not hosted() and not is_loopback(str(config.get_option("server.address") or "")):
        os.environ[VARIABLE] = "1"
    return hosted()


@cache
def token() -> str:
    """What opens this computer's own app: ``TESSERA_TOKEN``, else made anew at every start."""
    return os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, is of this computer only."""
    host = host.strip("[]").lower().rstrip(".")
    if host in _LOOPBACK_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


class Gate:
    """ASGI middleware around the whole app; see the module."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._arriving: dict[str, int] = {}
        self._entrance = Entrance()
        self._scripts = scripts.Kept()
        # Sessions whose place was given to others: they come back as new ones.
        self._let_go: dict[str, tuple[float, Literal["away", "sent away"]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on to the app."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        with using(best(request.header(b"accept-language"), request.cookies.get(LANGUAGE_COOKIE, ""))):
            await self._answer(request, receive, send)

    async def _answer(self, request: Request, receive: Receive, send: Send) -> None:
        scope = request.scope
        if request.route == "/_stcore/health":
            if keeper.draining():
                # Whoever shares out visitors sends no more of them here.
                await plain(send, 503, "draining", [_SOON])
            else:
                await self._app(scope, receive, send)
        elif request.route == _FIGURES and decide() and is_owner(request):
            await plain(send, 200, await asyncio.to_thread(keeper.figures))
        elif request.route.startswith("/_stcore/agent") or (decide() and request.route in _OWNERS_ROUTES):
            await answer(scope, receive, send, 404, "Not found.")
        elif refusal := _from_beside_the_hub(request):
            await answer(scope, receive, send, 403, refusal)
        elif decide():
            await self._strangers(request, receive, send)
        else:
            await self._own(request, receive, send)

    async def _own(self, request: Request, receive: Receive, send: Send) -> None:
        """One person's own computer: the token, then the cookie, and nobody from outside."""
        scope = request.scope
        if os.environ.get(KEY_VARIABLE):
            # The hub knows its user; a cookie for the whole host would reach the servers of others on it.
            if request.is_foreign_origin:
                await answer(scope, receive, send, 403, _FOREIGN)
            else:
                await self._let_in(request, OWN, receive, send)
            return
        if refusal := "" if owners_word() else _from_outside(request):
            await answer(scope, receive, send, 403, refusal)
            return
        known = same(request.cookies.get(_own_cookie_name(), ""), _own_cookie())
        asked = request.query.get(_QUERY) if scope["type"] == "http" else None
        if asked is not None and (known or same(asked, token())):
            # The token does not stay in the address bar, the history or a copied link.
            cookie = set_cookie(_own_cookie_name(), _own_cookie(), request)
            await answer(scope, receive, send, 303, "", [(b"location", request.without(_QUERY)), cookie])
            return
        if not known:
            await answer(scope, receive, send, 403, _NO_TOKEN)
        elif request.is_foreign_origin:
            await answer(scope, receive, send, 403, _FOREIGN)
        else:
            await self._let_in(request, OWN, receive, send)

    async def _strangers(self, request: Request, receive: Receive, send: Send) -> None:
        """A server for many: each has a name, given at the first page they see unless somebody else names them."""
        if keeper.draining() and (request.is_page or request.scope["type"] == "websocket"):
            await answer(request.scope, receive, send, 503, _RESTARTS, [_SOON])
            return
        admitted = await self._entrance.admit(request, receive, send)
        if admitted is None:
            return
        person, cookie = admitted

        async def with_cookie(message: Message) -> None:
            if cookie is not None and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), cookie]
            await send(message)

        await self._let_in(request, person, receive, send if cookie is None else with_cookie)

    async def _let_in(self, request: Request, person: Person, receive: Receive, send: Send) -> None:
        if request.scope["type"] == "websocket":
            await self._websocket(request, person, receive, send)
        elif hosted() and request.method == "PUT" and request.route.startswith(_UPLOADS):
            await self._upload(request, receive, send)
        elif request.route.startswith(f"{TILES_ROUTE}/"):
            await _picture(request, send)
        elif (packed := self._scripts.find(request)) is not None:
            await scripts.send(packed, request.route, send)
        else:
            await self._app(request.scope, receive, send)

    # ------------------------------------------------------------- one browser tab

    async def _websocket(self, request: Request, person: Person, receive: Receive, send: Send) -> None:
        scope, seat = request.scope, None
        headers = [(name, value) for name, value in scope["headers"] if not name.lower().startswith(b"x-tessera-")]
        if person.key:
            headers += headers_of(person)
        if hosted():
            headers, away = self._back_as_new(headers)
            seat = seats.room().arrive(person if person.key else Person(secrets.token_hex(16)), away=away)
            if seat is None:
                await answer(scope, receive, send, 503, "This server is full. Try again in a few minutes.", [_SOON])
                return
            headers.append((SEAT_HEADER.encode(), seat.encode()))
        scope["headers"] = headers
        tab = _Tab(seat, receive, send)
        try:
            await self._app(scope, tab.receive, tab.send)
        finally:
            if seat is not None:
                seats.room().leave(seat)
                if tab.let_go and tab.session:
                    self._let_go[tab.session] = time.monotonic(), tab.let_go

    def _back_as_new(
        self, headers: list[tuple[bytes, bytes]]
    ) -> tuple[list[tuple[bytes, bytes]], Literal["", "away", "sent away"]]:
        """Take out the name of the session to resume where that session was let go of; why it was, empty where it was not."""
        long_ago = time.monotonic() - 24 * 3600
        self._let_go = {session: noted for session, noted in self._let_go.items() if noted[0] > long_ago}
        kept: list[tuple[bytes, bytes]] = []
        away: Literal["", "away", "sent away"] = ""
        for name, value in headers:
            if name.lower() == b"sec-websocket-protocol":
                entries = value.split(b",")
                known = self._let_go.get(entries[2].strip().decode("latin-1")) if len(entries) > 2 else None
                if known is not None:
                    away, value = known[1], b",".join(entries[:2])
            kept.append((name, value))
        return kept, away

    # --------------------------------------------------------------------- uploads

    async def _upload(self, request: Request, receive: Receive, send: Send) -> None:
        """Count an upload while it comes in: a session, and all together, may hold only so much."""
        session = request.route[len(_UPLOADS) :].split("/")[0]
        room = seats.room()
        sitting = room.sitting(session)
        limits = room.limits if sitting is None else room.granted(sitting)
        most, most_of_all = limits.uploads_mb * 2**20, room.limits.all_uploads_mb * 2**20
        came, more, answered = 0, True, False

        async def counted() -> Message:
            nonlocal came, more
            message = await receive()
            size = len(message.get("body", b""))
            came, more = came + size, message.get("more_body", False)
            self._arriving[session] = self._arriving.get(session, 0) + size
            held, held_by_all = _held(session)
            if held + self._arriving[session] > most or held_by_all + sum(self._arriving.values()) > most_of_all:
                raise _TooMuch
            return message

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            if int(request.header(b"content-length") or 0) > most:
                raise _TooMuch
            await self._app(request.scope, counted, watched)
        except _TooMuch:
            if not answered:
                # A browser reads an answer only after it has sent all.
                spare = int(config.get_option("server.maxUploadSize")) * 2**20
                while more and spare > 0:
                    message = await receive()
                    more = message.get("more_body", False)
                    spare -= len(message.get("body", b""))
                text = (
                    f"This server holds up to {limits.uploads_mb} MB of uploaded files for one tab, and "
                    f"{room.limits.all_uploads_mb} MB for all people together. Remove a file, or try again in a few minutes."
                )
                await answer(request.scope, receive, send, 413, text)
        finally:
            if left := self._arriving.pop(session, 0) - came:
                self._arriving[session] = left


class _Tab:
    """The two ways of one websocket: messages that no page needs are dropped, and it is noticed when nobody is there."""

    def __init__(self, seat: str | None, receive: Receive, send: Send) -> None:
        self._seat, self._receive, self._send = seat, receive, send
        self._waiting: asyncio.Task[Message] | None = None
        self._script = b""
        self.session = ""
        self.let_go: Literal["", "away", "sent away"] = ""

    async def receive(self) -> Message:
        """The next message that may pass."""
        while True:
            message = await self._next()
            data = message.get("bytes")
            if message["type"] != "websocket.receive" or data is None:
                return message
            back = BackMsg()
            try:
                back.ParseFromString(data)
            except Exception:  # noqa: BLE001  (protobuf has no public base class; Streamlit closes the connection)
                return message
            kind = back.WhichOneof("type")
            if kind not in _MESSAGES:
                continue
            if kind == "backend_operation_request" and (
                back.backend_operation_request.WhichOneof("payload") not in _OPERATIONS
            ):
                continue
            if self._seat is not None and kind == "rerun_script" and not back.rerun_script.is_auto_rerun:
                seats.room().acted(self._seat)
            return message

    async def _next(self) -> Message:
        if self._seat is None:
            return await self._receive()
        if self._waiting is None:
            self._waiting = asyncio.ensure_future(self._receive())
        while True:
            done, _ = await asyncio.wait({self._waiting}, timeout=_CHECK_IDLE_SECONDS)
            if done:
                message, self._waiting = self._waiting.result(), None
                return message
            if why := seats.room().ended(self._seat):
                self.let_go = why
                self._waiting.cancel()
                await self._send({"type": "websocket.close", "code": 1001})
                return {"type": "websocket.disconnect", "code": 1001}

    async def send(self, message: Message) -> None:
        """Pass on, noting which session this is; strangers are not told where the app's script lies."""
        data = message.get("bytes")
        if self._seat is not None and data and (not self._script or self._script in data):
            forward = ForwardMsg.FromString(data)
            if script := forward.new_session.main_script_path:
                self._script = script.encode()
                self.session = forward.new_session.initialize.session_id
                forward.new_session.main_script_path = PurePath(script).name
                message["bytes"] = forward.SerializeToString()
        await self._send(message)


_FIGURES = "/metrics"
_SOON = (b"retry-after", b"30")
_RESTARTS = "This server is being restarted. Everything that was done here is saved. Come back in a minute."
_UPLOADS = "/_stcore/upload_file/"
_OWNERS_ROUTES = ("/_stcore/metrics", "/_stcore/script-health-check")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::\d{1,5})?")
_FOREIGN = "Another web page asked for this, so it was refused."
_NO_TOKEN = (
    "Open the address that was printed where you started Tessera Studio: it carries a token that only you know. "
    "It looks like http://localhost:8501/?token=…"
)


async def _picture(request: Request, send: Send) -> None:
    """A tile of a picture that lies in a project's folder: whoever can open the project by its link sees its pictures."""
    try:
        found = await asyncio.to_thread(served_tile, unquote(request.route[len(TILES_ROUTE) + 1 :]))
    except TesseraError:
        found = None
    if found is None:
        await plain(send, 404, "No picture there.")
        return
    kind = [
        (b"content-type", b"image/png"),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"private, max-age=3600"),
        (b"content-length", str(len(found)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": kind})
    await send({"type": "http.response.body", "body": found})


def _from_beside_the_hub(request: Request) -> str:
    """Why a request did not come through the JupyterHub that started this; ``""`` when it did, or there is none."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key or same(request.header(KEY_HEADER.lower().encode()), key):
        return ""
    return "This Tessera Studio belongs to a person of a JupyterHub, and opens there only."


def _from_outside(request: Request) -> str:
    """Why a request cannot be from a browser of this computer; ``""`` when it can."""
    client = request.scope.get("client")
    host = _host_of(request.header(b"host"))
    names = {str(config.get_option(option)).lower() for option in ("browser.serverAddress", "server.address")}
    proxied = any(name.lower() in _PROXY_HEADERS for name, _ in request.scope["headers"])
    if proxied or (client is not None and not is_loopback(client[0])) or not (is_loopback(host) or host in names):
        return (
            "This Tessera Studio was started for one person, in a browser of the same computer, and this page was asked for "
            "in another way. Whoever started it can let others in: TESSERA_HOSTED=1 before the start serves "
            "everyone, each with their own projects; TESSERA_HOSTED=0 serves those who have the address with the token."
        )
    return ""


def _host_of(address: str) -> str:
    """The host name in ``name:port``; ``""`` where a browser could not have sent this."""
    found = _HOST.fullmatch(address)
    return found[1] if found else ""


@cache
def _own_cookie() -> str:
    return hashlib.blake2b(b"owner", key=server_secret(), person=b"cookie", digest_size=24).hexdigest()


@cache
def _own_cookie_name() -> str:
    # Cookies know no ports: two servers of one computer have each its own.
    return "tessera_" + hashlib.blake2b(server_secret(), person=b"name", digest_size=6).hexdigest()


def _held(session: str) -> tuple[int, int]:
    """Bytes of uploads held for a session, and for all."""
    manager = runtime.get_instance().uploaded_file_mgr
    if not isinstance(manager, MemoryUploadedFileManager):
        return 0, 0
    sizes = {
        name: sum(len(file.data) for file in list(files.values())) for name, files in list(manager.file_storage.items())
    }
    return sizes.get(session, 0), sum(sizes.values())


# ------------------------------------------------------------------------- the start


def check_settings() -> None:
    """End the program with a sentence where the environment or the settings make no sense, or signing in cannot work."""
    try:
        seats.room()
        owner_token()
        offers_embeddings()
        if settings().enter.by == "sign-in" and find_spec("authlib") is None:
            raise InputError("Signing in needs a package that is not installed: pip install 'Authlib>=1.3.2'.")
    except InputError as error:
        raise SystemExit(str(error)) from None


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """From the start of the server to its end: say where it is, and open the owner's browser."""
    give_back()
    permit("plotly")
    early.begin()
    strangers = decide()
    sessions.serve(asyncio.get_running_loop())
    replies.keep()
    browser_cache.keep()
    port = config.get_option("server.port")
    host = str(config.get_option("server.address") or "localhost")
    host = f"[{host}]" if ":" in host else host
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    address = f"http://{host}:{port}/{base + '/' if base else ''}"
    if strangers:
        sys.stderr.write(
            f"Tessera Studio serves everyone who can reach {address} - visitors see their own projects only, and no folder "
            "of this computer. For yourself alone start it with: tessera app. Stop it with Ctrl-C.\n"
        )
        end = keeper.start(_drain_when_asked(asyncio.get_running_loop()))
        try:
            yield
        finally:
            await asyncio.to_thread(end)
        return
    if os.environ.get(KEY_VARIABLE):
        sys.stderr.write("Tessera Studio is open to the person whom the JupyterHub lets in.\n")
        yield
        return
    # Whoever listens on all addresses opens one of them.
    address = address.replace("//0.0.0.0:", "//localhost:").replace("//[::]:", "//localhost:")
    sys.stderr.write(f"Tessera Studio is at {address}?token={token()} - stop it with Ctrl-C.\n")
    sys.stderr.flush()
    page = redirect_page(f"{address}?token={token()}", port) if not config.get_option("server.headless") else None
    try:
        if page is not None:
            # In a thread, because some browsers keep whoever opens them waiting.
            threading.Thread(
                target=open_when_ready, args=(page.as_uri(), address), name="open-page", daemon=True
            ).start()
        yield
    finally:
        if page is not None:
            page.unlink(missing_ok=True)


def _drain_when_asked(loop: asyncio.AbstractEventLoop) -> Callable[[], None]:
    """Let the signal that asks the server to stop drain it first, a second one stop it at once; returns what stops it."""
    before = signal.getsignal(signal.SIGTERM)
    # The web server's own handler; stopping it in this way is no failure, so that the program ends with 0.
    server = getattr(before, "__self__", None)

    def leave() -> None:
        if hasattr(server, "should_exit"):
            loop.call_soon_threadsafe(setattr, server, "should_exit", True)
        else:
            signal.raise_signal(signal.SIGINT)

    def asked(number: int, frame: FrameType | None) -> None:
        if not keeper.draining():
            keeper.drain()
        elif callable(before):
            before(number, frame)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, asked)
    return leave


def open_when_ready(page: str, address: str) -> None:
    """Open a page in the owner's browser as soon as something listens at an address, or after half a minute all the same."""
    import webbrowser

    place = urlsplit(address)
    for _ in range(600):
        with suppress(OSError), socket.create_connection((place.hostname or "localhost", place.port or 80), timeout=1):
            break
        time.sleep(0.05)
    webbrowser.open(page)


def redirect_page(address: str, port: int) -> Path:
    """A page, readable by this user only, that leads to the address: a browser's command line is readable by everyone."""
    path = cache_home() / f"open-{port}.html"
    with atomic_path(path) as part:
        part.touch(0o600)
        part.write_text(
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={escape(address)}">'
            f'<a href="{escape(address)}">Tessera Studio</a>',
            encoding="utf-8",
        )
    return path
