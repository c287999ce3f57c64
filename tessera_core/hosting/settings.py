"""What the owner of a server for many settled: who may come in, as what, and how much each may use.

One file, ``server.toml`` in TESSERA_HOME (or where ``TESSERA_SERVER_SETTINGS`` says), beside environment variables for what
containers set. The environment goes before the file, and what the file says of a role before both.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tessera_core._utils.paths import data_home
from tessera_core.errors import InputError, TesseraError
from tessera_core.hosting.people import ROLES, Role, matches

FILE_VARIABLE = "TESSERA_SERVER_SETTINGS"
CODE_VARIABLE = "TESSERA_ACCESS_CODE"
OWNERS_VARIABLE = "TESSERA_OWNERS"
OWNER_TOKEN_VARIABLE = "TESSERA_OWNER_TOKEN"
EMBEDDINGS_VARIABLE = "TESSERA_OFFER_EMBEDDINGS"
# What can be guessed by trying is no code.
MIN_CODE, MIN_TOKEN = 8, 24

Positive = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class Limits:
    """What a server for strangers grants; each can be set by the environment variable of its name, or in ``[limits]``.

    Attributes:
        people: how many may use the app at the same time (``TESSERA_MAX_PEOPLE``).
        tabs: how many tabs one of them may have open (``TESSERA_MAX_TABS``).
        uploads_mb: megabytes of uploaded files held in memory for one session (``TESSERA_MAX_UPLOADS_MB``).
        all_uploads_mb: the same for all sessions together (``TESSERA_MAX_ALL_UPLOADS_MB``).
        jobs: pieces of long work one visitor may have under way or waiting (``TESSERA_MAX_JOBS``).
        region_km2: how large a place one visitor may load (``TESSERA_MAX_REGION_KM2``).
        idle_minutes: how long a tab may be left alone before its place is given to others (``TESSERA_IDLE_MINUTES``).
        projects: how many projects one visitor may have (``TESSERA_MAX_PROJECTS``).
        all_projects: how many projects there may be (``TESSERA_MAX_ALL_PROJECTS``).
        project_mb: megabytes of one project's own data (``TESSERA_MAX_PROJECT_MB``).
        person_mb: megabytes of all projects of one visitor (``TESSERA_MAX_PERSON_MB``).
        disk_gb: gigabytes of all projects together (``TESSERA_MAX_DISK_GB``).
        keep_days: after how many days without use a project is removed (``TESSERA_KEEP_DAYS``).
        notice_days: how many days before that it is said (``TESSERA_NOTICE_DAYS``).
        drain_seconds: how long work may go on after the server was asked to stop (``TESSERA_DRAIN_SECONDS``).
    """

    people: int = 40
    tabs: int = 8
    uploads_mb: int = 600
    all_uploads_mb: int = 2000
    jobs: int = 3
    region_km2: int = 400
    idle_minutes: int = 60
    projects: int = 30
    all_projects: int = 2000
    project_mb: int = 2000
    person_mb: int = 5000
    disk_gb: int = 50
    keep_days: int = 90
    notice_days: int = 14
    drain_seconds: int = 60

    @classmethod
    def read(cls, role: Role | None = None) -> Limits:
        """As the file and the environment say.

        Args:
            role: whose; without one, what holds for the server and for people whose role has no limits of its own.

        Raises:
            InputError: a value is no positive whole number, or the file cannot be read.
        """
        given = settings().limits
        found = {name: value for name, value in given.items() if isinstance(value, int)}
        for field in fields(cls):
            name = variable_of(field.name)
            if text := os.environ.get(name, ""):
                if not text.isdecimal() or int(text) == 0:
                    raise InputError(f"{name} is {text!r}. Set it to a whole number above 0, or leave it out.")
                found[field.name] = int(text)
        of_role = given.get(role, {}) if role else {}
        return cls(**(found | of_role if isinstance(of_role, dict) else found))


# What is counted for the server as a whole and so cannot differ between people.
FOR_ALL = ("people", "all_uploads_mb", "all_projects", "disk_gb", "drain_seconds")
_PLAIN = ("idle_minutes", "keep_days", "notice_days", "drain_seconds")


def variable_of(limit: str) -> str:
    """The environment variable that sets a limit."""
    return "TESSERA_" + ("" if limit in _PLAIN else "MAX_") + limit.upper()


def _check(found: ServerSettings, path: Path) -> None:
    """Refuse what kinds alone do not show: unknown limits, those that a role cannot have, addresses that are none.

    Raises:
        InputError: with the line's name.
    """
    known = {field.name for field in fields(Limits)}

    def check(name: str, value: object, allowed: set[str], where: str) -> None:
        if name not in allowed:
            why = "counts for the server as a whole" if name in known else "is no limit"
            raise InputError(
                f"The server's settings in {path.name} are not right: {where}{name} {why}. Delete that line; the limits are "
                f"{', '.join(sorted(allowed))}."
            )
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(
                f"The server's settings in {path.name} are not right: {where}{name} is {value!r}. Set a whole number above 0."
            )

    for address in found.enter.proxies:
        try:
            ipaddress.ip_network(address, strict=False)
        except ValueError:
            raise InputError(
                f"The server's settings in {path.name} are not right: enter.proxies has {address!r}, which is no address. Write "
                "one such as 127.0.0.1, or a network such as 10.0.0.0/8."
            ) from None
    for name, value in found.limits.items():
        if name in ROLES and isinstance(value, dict):
            for one, its in value.items():
                check(one, its, known - set(FOR_ALL), f"limits.{name}.")
        else:
            check(name, value, known, "limits.")


class Enter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may come in.

    Attributes:
        by: ``"anyone"``; whoever knows the ``"code"``; whom a ``"proxy"`` in front names; or who has a ``"sign-in"`` at the
            provider in Streamlit's ``secrets.toml``.
        code: of at least eight characters.
        guests: whether those who have not signed in may use the app as well, as visitors.
        proxies: addresses or networks from which alone the proxy's word is taken.
        header: in which the proxy gives a person's e-mail address or user name.
        unproven_addresses: whether an address gives a role where the provider does not say whether it verified it.
    """

    by: Literal["anyone", "code", "proxy", "sign-in"] = "anyone"
    code: str = ""
    guests: bool = False
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    header: str = "X-Forwarded-Email"
    unproven_addresses: bool = False


