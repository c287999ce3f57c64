"""What the live map sends is named by what it shows: no two pictures share a name, and no name says where files lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.heads import HeadChoice, Scene
from tessera_core.labels.log import LabelLog
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.session import payload
from tessera_core.session.live_map import LiveMap
from tessera_core.session.protocol import ProtocolState
from tests.factories import landscape

RASTER = landscape(24, dim=8)
DISPLAY, SCENE = DisplayGrid(RASTER.grid), Scene(RASTER)


def live_map(key: str = "project@scene") -> LiveMap:
    return LiveMap(key, "project", RASTER, lambda: SCENE, DISPLAY, "Fields", "2023")


def click(log: LabelLog, class_id: int, row: int, col: int) -> None:
    x, y = RASTER.grid.pixel_to_xy(row + 0.5, col + 0.5)
    log.add("point", class_id, [(float(x), float(y))])


def started(log: LabelLog) -> LabelLog:
    for name, row in (("North", 5), ("South", 20)):
        click(log, log.add_class(name).id, row, 5)
    return log


def shown(live: LiveMap, log: LabelLog, head: str = "ridge", confidence: bool = False) -> tuple[str, bytes]:
    state = ProtocolState(confidence=confidence)
    header, png = payload.unpack(live.message("k", log, HeadChoice(head), state, 1))
    return (header["map"] or {"v": ""})["v"], png


ACTIONS = st.one_of(
    st.tuples(st.just("click"), st.integers(1, 2), st.integers(3, 23), st.integers(0, 23)),
    st.tuples(st.sampled_from(("undo", "redo", "confidence", "rebuild"))),
    st.tuples(st.just("head"), st.sampled_from(("ridge", "centroid"))),
    st.tuples(st.just("temperature"), st.sampled_from((0.5, 1.0, 3.0))),
    st.tuples(st.just("colour"), st.integers(1, 2), st.sampled_from(("#112233", "#aabbcc"))),
)


@settings(max_examples=20, deadline=None)
@given(st.lists(ACTIONS, min_size=2, max_size=10))
def test_a_name_belongs_to_one_picture_whoever_draws_it(actions: list[tuple]) -> None:
    log, live = started(LabelLog()), live_map()
    head, confidence, temperatures = "ridge", False, {}
    drawn: dict[str, bytes] = {}
    for kind, *values in [("look",), *actions]:
        if kind == "click" and any(c.id == values[0] for c in log.classes):
            click(log, *values)
        elif kind == "undo" and log.can_undo:
            log.undo()
        elif kind == "redo" and log.can_redo:
            log.redo()
        elif kind == "confidence":
            confidence = not confidence
        elif kind == "head":
            (head,) = values
        elif kind == "temperature":
            temperatures[head] = values[0]
            live.set_temperature(HeadChoice(head), values[0])
        elif kind == "colour" and any(c.id == values[0] for c in log.classes):
            log.edit_class(values[0], color=values[1])
        elif kind == "rebuild":
            live = live_map()
            for name, temperature in temperatures.items():
                live.set_temperature(HeadChoice(name), temperature)
        name, png = shown(live, log, head, confidence)
        fresh = live_map()
        if head in temperatures:
            fresh.set_temperature(HeadChoice(head), temperatures[head])
        # What was kept is what a computation from nothing gives, under the same name.
        assert shown(fresh, log, head, confidence) == (name, png)
        assert drawn.setdefault(name, png) == png


def test_every_label_gives_a_new_name_even_where_the_map_object_is_new() -> None:
    log, names = started(LabelLog()), set()
    for n in range(8):
        names.add(shown(live_map(), log)[0])
        click(log, 1 + n % 2, 4 + n, 10)
    assert len(names) == 8


def test_the_same_labels_in_two_projects_have_two_names() -> None:
    log = started(LabelLog())
    assert shown(live_map("one@scene"), log)[0] != shown(live_map("other@scene"), log)[0]


def test_a_log_that_was_opened_anew_is_read_anew(tmp_path: Path) -> None:
    live, first, second = live_map(), started(LabelLog()), LabelLog()
    for name, row in (("South", 20), ("North", 5)):
        click(second, second.add_class(name).id, row, 5)
    assert first.version == second.version
    before, after = shown(live, first), shown(live, second)
    assert before != after
    assert after == shown(live_map(), second)


def test_the_map_is_the_one_of_its_labels() -> None:
    live, log = live_map(), started(LabelLog())
    mapped = live.reading(log, HeadChoice("ridge")).map
    assert mapped is not None
    assert isinstance(RASTER, EmbeddingRaster)
    assert set(np.unique(mapped.classes)) == {0, 1, 2}
