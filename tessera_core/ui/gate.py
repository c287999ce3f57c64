"""The gate in front of the app: who may come in, decided below Streamlit, before any page, upload or picture is touched.

On one's own computer it lets in the browser that was given the address with the token, and no other user, web page or proxy.
On a server for strangers it gives each visitor a name of their own and keeps them from what would hurt the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from functools import cache
from html import escape
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from streamlit import config, runtime
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from tessera_core._utils.atomic import atomic_path
from tessera_core._utils.paths import cache_home
from tessera_core.errors import InputError
from tessera_core.hosting import VARIABLE, hosted, server_secret
from tessera_core.ui import seats, sessions
from tessera_core.ui.state import SEAT_HEADER, VISITOR_HEADER

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_VARIABLE = "TESSERA_TOKEN"
_QUERY = "token"
_LOOPBACK_NAMES = ("localhost", "localhost.localdomain")
_PROXY_HEADERS = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
# What a page needs to send; the rest empties caches that others use, writes files, or tells about the server.
_MESSAGES = ("rerun_script", "stop_script", "app_heartbeat", "file_urls_request", "backend_operation_request")
_OPERATIONS = ("deferred_file", "dataframe_chunk")
_CHECK_IDLE_SECONDS = 20.0
_YEAR_SECONDS = 365 * 24 * 3600


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
        # Sessions whose place was given to others: they come back as new ones.
        self._let_go: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on to the app."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request = _Request(scope)
        if request.route == "/_stcore/health":
            await self._app(scope, receive, send)
        elif request.route.startswith("/_stcore/agent") or (decide() and request.route in _OWNERS_ROUTES):
            await _answer(scope, receive, send, 404, "Not found.")
        elif decide():
            await self._strangers(request, receive, send)
        else:
            await self._own(request, receive, send)

    async def _own(self, request: _Request, receive: Receive, send: Send) -> None:
        """One person's own computer: the token, then the cookie, and nobody from outside."""
        scope = request.scope
        if refusal := "" if owners_word() else _from_outside(request):
            await _answer(scope, receive, send, 403, refusal)
            return
        known = _same(request.cookies.get(_own_cookie_name(), ""), _own_cookie())
        asked = request.query.get(_QUERY) if scope["type"] == "http" else None
        if asked is not None and (known or _same(asked, token())):
            # The token does not stay in the address bar, the history or a copied link.
            cookie = _set_cookie(_own_cookie_name(), _own_cookie(), request)
            await _answer(scope, receive, send, 303, "", [(b"location", request.without(_QUERY)), cookie])
            return
        if not known:
            await _answer(scope, receive, send, 403, _NO_TOKEN)
        elif request.is_foreign_origin:
            await _answer(scope, receive, send, 403, "Another web page asked for this, so it was refused.")
        else:
            await self._let_in(request, "owner", receive, send)

    async def _strangers(self, request: _Request, receive: Receive, send: Send) -> None:
        """A server for many: each visitor has a name, made at the first page they see."""
        cookie = request.cookies.get(_VISITOR_COOKIE, "")
        if len(cookie) >= 32:
            await self._let_in(request, _named(cookie), receive, send)
            return
        if not request.is_page:
            await self._let_in(request, "", receive, send)
            return
        fresh = _set_cookie(_VISITOR_COOKIE, secrets.token_urlsafe(32), request, _YEAR_SECONDS)

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), fresh]
            await send(message)

        await self._let_in(request, "", receive, with_cookie)

    async def _let_in(self, request: _Request, visitor: str, receive: Receive, send: Send) -> None:
        if request.scope["type"] == "websocket":
            await self._websocket(request, visitor, receive, send)
        elif hosted() and request.method == "PUT" and request.route.startswith(_UPLOADS):
            await self._upload(request, receive, send)
        else:
            await self._app(request.scope, receive, send)

    # ------------------------------------------------------------- one browser tab

    async def _websocket(self, request: _Request, visitor: str, receive: Receive, send: Send) -> None:
        scope, seat = request.scope, None
        headers = [(name, value) for name, value in scope["headers"] if not name.lower().startswith(b"x-tessera-")]
        if visitor:
            headers.append((VISITOR_HEADER.encode(), visitor.encode()))
        if hosted():
            headers, away = self._back_as_new(headers)
            seat = seats.room().arrive(visitor or secrets.token_hex(16), away=away)
            if seat is None:
                await _answer(scope, receive, send, 503, "This server is full. Try again in a few minutes.")
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
                    self._let_go[tab.session] = time.monotonic()

    def _back_as_new(self, headers: list[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Take out the name of the session to resume where that session was let go of; whether it was."""
        long_ago = time.monotonic() - 24 * 3600
        self._let_go = {session: when for session, when in self._let_go.items() if when > long_ago}
        kept, away = [], False
        for name, value in headers:
            if name.lower() == b"sec-websocket-protocol":
                entries = value.split(b",")
                if len(entries) > 2 and entries[2].strip().decode("latin-1") in self._let_go:
                    away, value = True, b",".join(entries[:2])
            kept.append((name, value))
        return kept, away

    # --------------------------------------------------------------------- uploads

    async def _upload(self, request: _Request, receive: Receive, send: Send) -> None:
        """Count an upload while it comes in: a session, and all together, may hold only so much."""
        session = request.route[len(_UPLOADS) :].split("/")[0]
        most, most_of_all = seats.room().limits.uploads_mb * 2**20, seats.room().limits.all_uploads_mb * 2**20
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
                limits = seats.room().limits
                text = (
                    f"This server holds up to {limits.uploads_mb} MB of uploaded files for one tab, and {limits.all_uploads_mb} MB "
                    "for all people together. Remove a file, or try again in a few minutes."
                )
                await _answer(request.scope, receive, send, 413, text)
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
        self.let_go = False

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
            if seats.room().idle(self._seat):
                self.let_go = True
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


class _Request:
    """What the gate looks at in an ASGI scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method = str(scope.get("method", ""))
        base = "/" + str(config.get_option("server.baseUrlPath") or "").strip("/")
        path = str(scope["path"])
        self.route = path[len(base) :] if base != "/" and path.startswith(base + "/") else path
        self.query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        self.cookies = _cookies(value for name, value in scope["headers"] if name.lower() == b"cookie")

    def header(self, name: bytes) -> str:
        """A header's value, ``""`` without it."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key.lower() == name), "")

    @property
    def is_page(self) -> bool:
        """Whether a browser wants to show the answer as a page."""
        return self.method == "GET" and "text/html" in self.header(b"accept")

    @property
    def is_foreign_origin(self) -> bool:
        """Whether a page of another origin, be it another port of this computer, wants to change or to listen to something."""
        origin = self.header(b"origin")
        if not origin or (self.scope["type"] == "http" and self.method in ("GET", "HEAD", "OPTIONS")):
            return False
        return origin.partition("://")[2].lower() != self.header(b"host").lower()

    def without(self, name: str) -> bytes:
        """This address without a query parameter, relative so that it cannot lead to another server."""
        last = quote(str(self.scope["path"]).rsplit("/", 1)[-1])
        rest = urlencode([(key, value) for key, value in self.query.items() if key != name])
        return f"./{last}{'?' + rest if rest else ''}".encode("latin-1")


_UPLOADS = "/_stcore/upload_file/"
_OWNERS_ROUTES = ("/_stcore/metrics", "/_stcore/script-health-check")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::\d{1,5})?")
_VISITOR_COOKIE = "tessera_visitor"
_NO_TOKEN = (
    "Open the address that was printed where you started Tessera Studio: it carries a token that only you know. "
    "It looks like http://localhost:8501/?token=…"
)


def _from_outside(request: _Request) -> str:
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


def _same(given: str, known: str) -> bool:
    """Whether two texts are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), known.encode())


