import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.grid import Grid
from tessera_core.labels.log import LabelLog
from tessera_core.render.display import DisplayGrid
from tessera_core.session.payload import shown
from tessera_core.session.protocol import MAX_POINTS, ProtocolState, apply_message

GRID = Grid("EPSG:32631", Affine(10, 0, 700_000, 0, -10, 5_800_000), (60, 80))
DISPLAY = DisplayGrid(GRID)
LOCAL = DisplayGrid(Grid.local((60, 80)))
EPOCH = "abc123"


def new_log(classes: int = 3) -> LabelLog:
    log = LabelLog()
    for number in range(classes):
        log.add_class(f"Class {number}")
    return log


def xy(row: float, col: float, display: DisplayGrid = DISPLAY) -> list[float]:
    x, y = display.from_pixel(row, col)
    return [float(x), float(y)]


def add(
    id_: int, row: float = 10, col: float = 10, tool: str = "point", class_id: int = 1, **more: Any
) -> dict[str, Any]:
    return {"id": id_, "do": "add", "tool": tool, "class": class_id, "pts": [xy(row, col)], **more}


def message(*ops: Any, n: int = 1, epoch: str = EPOCH) -> dict[str, Any]:
    return {"epoch": epoch, "n": n, "want": {"confidence": False}, "ops": list(ops)}


def content(log: LabelLog) -> list[tuple[int, str, Any]]:
    return [(label.class_id, label.kind, label.xy) for label in log.labels]


def test_a_click_becomes_a_label_at_its_exact_place() -> None:
    log = new_log()
    state = apply_message(log, DISPLAY, message(add(1, 12.25, 33.75, class_id=2)), ProtocolState())
    assert (state.epoch, state.ack, state.seen, state.notes) == (EPOCH, 1, 1, ())
    (label,) = log.labels
    rows, cols = GRID.xy_to_pixel(*np.array(label.xy).T)
    np.testing.assert_allclose([rows[0], cols[0]], [12.25, 33.75], atol=1e-4)
    assert label.class_id == 2


def test_brush_radius_becomes_metres_and_local_grids_work() -> None:
    for display, size in ((DISPLAY, 10), (LOCAL, 1)):
        log = new_log()
        op = {
            "id": 1,
            "do": "add",
            "tool": "brush",
            "class": 1,
            "pts": [xy(5, 5, display), xy(5, 9, display)],
            "radius": 2.5,
        }
        assert apply_message(log, display, message(op), ProtocolState()).notes == ()
        assert log.labels[0].radius == pytest.approx(2.5 * size)


def test_every_operation_of_the_panel() -> None:
    log = new_log(2)
    ops = [
        {"id": 1, "do": "add_class", "name": "Water", "color": "#0000ff"},
        {"id": 2, "do": "edit_class", "class": 3, "name": "Lake"},
        add(3, class_id=3),
        {"id": 4, "do": "merge_classes", "class": 3, "into": 1},
        {"id": 5, "do": "undo"},
        {"id": 6, "do": "undo"},
        {"id": 7, "do": "redo"},
        {"id": 8, "do": "remove_class", "class": 2},
        {"id": 9, "do": "clear"},
        {"id": 10, "do": "undo"},
    ]
    state = apply_message(log, DISPLAY, message(*ops), ProtocolState())
    assert state.notes == ()
    assert state.ack == 10
    assert [(c.id, c.name) for c in log.classes] == [(1, "Class 0"), (3, "Lake")]
    assert [label.class_id for label in log.labels] == [3]


def edit(id_: int, label: str, **changes: Any) -> dict[str, Any]:
    return {"id": id_, "do": "edit_label", "label": label, **changes}


def in_pixels(places: Any) -> np.ndarray:
    """Rows and columns (N, 2)."""
    return np.stack(GRID.xy_to_pixel(*np.array(places).T), -1)


