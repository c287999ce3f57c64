"""Seats of a server: how many people, how many tabs each, and who has been away."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from tessera_core.hosting import Limits
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
    assert not seats.idle(name)
    seats._seats[name].seen = time.monotonic() - 301
    assert seats.idle(name)
    seats.acted(name)
    assert not seats.idle(name)
    seats.leave(name)
    again = seats.arrive("one", away=True)
    assert again is not None
    assert seats.take(again) == "away"
    assert seats.people() == 0
    assert seats.take(again, back=True) == ""
    assert seats.take(again) == ""


def test_the_standing_room_ends_somewhere() -> None:
    seats = Seats(Limits(people=1, tabs=1))
    arrived = [seats.arrive(str(number)) for number in range(200)]
    assert 1 < sum(name is not None for name in arrived) < 100