def _host_of(address: str) -> str:
    """The host name in ``name:port``; ``""`` where a browser could not have sent this."""
    found = _HOST.fullmatch(address)
    return found[1] if found else ""


def _cookies(values: Iterable[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        for part in value.decode("latin-1").split(";"):
            name, _, content = part.strip().partition("=")
            found[name] = content.strip('"')
    return found


def _named(cookie: str) -> str:
    """A visitor's name: it cannot be turned back into the cookie, so that it may lie in a project's files."""
    return hashlib.blake2b(cookie.encode(), key=server_secret(), person=b"visitor", digest_size=16).hexdigest()


@cache
def _own_cookie() -> str:
    return hashlib.blake2b(b"owner", key=server_secret(), person=b"cookie", digest_size=24).hexdigest()


@cache
def _own_cookie_name() -> str:
    # Cookies know no ports: two servers of one computer have each its own.
    return "tessera_" + hashlib.blake2b(server_secret(), person=b"name", digest_size=6).hexdigest()


def _set_cookie(name: str, value: str, request: _Request, seconds: int | None = None) -> tuple[bytes, bytes]:
    secure = request.scope.get("scheme") in ("https", "wss") or request.header(b"x-forwarded-proto") == "https"
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    parts += ["Secure"] if secure else []
    parts += [f"Max-Age={seconds}"] if seconds else []
    return b"set-cookie", "; ".join(parts).encode("latin-1")


def _held(session: str) -> tuple[int, int]:
    """Bytes of uploads held for a session, and for all."""
    manager = runtime.get_instance().uploaded_file_mgr
    if not isinstance(manager, MemoryUploadedFileManager):
        return 0, 0
    sizes = {
        name: sum(len(file.data) for file in list(files.values())) for name, files in list(manager.file_storage.items())
    }
    return sizes.get(session, 0), sum(sizes.values())


async def _answer(
    scope: Scope, receive: Receive, send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """One plain page with one sentence; a websocket is closed before it opens."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
        return
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Tessera Studio</title>'
        '<body style="font: 1.1rem/1.6 system-ui, sans-serif; max-width: 38rem; margin: 15vh auto; padding: 0 1rem">'
        f"<h1 style='font-size: 1.4rem'>Tessera Studio</h1><p>{escape(text)}</p></body></html>"
    ).encode()
    kind = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-length", str(len(page)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": page})


# ------------------------------------------------------------------------- the start


def check_settings() -> None:
    """End the program with a sentence where the environment sets a limit that is no number."""
    try:
        seats.room()
    except InputError as error:
        raise SystemExit(str(error)) from None


@asynccontextmanager
async def lifespan(app: object) -> AsyncIterator[None]:
    """From the start of the server to its end: say where it is, and open the owner's browser."""
    strangers = decide()
    sessions.serve(asyncio.get_running_loop())
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
        yield
        return
    sys.stderr.write(f"Tessera Studio is at {address}?token={token()} - stop it with Ctrl-C.\n")
    sys.stderr.flush()
    page = redirect_page(f"{address}?token={token()}", port) if not config.get_option("server.headless") else None
    try:
        if page is not None:
            import webbrowser

            # In a thread, because some browsers keep whoever opens them waiting.
            opening = threading.Timer(1.0, webbrowser.open, [page.as_uri()])
            opening.daemon = True
            opening.start()
        yield
    finally:
        if page is not None:
            page.unlink(missing_ok=True)


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