def test_a_chosen_label_gets_another_class_note_and_place_and_goes() -> None:
    log = new_log()
    ops = [
        add(1),
        edit(2, f"{EPOCH}-1", **{"class": 3}),
        edit(3, f"{EPOCH}-1", note="an old oak"),
        edit(4, f"{EPOCH}-1", rings=[[xy(20.5, 30.25)]]),
        {"id": 5, "do": "remove_label", "label": f"{EPOCH}-1"},
    ]
    state = ProtocolState()
    seen = []
    for n, op in enumerate(ops, 1):
        state = apply_message(log, DISPLAY, message(op, n=n), state)
        seen.append(list(log.labels))
    assert state.notes == ()
    (label,) = seen[3]
    assert (label.class_id, label.note, label.kind) == (3, "an old oak", "point")
    np.testing.assert_allclose(in_pixels(label.xy), [[20.5, 30.25]], atol=1e-4)
    assert seen[4] == []
    # Each is one step back, and one forth.
    for n, expected in enumerate(reversed(seen[:-1]), 6):
        state = apply_message(log, DISPLAY, message({"id": n, "do": "undo"}, n=n), state)
        assert log.labels == expected
    for n, expected in enumerate(seen[1:], 10):
        state = apply_message(log, DISPLAY, message({"id": n, "do": "redo"}, n=n), state)
        assert log.labels == expected


def test_corners_that_were_not_moved_keep_their_exact_place() -> None:
    log = new_log()
    ring = [(10.123456, 10.2), (10.3, 20.4), (20.5, 20.6), (20.7, 10.8)]
    hole = [(13.0, 13.0), (13.0, 16.0), (16.0, 16.0)]
    outer, inner = (
        list(zip(*(v.tolist() for v in GRID.pixel_to_xy(*np.array(r).T)), strict=True)) for r in (ring, hole)
    )
    label = log.add("polygon", 1, outer, holes=[inner])
    rings = [[list(p) for p in shown(part, DISPLAY)] for part in label.rings]
    rings[0][2] = xy(30, 30)
    state = apply_message(log, DISPLAY, message(edit(1, label.id, rings=rings)), ProtocolState())
    assert state.notes == ()
    (moved,) = log.labels
    assert moved.holes == label.holes
    assert [a == b for a, b in zip(moved.xy, label.xy, strict=True)] == [True, True, False, True]
    np.testing.assert_allclose(in_pixels(moved.xy)[2], [30, 30], atol=1e-4)
    # A corner more, and without the hole.
    rings[0].insert(1, xy(5, 15))
    state = apply_message(log, DISPLAY, message(edit(2, label.id, rings=rings[:1]), n=2), state)
    assert (len(log.labels[0].xy), log.labels[0].holes, state.notes) == (5, (), ())


def test_a_moved_rectangle_and_stroke_stay_what_they_are() -> None:
    log = new_log()
    (x0, x1), (y0, y1) = GRID.pixel_to_xy([10.0, 20.0], [10.0, 30.0])
    rectangle = log.add("rectangle", 1, [(x0, y0), (x1, y1)])
    stroke = log.add("brush", 2, [(x0, y0), (x1, y1)], radius=25)
    to = [xy(12, 12), xy(12, 40), xy(25, 40), xy(25, 12)]
    ops = [edit(1, rectangle.id, rings=[to]), edit(2, stroke.id, rings=[[xy(40, 40), xy(45, 45)]])]
    assert apply_message(log, DISPLAY, message(*ops), ProtocolState()).notes == ()
    first, second = log.labels
    assert (first.kind, first.class_id, len(first.xy)) == ("rectangle", 1, 4)
    np.testing.assert_allclose(in_pixels(first.xy)[2], [25, 40], atol=1e-4)
    assert (second.kind, second.radius) == ("brush", 25)
    np.testing.assert_allclose(in_pixels(second.xy), [[40, 40], [45, 45]], atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 30))
