"""Who looks: a visit as a :class:`Person` with a role, and what each role may do, in one table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["owner", "teacher", "learner", "visitor"]
How = Literal["computer", "token", "sign-in", "proxy", "code", "browser", "nobody"]
Action = Literal["make maps", "make classes", "see the server", "run the server"]

ROLES: tuple[Role, ...] = get_args(Role)
_EVERYONE = frozenset(ROLES)
# Whatever a role is asked for, the answer is here and nowhere else; docs/howto/server.md shows it.
MAY: Mapping[Action, frozenset[Role]] = {
    "make maps": _EVERYONE,
    "make classes": frozenset({"owner", "teacher"}),
    "see the server": frozenset({"owner"}),
    "run the server": frozenset({"owner"}),
}


@dataclass(frozen=True)
class Person:
    """Somebody who uses the app.

    Attributes:
        key: names them where their projects, seats and work are kept; cannot be guessed nor turned back. Empty for nobody.
        role: what they may do (:func:`may`) and how much (:class:`tessera_core.hosting.Limits`).
        name: as their provider or proxy gave it; empty where nobody gave one.
        how: what told who they are.
    """

    key: str = ""
    role: Role = "visitor"
    name: str = ""
    how: How = "browser"

    @property
    def called(self) -> str:
        """How they are called on the owner's page and in the audit log: by the name that was given, else by a number."""
        if self.name or self.how == "computer":
            return self.name or "owner"
        return f"{self.role} {hashlib.blake2b(self.key.encode(), digest_size=4).hexdigest()}"


OWN = Person("owner", "owner", how="computer")
"""Whoever sits at this computer, where the app serves nobody else."""


def may(person: Person, action: Action) -> bool:
    """Whether somebody may do something; nobody may do what the table does not name.

    >>> may(Person("ada", "teacher"), "make classes"), may(Person("bo", "learner"), "see the server")
    (True, False)
    """
    return person.role in MAY.get(action, frozenset())


def matches(name: str, listed: tuple[str, ...]) -> bool:
    """Whether an e-mail address or user name is in a list of such and of domains (``@example.org``), whatever the case.

    >>> matches("Ada@Example.org", ("@example.org",)), matches("ada@evil-example.org", ("@example.org",))
    (True, False)
    """
    name = name.strip().lower()
    if not name:
        return False
    domain = "@" + name.rpartition("@")[2] if "@" in name else ""
    return any(one in (name, domain) for one in (entry.strip().lower() for entry in listed) if one)
