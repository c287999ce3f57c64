"""Seats of a server: how many people, how many tabs each, and who has been away."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera_core.hosting import Limits, Person
from tessera_core.hosting.processes import Registry
from tessera_core.ui.seats import Seats

STEPS = st.lists(st.tuples(st.sampled_from(["arrive", "take", "leave"]), st.integers(0, 5)), max_size=60)


@given(steps=STEPS, people=st.integers(1, 3), tabs=st.integers(1, 3))
def test_never_more_people_or_tabs_than_granted_and_nobody_waits_beside_an_empty_seat(
    steps: list[tuple[str, int]], people: int, tabs: int
) -> None:
    seats = Seats(Limits(people=people, tabs=tabs))
    here: list[tuple[str, str]] = []
    sitting: dict[str, str] = {}
    for step, number in steps:
        if step == "arrive":
            name = seats.arrive(f"visitor {number}")
            assert name is not None
            here.append((f"visitor {number}", name))
        elif here:
            visitor, name = here[number % len(here)]
            if step == "leave":
                seats.leave(name)
                here.remove((visitor, name))
                sitting.pop(name, None)
            else:
                mine = sum(other == visitor for other in sitting.values())
                others = set(sitting.values()) - {visitor}
                answer = seats.take(name)
                free = name in sitting or (mine < tabs and (mine > 0 or len(others) < people))
                assert (answer == "") is free
                if free:
                    sitting[name] = visitor
        assert seats.people() == len(set(sitting.values())) <= people


def test_a_tab_left_alone_is_idle_and_comes_back_only_when_the_person_does() -> None:
    seats = Seats(Limits(idle_minutes=5))
    name = seats.arrive("one")
    assert name is not None
    assert seats.take(name) == ""
    assert seats.ended(name) == ""
    assert 299 < seats.free_in() <= 300
    seats._seats[name].seen = time.monotonic() - 301
    assert seats.ended(name) == "away"
    assert seats.free_in() == 0
    seats.acted(name)
    assert seats.ended(name) == ""
    seats.leave(name)
    again = seats.arrive("one", away="away")
    assert again is not None
    assert seats.take(again) == "away"
    assert seats.people() == 0
    assert seats.take(again, back=True) == ""
    assert seats.take(again) == ""


def test_the_standing_room_ends_somewhere() -> None:
    seats = Seats(Limits(people=1, tabs=1))
    arrived = [seats.arrive(str(number)) for number in range(200)]
    assert 1 < sum(name is not None for name in arrived) < 100


def test_the_owner_may_take_a_seat_back_and_the_tab_is_told() -> None:
    seats = Seats(Limits())
    name = seats.arrive("one")
    assert name is not None
    assert seats.take(name) == ""
    seats.let_go(name)
    assert seats.ended(name) == "sent away"
    seats.leave(name)
    again = seats.arrive("one", away="sent away")
    assert again is not None
    assert (seats.take(again), seats.take(again, back=True)) == ("sent away", "")


def test_whoever_signs_in_is_counted_as_themselves_and_by_their_role() -> None:
    seats = Seats(Limits(tabs=1), lambda role: Limits(tabs=2 if role == "teacher" else 1))
    tess = Person("tess", "teacher", "Tess")
    for number in range(2):
        name = seats.arrive(f"a browser {number}")
        assert name is not None
        assert seats.take(name, person=tess, session=f"s{number}") == ""
        assert seats.sitting(f"s{number}") == tess
    assert seats.people() == 1
    third = seats.arrive("another")
    assert third is not None
    assert seats.take(third, person=tess) == "tabs"
    seats.leave(name)
    assert seats.sitting("s1") is None
    assert seats.take(third, person=tess) == ""


def test_a_server_that_stops_lets_nobody_in() -> None:
    seats = Seats(Limits())
    seats.draining = True
    assert seats.arrive("one") is None


def test_people_are_counted_over_the_processes_of_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    left, right = (Seats(Limits(people=2, tabs=2), registry=Registry()) for _ in range(2))

    def sit(seats: Seats, visitor: str) -> tuple[str, str]:
        name = seats.arrive(visitor)
        assert name is not None
        return name, seats.take(name)

    anna, _ = sit(left, "anna")
    assert sit(right, "bert")[1] == ""
    assert (left.people(), right.people()) == (2, 2)
    assert (sit(left, "cora")[1], sit(right, "cora")[1]) == ("full", "full")
    # A second tab of anna's on the other process is anna's second, and there is no third.
    assert sit(right, "anna")[1] == ""
    assert sit(right, "anna")[1] == "tabs"
    left.leave(anna)
    assert left.registry is not None
    left.registry.tell(seats=left.seated())
    assert sit(right, "anna")[1] == ""
    # A process that is gone holds nobody's seat.
    assert right.registry is not None
    right.registry.close()
    assert (left.people(), sit(left, "cora")[1]) == (0, "")