def test_any_sequence_undone_and_redone_gives_the_same_labels(seed: int, count: int) -> None:
    rng = random.Random(seed)
    log, state = new_log(), ProtocolState()

    def send(op: dict[str, Any]) -> None:
        nonlocal state
        state = apply_message(log, DISPLAY, message({**op, "id": state.ack + 1}, n=state.ack + 1), state)
        assert state.notes == ()

    def spot() -> list[float]:
        return xy(rng.uniform(0, 60), rng.uniform(0, 80))

    seen = [(log.classes, log.labels)]
    for _ in range(count):
        kind = rng.choice(["add", "add", "move", "move", "class", "note", "remove", "erase", "merge"])
        label = rng.choice(log.labels) if log.labels else None
        if kind == "merge" and len(log.classes) > 1:
            one, other = rng.sample([c.id for c in log.classes], 2)
            send({"do": "merge_classes", "class": one, "into": other})
        elif kind == "erase":
            send(add(0, rng.uniform(0, 60), rng.uniform(0, 80), "erase", radius=2))
        elif label is None or kind in ("add", "merge"):
            tool = rng.choice(["point", "brush", "polygon", "rectangle"])
            pts = [spot() for _ in range({"point": 1, "brush": 2, "polygon": 5, "rectangle": 4}[tool])]
            send({"do": "add", "tool": tool, "class": rng.choice(log.classes).id, "pts": pts, "radius": 1})
        elif kind == "remove":
            send({"do": "remove_label", "label": label.id})
        elif kind == "move":
            rings = [[list(p) for p in shown(ring, DISPLAY)] for ring in label.rings]
            rings[0][rng.randrange(len(rings[0]))] = spot()
            send(edit(0, label.id, rings=rings))
        elif kind == "class":
            send(edit(0, label.id, **{"class": rng.choice(log.classes).id}))
        else:
            send(edit(0, label.id, note=str(rng.random())))
        seen.append((log.classes, log.labels))
    for expected in reversed(seen[:-1]):
        send({"do": "undo"})
        assert (log.classes, log.labels) == expected
    for expected in seen[1:]:
        send({"do": "redo"})
        assert (log.classes, log.labels) == expected


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 25))
def test_duplicates_losses_and_reordering_change_nothing(seed: int, count: int) -> None:
    rng = random.Random(seed)
    ops: list[dict[str, Any]] = []
    for id_ in range(1, count + 1):
        kind = rng.choice(["add", "add", "add", "undo", "redo"])
        ops.append(add(id_, rng.uniform(0, 60), rng.uniform(0, 80)) if kind == "add" else {"id": id_, "do": kind})
    plain = new_log()
    expected = apply_message(plain, DISPLAY, message(*ops), ProtocolState())

    log, state, sent = new_log(), ProtocolState(), 0
    while state.ack < count:
        upto = rng.randint(state.ack + 1, count)
        # All unacknowledged operations, shuffled, some twice, some acknowledged ones again, as a retry would.
        batch = ops[max(0, state.ack - rng.randint(0, 3)) : upto]
        batch = rng.sample(batch, len(batch)) + rng.choices(batch, k=rng.randint(0, 3))
        sent += 1
        if rng.random() < 0.3:
            continue  # lost on the way
        state = apply_message(log, DISPLAY, copy.deepcopy(message(*batch, n=sent)), state)
        if rng.random() < 0.3:
            state = apply_message(log, DISPLAY, copy.deepcopy(message(*batch, n=sent)), state)
    assert content(log) == content(plain)
    assert (log.can_undo, log.can_redo) == (plain.can_undo, plain.can_redo)
    # An undo may take a class back, so later clicks of it are refused: in both, in the same words.
    assert state.notes == expected.notes


