"""Who uses this session: what the gate found out, or whom they signed in as.

The gate passes on what it knows in headers that it alone sets. Signing in is Streamlit's (``st.login``), which the gate does
not look into: it is asked here, so that there is one place that says who somebody is.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, cast, get_args
from urllib.parse import quote, unquote

import streamlit as st

from tessera_core.hosting import OWN, How, Person, hosted, role_of, server_secret, settings
from tessera_core.hosting.people import ROLES, Role

# Set by the gate in front of the app and by nobody else.
VISITOR_HEADER = "x-tessera-visitor"
_ROLE_HEADER = "x-tessera-role"
_NAME_HEADER = "x-tessera-name"
_HOW_HEADER = "x-tessera-how"
SEAT_HEADER = "x-tessera-seat"
_NEW_VISITOR = "tessera_visitor"


def named(what: str) -> str:
    """A person's key of what tells who they are; it cannot be turned back, so that it may lie in a project's files."""
    return hashlib.blake2b(what.encode(), key=server_secret(), person=b"visitor", digest_size=16).hexdigest()


def headers_of(person: Person) -> list[tuple[bytes, bytes]]:
    """What the gate tells the session."""
    told = {
        VISITOR_HEADER: person.key,
        _ROLE_HEADER: person.role,
        _NAME_HEADER: quote(person.name),
        _HOW_HEADER: person.how,
    }
    return [(name.encode(), value.encode()) for name, value in told.items() if value]


def came() -> Person:
    """Who the gate let in; where there is no gate, as in a test of a page, somebody new."""
    headers = st.context.headers
    role: Role = next((one for one in ROLES if one == headers.get(_ROLE_HEADER)), "visitor")
    how = headers.get(_HOW_HEADER, "browser")
    key = headers.get(VISITOR_HEADER) or str(st.session_state.setdefault(_NEW_VISITOR, secrets.token_hex(16)))
    return Person(
        key, role, unquote(headers.get(_NAME_HEADER, "")), cast(How, how if how in get_args(How) else "browser")
    )


def signed_in() -> Mapping[str, Any] | None:
    """What the provider said of whoever signed in here; None where nobody did, or where signing in is not how people come."""
    if not hosted() or settings().enter.by != "sign-in":
        return None
    told = st.user.to_dict()
    return told if told.get("is_logged_in") is True else None


def of_claims(told: Mapping[str, Any]) -> Person | None:
    """The person whom a provider described; None where the settings keep them out.

    Who they are is the provider's number for them, since an address may pass to somebody else. An address gives a role only
    where the provider says that it verified it, or says nothing of that and the settings take its word.
    """
    address = str(told.get("email") or "")
    verified = told.get("email_verified", settings().enter.unproven_addresses)
    proven = address if verified is True else ""
    role = role_of(proven)
    if role is None:
        return None
    known = f"{told.get('iss', '')}\n{told.get('sub') or address}"
    name = address or str(told.get("preferred_username") or told.get("name") or "")
    return Person(named(f"sign-in\n{known}"), role, name, "sign-in")


def person() -> Person:
    """Who uses this session; on one's own computer always its owner.

    The same in all tabs of one browser and after a restart of the server; who signed in is the same in every browser.
    Somebody who signed in and is kept out is a visitor without a key: nothing belongs to them.
    """
    if not hosted():
        return OWN
    let_in = came()
    told = signed_in()
    if told is None or let_in.how == "token":
        return let_in
    return of_claims(told) or Person(how="nobody")
