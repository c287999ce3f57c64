"""Desks: each as long as somebody sits at it, the same for all who do, and none left when everybody has gone."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.render.display import DisplayGrid
from tessera_core.session.labelling import LabelSession, LabelSessions
from tessera_core.session.live_map import LiveMap
from tests.factories import landscape

RASTER = landscape(16, dim=8)
DISPLAY = DisplayGrid(RASTER.grid)


def make(key: int) -> LabelSession:
    def scene() -> object:
        raise AssertionError("nothing is mapped here")

    return LabelSession(LiveMap(str(key), str(key), RASTER, scene, DISPLAY, "", ""))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.integers(0, 9))), max_size=60))
def test_a_desk_lives_exactly_as_long_as_somebody_sits_at_it(steps: list[tuple[str, int | None]]) -> None:
    each, sessions = 3, LabelSessions(each=3)
    seats: dict[str, dict[int, LabelSession]] = {}
    for who, key in steps:
        if key is None:
            sessions.leave(who)
            seats.pop(who, None)
        else:
            mine = seats.setdefault(who, {})
            session = sessions.sit(who, key, lambda key=key: make(key))  # type: ignore[misc]
            # Nobody's desk changes under them, and two who sit at the same one see the same.
            assert all(others[key] is session for others in seats.values() if key in others)
            mine.pop(key, None)
            mine[key] = session
            while len(mine) > each:
                del mine[next(iter(mine))]
        assert len(sessions) == len({key for mine in seats.values() for key in mine})
    for who in "abcd":
        sessions.leave(who)
    assert len(sessions) == 0


def test_many_who_sit_down_at_once_sit_at_one_desk() -> None:
    sessions, found, gate = LabelSessions(), [], threading.Barrier(20)

    def sit(who: int) -> None:
        gate.wait()
        found.append(sessions.sit(str(who), who % 4, lambda: make(who % 4)))

    threads = [threading.Thread(target=sit, args=(who,)) for who in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(session) for session in found}) == 4 == len(sessions)
