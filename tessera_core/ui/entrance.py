"""The entrance of a server for many: who a request comes from, and the form that asks for the code.

What is decided here is decided below Streamlit, before any page; whoever is to sign in is let through to the page that asks
them to (:mod:`tessera_core.ui.people`).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qs

from tessera_core.hosting import Person, audit, owner_token, role_of, server_secret, settings
from tessera_core.language import later, t
from tessera_core.ui.asgi import Receive, Request, Send, answer, body_of, is_among, peer, same, set_cookie
from tessera_core.ui.people import named

OWNER_QUERY = "owner"
_VISITOR_COOKIE = "tessera_visitor"
_CODE_COOKIE = "tessera_code"
_OWNER_COOKIE = "tessera_owner"
_YEAR_SECONDS, _MONTH_SECONDS = 365 * 24 * 3600, 30 * 24 * 3600
_ASK = later("This server is for people who have its code. Ask whoever gave you this address.")
_WRONG = later("That is not the code. Look again at what you were given; capital and small letters count.")
_OFTEN = later("Too many tries. Wait ten minutes, then try again.")
_NO_PROXY = later(
    "This server lets in those whom its own front door has signed in. Open it by the address that "
    "you were given, not by this one."
)
_KEPT_OUT = later("You are signed in, and this server is not open to you. Ask its owner.")


@dataclass
class Throttle:
    """Counts wrong tries, so that a code cannot be found by trying.

    Args:
        each: tries of one address in a while; a school may be one address.
        of_all: tries of all in a while.
        seconds: how long a while is.
    """

    each: int = 30
    of_all: int = 300
    seconds: float = 600.0
    _wrong: list[tuple[float, str]] = field(default_factory=list)

    def refuses(self, address: str) -> bool:
        """Whether this address has to wait."""
        long_ago = time.monotonic() - self.seconds
        self._wrong = [one for one in self._wrong if one[0] > long_ago]
        return len(self._wrong) >= self.of_all or sum(one[1] == address for one in self._wrong) >= self.each

    def wrong(self, address: str) -> None:
        """Somebody tried and was wrong."""
        self._wrong.append((time.monotonic(), address))


class Entrance:
    """Tells who a request comes from, or answers it itself."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    async def admit(
        self, request: Request, receive: Receive, send: Send
    ) -> tuple[Person, tuple[bytes, bytes] | None] | None:
        """The person who comes, and the cookie they are to be given if any; None when the request was answered here.

        A person without a key is somebody whom the next page will give one.
        """
        address = _address(request)
        token = owner_token()
        if token and (given := request.query.get(OWNER_QUERY)) is not None and request.scope["type"] == "http":
            if self._throttle.refuses(address):
                await answer(request.scope, receive, send, 429, _OFTEN, [(b"retry-after", b"600")])
            elif same(given, token):
                audit.note("the owner came in by the token", Person(role="owner", how="token"), address)
                cookie = set_cookie(_OWNER_COOKIE, _sealed(token, b"owner"), request, _MONTH_SECONDS)
                await answer(
                    request.scope, receive, send, 303, "", [(b"location", request.without(OWNER_QUERY)), cookie]
                )
            else:
                self._throttle.wrong(address)
                audit.note("a wrong owner's token", Person(), address)
                await answer(request.scope, receive, send, 403, later("That is not the token of this server's owner."))
            return None
        if token and same(request.cookies.get(_OWNER_COOKIE, ""), _sealed(token, b"owner")):
            return Person(named("token"), "owner", "", "token"), None
        enter = settings().enter
        if enter.by == "proxy":
            told = _told_by_proxy(request, receive, enter.header, enter.proxies)
            if told:
                role = role_of(told)
                if role is None:
                    await answer(request.scope, receive, send, 403, _KEPT_OUT)
                    return None
                return Person(named(f"proxy\n{told.strip().lower()}"), role, told.strip(), "proxy"), None
            if not enter.guests:
                await answer(request.scope, receive, send, 403, _NO_PROXY)
                return None
        if enter.by == "code" and not same(request.cookies.get(_CODE_COOKIE, ""), _sealed(enter.code, b"code")):
            await self._ask(request, address, enter.code, receive, send)
            return None
        person = _by_cookie(request)
        if enter.by == "code":
            person = Person(person.key, "learner", how="code")
        if person.key or not request.is_page:
            return person, None
        return person, set_cookie(_VISITOR_COOKIE, secrets.token_urlsafe(32), request, _YEAR_SECONDS)

    async def _ask(self, request: Request, address: str, code: str, receive: Receive, send: Send) -> None:
        """The form, or what was entered in it: it is sent to the very address that was asked for, so that links lead on."""
        scope = request.scope
        if scope["type"] != "http" or not (request.is_page or request.method == "POST"):
            await answer(scope, receive, send, 403, _ASK)
        elif request.method != "POST":
            await answer(scope, receive, send, 403, _ASK, form=_form())
        elif request.is_foreign_origin:
            await answer(scope, receive, send, 403, later("Another web page asked for this, so it was refused."))
        elif self._throttle.refuses(address):
            await answer(scope, receive, send, 429, _ASK, [(b"retry-after", b"600")], _form(_OFTEN))
        else:
            body = await body_of(receive, 4096) or b""
            given = parse_qs(body.decode("utf-8", "replace")).get("code", [""])[0].strip()
            if same(given, code):
                cookie = set_cookie(_CODE_COOKIE, _sealed(code, b"code"), request, _MONTH_SECONDS)
                await answer(scope, receive, send, 303, "", [(b"location", request.without("")), cookie])
                return
            self._throttle.wrong(address)
            audit.note("a wrong code", Person(), address)
            await answer(scope, receive, send, 403, _ASK, form=_form(_WRONG))


def is_owner(request: Request) -> bool:
    """Whether a program shows the owner's token (``Authorization: Bearer``), as those that collect figures do."""
    token = owner_token()
    kind, _, given = request.header(b"authorization").partition(" ")
    return bool(token) and kind.lower() == "bearer" and same(given.strip(), token)


def _form(said: str = "") -> str:
    alert = f'<p class="said" role="alert">{t(said)}</p>' if said else ""
    return (
        f'{alert}<form method="post"><label for="code">{t("Code")}</label>'
        '<input id="code" name="code" type="password" required autofocus autocomplete="current-password" maxlength="200">'
        f"<button>{t('Come in')}</button></form>"
    )


def _told_by_proxy(request: Request, receive: Receive, header: str, proxies: tuple[str, ...]) -> str:
    """The name that the proxy in front gives; from any other address the header is nobody's word."""
    if not is_among(peer(receive), proxies):
        return ""
    given = [value for name, value in request.scope["headers"] if name.lower() == header.lower().encode("latin-1")]
    # Two of them: one is not the proxy's.
    return given[0].decode("utf-8", "replace") if len(given) == 1 else ""


def _by_cookie(request: Request) -> Person:
    cookie = request.cookies.get(_VISITOR_COOKIE, "")
    return Person(named(cookie) if len(cookie) >= 32 else "")


def _address(request: Request) -> str:
    client = request.scope.get("client")
    return str(client[0]) if client else ""


@cache
def _sealed(secret: str, what: bytes) -> str:
    """A cookie that proves somebody knew the code or token; another one makes it worthless."""
    return hmac.new(server_secret(), what + b"\n" + secret.encode(), hashlib.sha256).hexdigest()
