"""The channel beside the map: wishes of the browser are taken up once and never trusted; answers say what the page needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.analysis.label_issues import LabelIssue
from tessera_core.analysis.postprocess import PostProcessing
from tessera_core.assess.live import LiveScore
from tessera_core.errors import LabelError
from tessera_core.labels.log import LabelLog
from tessera_core.project.classify import head_choice
from tessera_core.project.project import Project
from tessera_core.raster import EmbeddingRaster
from tessera_core.render.display import DisplayGrid
from tessera_core.session import insight_protocol
from tessera_core.session.assessor import Insight
from tessera_core.session.insight_protocol import InsightState, apply_wishes
from tessera_core.session.labelling import LabelSession, PostProcessed
from tessera_core.session.live_map import LiveMap
from tessera_core.session.similar import SimilaritySearch, label_area
from tests.factories import landscape
from tests.session.questions import labelled

EPOCH = "abc123"
RASTER = landscape(80)
DISPLAY = DisplayGrid(RASTER.grid)


def place(row: float, col: float) -> list[float]:
    x, y = DISPLAY.from_pixel(row, col)
    return [float(x), float(y)]


def message(n: int = 1, ops: list[Any] | None = None, **want: Any) -> dict[str, Any]:
    return {"epoch": EPOCH, "n": n, "want": want, "ops": ops or []}


def refuse(op: Mapping[str, Any], state: InsightState) -> str:
    raise LabelError(f"No {op.get('do')}.")


def test_wishes_are_taken_up() -> None:
    sent = message(
        layers=["sets", "dissimilarity", "other"],
        error=0.05,
        skipped=[place(3.4, 7.6)],
        similar={"pos": [place(10.5, 11.5), [0.0, 0.0]], "neg": []},
    )
    state = apply_wishes(sent, DISPLAY, InsightState(), refuse)
    assert (state.dissimilarity, state.sets, state.error, state.seen) == (True, True, 0.05, 1)
    assert state.skipped == ((3, 7),)
    # A place off the scene is left out.
    assert state.positive == ((10, 11),)


def test_operations_are_done_once_and_refusals_are_told() -> None:
    done: list[int] = []

    def act(op: Mapping[str, Any], _state: InsightState) -> str:
        done.append(op["id"])
        if op["do"] == "bad":
            raise LabelError("Not so.")
        return "" if op["do"] == "quiet" else "Done."

    ops = [{"id": 1, "do": "good"}, {"id": 2, "do": "bad"}, {"id": 3, "do": "quiet"}]
    state = apply_wishes(message(1, ops), DISPLAY, InsightState(), act)
    state = apply_wishes(message(2, ops), DISPLAY, state, act)
    assert done == [1, 2, 3]
    assert (state.ack, state.notes) == (3, ((1, "Done."), (2, "Not so.")))
    # Another page begins anew.
    assert apply_wishes({**message(), "epoch": "zzzz9"}, DISPLAY, state, act).ack == 0


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JUNK, JUNK, JUNK)
@settings(max_examples=150, deadline=None)
def test_junk_never_raises(want: Any, ops: Any, whole: Any) -> None:
    for sent in (whole, {"epoch": EPOCH, "n": whole, "want": want, "ops": ops}):
        state = apply_wishes(sent, DISPLAY, InsightState(), refuse)
        assert state.error in (0.01, 0.05, 0.1, 0.2)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = RASTER.save(tmp_path / "rasters")
    project = Project.create(tmp_path / "project", "Side")
    project.attach_embeddings(2023, folder, RASTER.provenance, RASTER.grid)
    known = labelled(RASTER)
    project.log.import_labels(known.classes, known.labels)
    return project


@pytest.fixture
def session() -> LabelSession:
    from tessera_core.heads import Scene

    return LabelSession(LiveMap("key", "place", RASTER, lambda: Scene(RASTER), DISPLAY, "Title", ""))


def test_the_answer_tells_score_places_and_layers(session: LabelSession, project: Project) -> None:
    state = InsightState(EPOCH, dissimilarity=True, sets=True)
    _, first = session.answer("map", project, state, 1)
    assert first["pending"]
    session.assessor.wait()
    layers, header = session.answer("map", project, state, 2)
    json.dumps(header, allow_nan=False)
    assert not header["pending"]
    assert header["version"] == project.log.version
    assert header["score"]["labels"] == 20
    assert 0 <= header["score"]["low"] < header["score"]["accuracy"] <= header["score"]["high"] + 1e-9
    west, south, east, north = DISPLAY.bounds
    for suggestion in header["next"]:
        x, y = suggestion["xy"]
        assert west < x < east
        assert south < y < north
        assert set(suggestion["likely"]) <= {1, 2, 3, 4}
    made = {layer.name: layer for layer in layers}
    assert made["dissimilarity"].png.startswith(b"\x89PNG")
    assert made["sets"].png.startswith(b"\x89PNG")
    # The same pictures are not made twice.
    again, _ = session.answer("map", project, state, 3)
    assert [layer.version for layer in again] == [layer.version for layer in layers]


def test_a_tidied_map_goes_with_the_labels_and_the_method_it_was_made_of(
    session: LabelSession, project: Project
) -> None:
    head, post_processing = head_choice(project), PostProcessing("majority", 3, 0.1, 1.0)
    classes = np.ones(RASTER.shape, np.uint8)
    session.post_processed = PostProcessed(post_processing, project.log.version, head, classes, None, "Tidied.")

    def shown() -> bool:
        opened = frozenset({"tidy"})
        return "post_processed" in {
            v.name for v in session.extra_layers(project, InsightState(), Insight(), None, opened)
        }

    assert shown()
    # It leaves the map with its panel, which another tab or another visit begins without.
    assert "post_processed" not in {v.name for v in session.extra_layers(project, InsightState(), Insight(), None)}
    project.update(head="ridge" if head.name != "ridge" else "logistic")
    assert not shown()
    project.update(head=head.name)
    assert shown()
    x, y = RASTER.grid.pixel_to_xy(5.5, 5.5)
    project.log.add("point", 1, [(float(x), float(y))])
    assert not shown()


@pytest.mark.parametrize(("accuracy", "told"), [(None, False), (0.59, False), (0.7, True)])
def test_labels_are_called_wrong_only_where_the_map_is_good(accuracy: float | None, told: bool) -> None:
    issues = (
        LabelIssue("likely wrong", "high", "Labelled Forest, but it looks like Water.", ("a",), 3, 4, (1, 2)),
        LabelIssue("duplicate", "low", "Labelled twice.", ("b", "c"), 5, 6, (1,)),
    )
    score = LiveScore(accuracy, None, None, None, 20, 10, (), np.zeros((2, 2)), ("Forest", "Water"), "")
    insight = Insight(score=score, issues=issues)
    header = insight_protocol.header("map", InsightState(), insight, DISPLAY, [], run=1, ready=True)
    assert [issue["kind"] for issue in header["issues"]] == (["likely wrong"] if told else []) + ["duplicate"]
    assert bool(header["withheld"]) is not told
    if accuracy == 0.59:
        assert "right at only 59 % of new places" in header["withheld"]


def test_without_labels_nothing_is_said(session: LabelSession, tmp_path: Path) -> None:
    _, header = session.answer("map", Project.create(tmp_path / "empty", "Empty"), InsightState(), 1)
    assert not header["ready"]
    assert not header["pending"]
    assert (header["score"], header["next"], header["issues"]) == (None, [], [])


def test_the_stamp_follows_what_the_map_should_show(session: LabelSession, project: Project) -> None:
    def stamp() -> str:
        return session.answer("map", project, InsightState(), 1)[1]["stamp"]

    first = stamp()
    assert stamp() == first
    project.update(head="ridge")
    second = stamp()
    session.live.set_temperature(head_choice(project), 1.4)
    third = stamp()
    project.log.undo()
    assert len({first, second, third, stamp()}) == 4


def test_similar_places_become_labels_that_one_undo_takes_back(session: LabelSession, project: Project) -> None:
    state = InsightState(EPOCH, positive=((10, 10),), negative=((60, 60),))
    before = len(project.log.labels)
    sentence = session.act(project, {"do": "similar_labels", "percent": 60, "name": "  New   kind "}, state)
    assert "New kind" in sentence
    made = project.log.labels[before:]
    assert len(made) == 30
    rows, cols = RASTER.grid.xy_to_pixel(*np.array([label.xy[0] for label in made]).T)
    # Examples lie in the first quarter, and so does what is like them.
    assert ((rows < 40) & (cols < 40)).all()
    assert all("60 %" in label.note for label in made)
    project.log.undo()
    assert len(project.log.labels) == before
    assert project.log.find_class("New kind") is None
    session.act(project, {"do": "similar_labels", "percent": 60, "class": 2}, state)
    assert {label.class_id for label in project.log.labels[before:]} == {2}


@pytest.mark.parametrize(
    ("op", "sentence"),
    [
        ({"do": "similar_labels", "percent": 60}, "Choose a class"),
        ({"do": "similar_labels", "percent": 600, "class": 1}, "percent"),
        ({"do": "similar_labels", "percent": 60, "class": 99}, "class"),
        ({"do": "fly"}, "does not know"),
    ],
)
def test_wrong_wishes_are_refused_in_words(
    session: LabelSession, project: Project, op: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(LabelError, match=sentence):
        session.act(project, op, InsightState(EPOCH, positive=((10, 10),)))


def test_likeness_is_what_the_slider_shows() -> None:
    found = SimilaritySearch(RASTER).search(((10, 10), (50, 10)), ())
    for percent in (1, 50, 90):
        shown = (found.percent >= percent) & (found.percent != 255)
        np.testing.assert_array_equal(shown, found.similarity.above(percent))
        assert int(found.similarity.histogram[percent:].sum()) == int(shown.sum())


def test_areas_of_one_name_become_one_class() -> None:
    log, raster = LabelLog(), RASTER
    log.add_class("Grass", "#00ff00")
    mask = np.zeros(raster.shape, bool)
    mask[5:20, 5:20] = True
    other = np.zeros(raster.shape, bool)
    other[50:70, 50:70] = True
    assert label_area(log, raster, [(mask, "grass"), (other, "Grass"), (other, "Stone")], "groups", count=7) == 21
    assert [(c.name, log.counts[c.id]) for c in log.classes] == [("Grass", 14), ("Stone", 7)]
    empty: EmbeddingRaster = raster
    with pytest.raises(LabelError, match="lower the percentage"):
        label_area(log, empty, [(np.zeros(raster.shape, bool), "Grass")], "none")
