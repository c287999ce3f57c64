"""How many people use a server at once: each open tab asks for a seat, and a tab left alone gives its seat back.

Where several processes serve one home, people are counted over all of them.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from tessera_core.hosting import Limits, Person, Role
from tessera_core.hosting.processes import Process, Registry, Seated

Refusal = Literal["", "full", "tabs", "away", "sent away", "draining"]


@dataclass
class Seat:
    """One connected browser tab.

    Attributes:
        person: who it belongs to.
        taken: whether it counts among the people being served.
        away: why it has to be asked for again: it belongs to a tab whose seat was taken back; empty otherwise.
        seen: when the person last did something, in seconds of a monotonic clock.
        since: when they came, seconds since 1970.
        let_go: whether the owner of the server takes it back.
    """

    person: Person
    taken: bool = False
    away: Literal["", "away", "sent away"] = ""
    seen: float = field(default_factory=time.monotonic)
    since: float = field(default_factory=time.time)
    let_go: bool = False


class Seats:
    """The seats of one server; may be used from any thread.

    Args:
        limits: for the server as a whole, and for people whose role has none of its own.
        limits_of: of a role.
        registry: of the processes that serve this home together; None where this is the only one.
    """

    def __init__(
        self, limits: Limits, limits_of: Callable[[Role], Limits] | None = None, registry: Registry | None = None
    ) -> None:
        self.limits = limits
        self.registry = registry
        self.draining = False
        self._limits_of = limits_of
        self._seats: dict[str, Seat] = {}
        self._sessions: dict[str, str] = {}
        self._lock = threading.Lock()

    def granted(self, person: Person) -> Limits:
        """The limits of a person."""
        return self.limits if self._limits_of is None else self._limits_of(person.role)

    def arrive(self, person: Person | str, *, away: Literal["", "away", "sent away"] = "") -> str | None:
        """A tab connects: the name of its seat, not taken yet; None where even standing room is gone, or the server stops."""
        with self._lock:
            if self.draining or len(self._seats) >= self.limits.people * self.limits.tabs + 50:
                return None
            name = secrets.token_hex(12)
            self._seats[name] = Seat(Person(person) if isinstance(person, str) else person, away=away)
            return name

    def take(self, name: str, *, back: bool = False, person: Person | None = None, session: str = "") -> Refusal:
        """Take the seat, or keep it; ``""`` when the tab may be served, otherwise why not.

        Args:
            name: what :meth:`arrive` gave; an unknown one is served, as in a test without a gate.
            back: whether the person has said that they are there again.
            person: who sits there, where more is known by now than when they came.
            session: that is served there.
        """
        with self._lock:
            seat = self._seats.get(name)
            if seat is None:
                return ""
            if session:
                self._sessions[session] = name
            if seat.taken and (person is None or person == seat.person):
                return ""
        who = person or seat.person
        if self.registry is None:
            with self._lock:
                return self._take(seat, back, who, [])
        # Never the locks the other way round: the event loop waits for the inner one only.
        with self.registry.counting() as others:
            with self._lock:
                refusal = self._take(seat, back, who, others)
            if not refusal:
                self.registry.tell(seats=self.seated())
            return refusal

    def _take(self, seat: Seat, back: bool, person: Person, others: list[Process]) -> Refusal:
        if seat.away and not back:
            return seat.away
        mine, limits = mark(person), self.granted(person)
        taken = [mark(other.person) for other in self._seats.values() if other.taken and other is not seat]
        taken += [other.person for process in others for other in process.seats]
        if taken.count(mine) >= limits.tabs:
            return "tabs"
        if len(set(taken)) >= self.limits.people and mine not in taken:
            return "full"
        seat.person, seat.taken, seat.away, seat.seen = person, True, "", time.monotonic()
        return ""

    def acted(self, name: str) -> None:
        """The person did something in this tab."""
        seat = self._seats.get(name)
        if seat is not None:
            seat.seen = time.monotonic()

    def ended(self, name: str) -> Literal["", "away", "sent away"]:
        """Why a seat is to be taken back: it has been left alone for too long, or the owner says so; empty while it is not."""
        seat = self._seats.get(name)
        if seat is None or not seat.taken:
            return ""
        if seat.let_go:
            return "sent away"
        return "away" if time.monotonic() - seat.seen > self.granted(seat.person).idle_minutes * 60 else ""

    def let_go(self, name: str) -> None:
        """Take a seat back; the tab may ask for it again."""
        seat = self._seats.get(name)
        if seat is not None:
            seat.let_go = True

    def leave(self, name: str) -> None:
        """The tab is gone."""
        with self._lock:
            self._seats.pop(name, None)
            self._sessions = {session: seat for session, seat in self._sessions.items() if seat != name}

    def sitting(self, session: str) -> Person | None:
        """Who uses a session; None where that is not known."""
        seat = self._seats.get(self._sessions.get(session, ""))
        return None if seat is None else seat.person

    def people(self) -> int:
        """How many people are being served, by all processes."""
        others = [] if self.registry is None else self.registry.others()
        with self._lock:
            mine = {mark(seat.person) for seat in self._seats.values() if seat.taken}
        return len(mine | {seat.person for process in others for seat in process.seats})

    def free_in(self) -> float:
        """Seconds until whoever has been away for longest gives their place up, unless they come back before."""
        now = time.monotonic()
        last: dict[str, tuple[float, Person]] = {}
        with self._lock:
            for seat in self._seats.values():
                if seat.taken:
                    key = mark(seat.person)
                    last[key] = max(last.get(key, (0.0, seat.person)), (seat.seen, seat.person), key=lambda one: one[0])
        waits = [self.granted(person).idle_minutes * 60 - (now - seen) for seen, person in last.values()]
        return max(min(waits, default=0.0), 0.0)

    def seated(self) -> tuple[Seated, ...]:
        """The seats that are taken, for the registry and the owner."""
        now, wall = time.monotonic(), time.time()
        with self._lock:
            return tuple(
                Seated(
                    name=name,
                    person=mark(seat.person),
                    called=seat.person.called,
                    role=seat.person.role,
                    how=seat.person.how,
                    seen=round(wall - (now - seat.seen)),
                    since=round(seat.since),
                )
                for name, seat in self._seats.items()
                if seat.taken
            )


def mark(person: Person) -> str:
    """What tells people apart where their keys have no business."""
    return hashlib.blake2b(person.key.encode(), digest_size=12).hexdigest()


@cache
def room() -> Seats:
    """The seats of this server.

    Raises:
        InputError: the settings or the environment set a limit that is no number.
    """
    from streamlit import config

    return Seats(Limits.read(), Limits.read, Registry(int(config.get_option("server.port") or 0)))
