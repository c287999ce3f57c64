"""How many people use a server at once: each open tab asks for a seat, and a tab left alone gives its seat back."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from tessera_core.hosting import Limits

Refusal = Literal["", "full", "tabs", "away"]


@dataclass
class Seat:
    """One connected browser tab; ``visitor`` is who it belongs to.

    Attributes:
        taken: whether it counts among the people being served.
        away: whether it belongs to a tab whose seat was taken back, until the person is seen again.
        seen: when the person last did something, in seconds of a monotonic clock.
    """

    visitor: str
    taken: bool = False
    away: bool = False
    seen: float = field(default_factory=time.monotonic)


class Seats:
    """The seats of one server; may be used from any thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._seats: dict[str, Seat] = {}
        self._lock = threading.Lock()

    def arrive(self, visitor: str, *, away: bool = False) -> str | None:
        """A tab connects: the name of its seat, not taken yet; None where even standing room is gone."""
        with self._lock:
            if len(self._seats) >= self.limits.people * self.limits.tabs + 50:
                return None
            name = secrets.token_hex(12)
            self._seats[name] = Seat(visitor, away=away)
            return name

    def take(self, name: str, *, back: bool = False) -> Refusal:
        """Take the seat, or keep it; ``""`` when the tab may be served, otherwise why not.

        Args:
            name: what :meth:`arrive` gave; an unknown one is served, as in a test without a gate.
            back: whether the person has said that they are there again.
        """
        with self._lock:
            seat = self._seats.get(name)
            if seat is None or seat.taken:
                return ""
            if seat.away and not back:
                return "away"
            taken = [other for other in self._seats.values() if other.taken]
            if sum(other.visitor == seat.visitor for other in taken) >= self.limits.tabs:
                return "tabs"
            people = {other.visitor for other in taken}
            if len(people) >= self.limits.people and seat.visitor not in people:
                return "full"
            seat.taken, seat.away, seat.seen = True, False, time.monotonic()
            return ""

    def acted(self, name: str) -> None:
        """The person did something in this tab."""
        seat = self._seats.get(name)
        if seat is not None:
            seat.seen = time.monotonic()

    def idle(self, name: str) -> bool:
        """Whether a taken seat has been left alone for too long."""
        seat = self._seats.get(name)
        return seat is not None and seat.taken and time.monotonic() - seat.seen > self.limits.idle_minutes * 60

    def leave(self, name: str) -> None:
        """The tab is gone."""
        with self._lock:
            self._seats.pop(name, None)

    def people(self) -> int:
        """How many people are being served."""
        with self._lock:
            return len({seat.visitor for seat in self._seats.values() if seat.taken})


@cache
def room() -> Seats:
    """The seats of this server.

    Raises:
        InputError: the environment sets a limit that is no number.
    """
    return Seats(Limits.read())