POISON = [
    {"do": "add", "tool": "point", "class": 99, "pts": [xy(5, 5)]},
    {"do": "add", "tool": "point", "class": "1", "pts": [xy(5, 5)]},
    {"do": "add", "tool": "point", "class": True, "pts": [xy(5, 5)]},
    {"do": "add", "tool": "point", "class": 1, "pts": [[0, 0]]},
    {"do": "add", "tool": "point", "class": 1, "pts": [xy(-5, 5)]},
    {"do": "add", "tool": "point", "class": 1, "pts": [[float("nan"), 1]]},
    {"do": "add", "tool": "point", "class": 1, "pts": [[float("inf"), 1]]},
    {"do": "add", "tool": "point", "class": 1, "pts": [[1e300, 1e300]]},
    {"do": "add", "tool": "point", "class": 1, "pts": [["1", "2"]]},
    {"do": "add", "tool": "point", "class": 1, "pts": [[1, 2, 3]]},
    {"do": "add", "tool": "point", "class": 1, "pts": [1, 2]},
    {"do": "add", "tool": "point", "class": 1, "pts": []},
    {"do": "add", "tool": "point", "class": 1, "pts": {"a": 1}},
    {"do": "add", "tool": "point", "class": 1},
    {"do": "add", "tool": "brush", "class": 1, "pts": [xy(5, 5)], "radius": -1},
    {"do": "add", "tool": "brush", "class": 1, "pts": [xy(5, 5)], "radius": 1e9},
    {"do": "add", "tool": "brush", "class": 1, "pts": [xy(5, 5)], "radius": "big"},
    {"do": "add", "tool": "brush", "class": 1, "pts": [xy(5, 5)], "radius": None},
    {"do": "add", "tool": "brush", "class": 1, "pts": [xy(5, 5)] * (MAX_POINTS + 1), "radius": 1},
    {"do": "add", "tool": "polygon", "class": 1, "pts": [xy(5, 5), xy(6, 6)]},
    {"do": "add", "tool": "polygon", "class": 1, "pts": [xy(-50, 5), xy(-60, 6), xy(-60, 9)]},
    {"do": "add", "tool": "rectangle", "class": 1, "pts": [xy(5, 5)]},
    {"do": "add", "tool": "lasso", "class": 1, "pts": [xy(5, 5)]},
    {"do": "add", "tool": ["point"], "class": 1, "pts": [xy(5, 5)]},
    {"do": "edit_label", "label": f"{EPOCH}-1", "rings": []},
    {"do": "edit_label", "label": f"{EPOCH}-1", "rings": [[]]},
    {"do": "edit_label", "label": f"{EPOCH}-1", "rings": 5},
    {"do": "edit_label", "label": f"{EPOCH}-1", "rings": [[[float("nan"), 0]]]},
    {"do": "edit_label", "label": f"{EPOCH}-1", "rings": [[xy(500, 5)]]},
    {"do": "edit_label", "label": f"{EPOCH}-1", "rings": [[xy(5, 5)] * MAX_POINTS, [xy(5, 5)]]},
    {"do": "edit_label", "label": f"{EPOCH}-1", "class": 99},
    {"do": "edit_label", "label": f"{EPOCH}-1", "note": 7},
    {"do": "edit_label", "label": "gone", "rings": [[xy(5, 5)]]},
    {"do": "edit_label", "label": "gone", "note": "x"},
    {"do": "edit_label", "label": ["a"], "rings": [[xy(5, 5)]]},
    {"do": "remove_label", "label": "gone"},
    {"do": "remove_label"},
    {"do": "add_class", "name": ""},
    {"do": "add_class", "name": "Class 1"},
    {"do": "add_class", "name": 7},
    {"do": "add_class", "name": "New", "color": "javascript:alert(1)"},
    {"do": "edit_class", "class": 77, "name": "x"},
    {"do": "remove_class", "class": None},
    {"do": "merge_classes", "class": 1, "into": 1},
    {"do": "format_disk"},
    {"do": {"undo": 1}},
    {"do": None},
    {},
]


@pytest.mark.parametrize("poison", POISON, ids=lambda op: json.dumps(op)[:60])
def test_poison_is_acknowledged_and_reported_and_the_rest_is_done(poison: dict[str, Any]) -> None:
    log, plain = new_log(), new_log()
    apply_message(plain, DISPLAY, message(add(1), add(3)), ProtocolState())
    state = apply_message(log, DISPLAY, message(add(1), {**poison, "id": 2}, add(3)), ProtocolState())
    assert state.ack == 3
    assert content(log) == content(plain)
    assert len(log.classes) == 3
    ((op_id, sentence),) = state.notes
    assert op_id == 2
    assert sentence.endswith(".")
    assert "Traceback" not in sentence


@pytest.mark.parametrize(
    "hostile",
    [
        None,
        7,
        "text",
        b"bytes",
        [],
        {},
        {"epoch": None, "ops": []},
        {"epoch": "a" * 1000, "ops": []},
        {"epoch": "<script>", "ops": []},
        {"epoch": EPOCH, "n": "x", "ops": "undo"},
        {"epoch": EPOCH, "n": -1, "ops": {"id": 1}},
        {
            "epoch": EPOCH,
            "n": True,
            "ops": [None, 1, "x", [], {"id": "1"}, {"id": -1}, {"id": 1.5}, {"id": 2**70}, {"id": True}],
        },
        {"epoch": EPOCH, "n": 1, "want": "all", "ops": [{"do": "undo"}]},
    ],
)
def test_hostile_messages_change_nothing(hostile: object) -> None:
    log = new_log()
    version = log.version
    before = ProtocolState(EPOCH, 4, 2)
    state = apply_message(log, DISPLAY, hostile, before)
    assert log.version == version
    assert state.ack == 4


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from(
    ["id", "do", "tool", "class", "into", "pts", "radius", "name", "color", "label", "rings", "note"]
)
words = st.sampled_from(
    [
        "add",
        "undo",
        "redo",
        "clear",
        "add_class",
        "edit_class",
        "remove_class",
        "edit_label",
        "point",
        "brush",
        "polygon",
    ]
)


