"""What passes between a browser and the gate: requests, cookies, and the one plain page that the gate itself shows."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from html import escape
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from streamlit import config

from tessera_core.language import current, t

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
# What a person chose to be spoken to in; also set by the page itself.
LANGUAGE_COOKIE = "tessera_language"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1.25rem;
  background: light-dark(#fff, #101716); color: light-dark(#1c2526, #e8efee); }
h1 { font-size: 1.4rem; }
form { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1.2rem; }
label { flex-basis: 100%; font-weight: 600; }
input { flex: 1 1 14rem; font: inherit; padding: .55rem .7rem; border: 1px solid light-dark(#8a9a98, #6f807e); border-radius: .5rem;
  background: transparent; color: inherit; min-width: 0; }
button { font: inherit; font-weight: 600; padding: .55rem 1.2rem; border: 0; border-radius: .5rem; color: #fff;
  background: #0b7a75; }
input:focus-visible, button:focus-visible { outline: 3px solid #59c9c1; outline-offset: 2px; }
.said { color: light-dark(#a3221c, #ff9d94); }
"""


class Request:
    """What the gate looks at in an ASGI scope."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method = str(scope.get("method", ""))
        base = "/" + str(config.get_option("server.baseUrlPath") or "").strip("/")
        path = str(scope["path"])
        self.route = path[len(base) :] if base != "/" and path.startswith(base + "/") else path
        self.query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        self.cookies = _read_cookies(value for name, value in scope["headers"] if name.lower() == b"cookie")

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


def same(given: str, known: str) -> bool:
    """Whether two texts are equal, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), known.encode())


def _read_cookies(values: Iterable[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        for part in value.decode("latin-1").split(";"):
            name, _, content = part.strip().partition("=")
            found[name] = content.strip('"')
    return found


def set_cookie(name: str, value: str, request: Request, seconds: int | None = None) -> tuple[bytes, bytes]:
    """A header that gives the browser a cookie which no script can read; for the session only without ``seconds``."""
    secure = request.scope.get("scheme") in ("https", "wss") or request.header(b"x-forwarded-proto") == "https"
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    parts += ["Secure"] if secure else []
    parts += [f"Max-Age={seconds}"] if seconds else []
    return b"set-cookie", "; ".join(parts).encode("latin-1")


async def answer(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    text: str,
    headers: Iterable[tuple[bytes, bytes]] = (),
    form: str = "",
) -> None:
    """One plain page with one sentence; a websocket is closed before it opens.

    Args:
        form: HTML to show below the sentence.
    """
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
        return
    page = (
        f'<!doctype html><html lang="{current()}"><meta charset="utf-8"><title>Tessera Studio</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><body><main><h1>Tessera Studio</h1><p>{escape(t(text))}</p>{form}</main></body></html>"
    ).encode()
    kind = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"cache-control", b"no-store"),
        # Without a referrer a browser does not say either which page a form is sent from.
        (b"referrer-policy", b"same-origin" if form else b"no-referrer"),
        (b"content-security-policy", _POLICY),
        (b"content-length", str(len(page)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": page})


async def plain(send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """An answer for programs."""
    body = text.encode()
    kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    kind.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive, most: int) -> bytes | None:
    """What a browser sent; None where it is more than ``most`` bytes or the browser has gone."""
    found, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        found += message.get("body", b"")
        more = message.get("more_body", False)
        if len(found) > most:
            return None
    return found


def peer(receive: Receive) -> str:
    """The address at the other end of the connection itself, whatever headers say; ``""`` where the server does not tell.

    ``scope["client"]`` will not do: uvicorn puts there what a proxy on this computer says, and any program on it is one.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    found = transport.get_extra_info("peername") if transport is not None else None
    return str(found[0]) if isinstance(found, tuple) else ""


def is_among(address: str, places: Iterable[str]) -> bool:
    """Whether an address is one of some addresses and networks; one that came over a socket of both kinds counts as IPv4."""
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    one = getattr(one, "ipv4_mapped", None) or one
    return any(one in ipaddress.ip_network(place, strict=False) for place in places)