class Roles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is what: e-mail addresses, user names, or whole domains (``@example.org``); the first that fits counts.

    Attributes:
        owner, teacher, learner: lists of such.
        others: what those are who sign in and are in no list; ``"nobody"`` keeps them out.
    """

    owner: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    learner: tuple[str, ...] = ()
    others: Literal["teacher", "learner", "visitor", "nobody"] = "visitor"


class Audit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written down of what people do.

    Attributes:
        keep_days: for how long.
        addresses: whether network addresses are written down as well.
    """

    keep_days: Positive = 90
    addresses: bool = False


class Offer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which parts of the app people have at all.

    Attributes:
        embeddings: making embeddings. A server for many only says where they can be made; in a hub, where each person has an
            app of their own, it takes hours of the computer's processors.
    """

    embeddings: bool = True


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file; ``limits`` has names of :class:`Limits`, and a table of them for each role that has its own."""

    enter: Enter = Enter()
    roles: Roles = Roles()
    limits: dict[str, Any] = {}
    audit: Audit = Audit()
    offer: Offer = Offer()


def settings() -> ServerSettings:
    """What the file and the environment say; read again when the file was changed.

    Raises:
        InputError: the file cannot be read, or says what makes no sense.
    """
    named = os.environ.get(FILE_VARIABLE, "")
    path = Path(named).expanduser() if named else data_home() / "server.toml"
    try:
        state = path.stat()
    except FileNotFoundError:
        if named:
            raise InputError(f"{FILE_VARIABLE} names {named}, and there is no such file.") from None
        found = ServerSettings()
    except OSError as error:
        raise InputError(f"The server's settings in {path.name} cannot be read: {error.strerror or error}.") from error
    else:
        found = _read(path, state.st_mtime_ns, state.st_size)
    if code := os.environ.get(CODE_VARIABLE, ""):
        found = msgspec.structs.replace(found, enter=msgspec.structs.replace(found.enter, by="code", code=code))
    if owners := os.environ.get(OWNERS_VARIABLE, ""):
        listed = tuple(one.strip() for one in owners.split(",") if one.strip())
        found = msgspec.structs.replace(
            found, roles=msgspec.structs.replace(found.roles, owner=found.roles.owner + listed)
        )
    if found.enter.by == "code" and len(found.enter.code) < MIN_CODE:
        raise InputError(
            f"The code to come in has {len(found.enter.code)} characters, which can be guessed. Choose one of at least {MIN_CODE}."
        )
    return found


@lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> ServerSettings:
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=ServerSettings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error).replace(" - at `$.", ", in `").replace("Object contains unknown field", "there is no setting")
        raise InputError(
            f"The server's settings in {path.name} are not right: {why}. Mend or delete that line."
        ) from error
    except OSError as error:
        raise InputError(f"The server's settings in {path.name} cannot be read: {error.strerror or error}.") from error
    _check(found, path)
    return found


def offers_embeddings() -> bool:
    """Whether people may make embeddings in the app; ``TESSERA_OFFER_EMBEDDINGS`` (1 or 0) goes before ``offer.embeddings``.

    Raises:
        InputError: the variable is neither, or as :func:`settings`.
    """
    text = os.environ.get(EMBEDDINGS_VARIABLE, "")
    if text not in ("", "0", "1"):
        raise InputError(f"{EMBEDDINGS_VARIABLE} is {text!r}. Set it to 0 or 1, or leave it out.")
    return text == "1" if text else settings().offer.embeddings


def require_embeddings_offer() -> None:
    """Refuse to make embeddings in the app where its owner does not offer it; the command line is the owner's own.

    Raises:
        TesseraError: it is not offered.
        InputError: as :func:`offers_embeddings`.
    """
    if not offers_embeddings():
        raise TesseraError(
            "Whoever runs Tessera Studio here does not offer making embeddings. Choose a place with published ones, or open a "
            "pack that was given out."
        )


def role_of(name: str) -> Role | None:
    """The role of somebody whom a provider or proxy has named, by e-mail address or user name; None keeps them out.

    Raises:
        InputError: as :func:`settings`.
    """
    roles = settings().roles
    listed: tuple[tuple[Role, tuple[str, ...]], ...] = (
        ("owner", roles.owner),
        ("teacher", roles.teacher),
        ("learner", roles.learner),
    )
    for role, names in listed:
        if matches(name, names):
            return role
    return None if roles.others == "nobody" else roles.others


def owner_token() -> str:
    """What makes a browser the owner's on a server for many, and opens its figures; empty where none was set.

    Raises:
        InputError: it could be guessed.
    """
    token = os.environ.get(OWNER_TOKEN_VARIABLE, "")
    if token and len(token) < MIN_TOKEN:
        raise InputError(
            f"{OWNER_TOKEN_VARIABLE} has {len(token)} characters, which can be guessed. Choose at least {MIN_TOKEN}."
        )
    return token