@settings(max_examples=200, deadline=None)
@given(ops=st.lists(st.dictionaries(keys, words | values, max_size=8) | values, max_size=6), n=values)
def test_nothing_raises(ops: list[Any], n: Any) -> None:
    log = new_log()
    state = apply_message(log, DISPLAY, {"epoch": EPOCH, "n": n, "ops": ops}, ProtocolState())
    assert state.ack >= 0
    assert len(state.notes) <= 5


def test_a_new_page_starts_a_new_count() -> None:
    log = new_log()
    state = apply_message(log, DISPLAY, message(add(1), add(2)), ProtocolState())
    state = apply_message(log, DISPLAY, message(add(1, 20, 20), epoch="other99"), state)
    assert (state.epoch, state.ack) == ("other99", 1)
    assert len(log.labels) == 3


def test_a_server_that_forgot_the_page_does_not_label_twice() -> None:
    log = new_log()
    apply_message(log, DISPLAY, message(add(1)), ProtocolState())
    state = apply_message(log, DISPLAY, message(add(1), add(2)), ProtocolState())
    assert len(log.labels) == 2
    assert state.notes == ()


def test_the_wish_for_confidence_needs_no_operation() -> None:
    wish = {"epoch": EPOCH, "n": 3, "want": {"confidence": True}, "ops": []}
    state = apply_message(new_log(), DISPLAY, wish, ProtocolState(EPOCH, 9, 2))
    assert (state.confidence, state.ack, state.seen) == (True, 9, 3)


@pytest.mark.parametrize(
    ("wish", "chosen"), [("abc-1", "abc-1"), ("", ""), (None, ""), (7, ""), (["x"], ""), ("x" * 65, "")]
)
def test_the_chosen_label_is_remembered_until_another_is_chosen(wish: Any, chosen: str) -> None:
    before = ProtocolState(EPOCH, 9, 2, selected="other")
    assert apply_message(new_log(), DISPLAY, message(n=3), before).selected == ""
    told = {"epoch": EPOCH, "n": 3, "want": {"selected": wish}, "ops": []}
    assert apply_message(new_log(), DISPLAY, told, before).selected == chosen


def test_a_full_disk_is_reported_and_the_page_does_not_repeat_for_ever(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    log = LabelLog(folder / "labels.jsonl")
    log.add_class("A")
    (folder / "labels.jsonl").unlink()
    (folder / "labels.jsonl").mkdir()
    state = apply_message(log, DISPLAY, message(add(1)), ProtocolState())
    assert state.ack == 1
    assert len(state.notes) == 1


def test_a_class_can_be_used_before_its_id_is_known() -> None:
    log = new_log(1)
    add_class = {"id": 1, "do": "add_class", "name": "Water"}
    state = apply_message(log, DISPLAY, message(add_class, add(2, class_id=-1)), ProtocolState())
    state = apply_message(log, DISPLAY, message(add(3, class_id=-1), n=2), state)
    assert state.created == ((1, 2),)
    assert [label.class_id for label in log.labels] == [2, 2]
    again = {"id": 4, "do": "add_class", "name": "Water"}
    state = apply_message(log, DISPLAY, message(again, add(5, class_id=-4), n=3), state)
    assert len(log.labels) == 2
    assert [op_id for op_id, _ in state.notes] == [4, 5]


def test_a_label_where_a_place_was_suggested_keeps_that_and_no_other_does(tmp_path: Path) -> None:
    log = LabelLog(tmp_path / "labels.jsonl")
    log.add_class("Wood")
    x, y = (float(v) for v in GRID.pixel_to_xy(10.5, 20.5))
    boxes = [(x - 15, y - 15, x + 15, y + 15)]
    ops = [add(1, 10.2, 20.9), add(2, 30, 20), add(3, 10, 20, "brush", radius=1), add(4, 10, 20, "erase", radius=1)]
    apply_message(log, DISPLAY, message(*ops), ProtocolState(), boxes)
    wanted = ["suggestion", "", "suggestion", ""]
    assert [label.origin for label in log.labels] == wanted
    log.edit_label(log.labels[0].id, note="wet")
    assert [label.origin for label in LabelLog(log.path).labels] == wanted
