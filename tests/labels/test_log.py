import json
import os
import random
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core._utils.locks import locked
from tessera_core.errors import LabelError
from tessera_core.labels.log import LabelLog
from tessera_core.labels.model import Label, LabelClass


def state(log):
    return log.classes, log.labels, log.counts


@pytest.fixture
def path(tmp_path):
    return tmp_path / "labels.jsonl"


@pytest.fixture
def log(path):
    log = LabelLog(path)
    log.add_class("Wood")
    log.add_class("Water")
    return log


ACTIONS = st.lists(st.tuples(st.sampled_from("padrsvcmeikngu"), st.integers(0, 10**6)), max_size=40)


def act(log, action, number):
    """One random but valid thing to do; returns whether it was an event that undo takes back."""
    classes, labels = log.classes, log.labels
    pick = classes[number % len(classes)].id if classes else None
    xy = [(number % 97, number % 89)]
    if action == "p" and pick:
        log.add("point", pick, xy)
    elif action == "a" and pick:
        log.add("brush", pick, [*xy, (number % 7, 3.5)], radius=2.5)
    elif action == "d":
        log.add("erase", None, xy, radius=1)
    elif action == "r" and labels:
        log.remove_label(labels[number % len(labels)].id)
    elif action == "s" and labels and pick:
        log.edit_label(labels[number % len(labels)].id, class_id=pick, note=str(number))
    elif action == "v" and labels:
        moved = labels[number % len(labels)]
        log.edit_label(moved.id, xy=[(x + number % 5, y - 2) for x, y in moved.xy])
    elif action == "c":
        log.add_class(f"class {log.version}")
    elif action == "m" and len(classes) > 1:
        log.merge_classes(pick, next(c.id for c in classes if c.id != pick))
    elif action == "e" and pick:
        log.edit_class(pick, name=f"renamed {log.version}", color=f"#{number % 0xFFFFFF:06x}")
    elif action == "i":
        klass = LabelClass(1, f"imported {number % 3}", "#112233")
        log.import_labels([klass], [Label(f"i{number}", 1, "point", xy), Label(f"j{number}", 1, "point", xy)])
    elif action == "k" and pick:
        log.remove_class(pick)
    elif action == "n":
        log.clear()
    else:
        return False
    return True


@given(ACTIONS, st.data())
@settings(max_examples=150, deadline=None)
def test_undo_and_redo_return_the_same_states_after_any_sequence(actions, data):
    log = LabelLog()
    log.add_class("first")
    states = [state(log)]
    for action, number in actions:
        if action in "gu":
            back = data.draw(st.integers(0, len(states) - 1))
            for _ in range(back):
                assert log.undo()
            assert state(log) == states[-1 - back]
            for _ in range(back):
                assert log.redo()
            assert state(log) == states[-1]
        elif act(log, action, number):
            states.append(state(log))
            assert not log.can_redo
    for expected in reversed(states[:-1]):
        log.undo()
        assert state(log) == expected
    for expected in states[1:]:
        log.redo()
        assert state(log) == expected


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_what_is_read_from_disk_equals_what_was_in_memory(tmp_path_factory, seed):
    rng = random.Random(seed)
    path = tmp_path_factory.mktemp("log") / "labels.jsonl"
    log = LabelLog(path)
    log.add_class("first")
    for _ in range(30):
        action = rng.choice("paaddrsvcmeiknuuu")
        if action == "u":
            rng.choice([log.undo, log.redo])()
        else:
            act(log, action, rng.randrange(10**6))
    again = LabelLog(path)
    assert state(again) == state(log)
    assert (again.version, again.can_undo, again.can_redo) == (log.version, log.can_undo, log.can_redo)
    assert not again.notes
    while log.undo():
        again.sync()
    assert state(again) == state(log)


def test_a_label_is_moved_in_one_step_that_undo_takes_back(log, path):
    hole = [(1, 1), (2, 1), (2, 2)]
    log.add("polygon", 1, [(0, 0), (5, 0), (5, 5)], holes=[hole], note="pond in the middle")
    log.add("point", 2, [(1, 2)])
    before = state(log)
    field = log.labels[0]
    moved = log.edit_label(field.id, xy=[(0, 0), (9, 0), (5, 5)])
    assert log.labels[0] == moved
    assert (moved.xy, moved.holes, moved.note) == (((0, 0), (9, 0), (5, 5)), field.holes, "pond in the middle")
    assert log.edit_label(field.id, holes=[]).holes == ()
    assert state(LabelLog(path)) == state(log)
    with pytest.raises(LabelError, match="three different corners"):
        log.edit_label(field.id, xy=[(0, 0), (9, 0)])
    with pytest.raises(LabelError, match="no longer exists"):
        log.edit_label("nobody", xy=[(0, 0)])
    assert log.undo()
    assert log.undo()
    assert state(log) == before == state(LabelLog(path))


def test_the_log_tells_when_a_label_was_made(log, path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1000.5)
    label = log.add("point", 1, [(1, 2)])
    monkeypatch.setattr("time.time", lambda: 2000.0)
    log.edit_label(label.id, note="later", xy=[(3, 4)])
    log.undo()
    log.undo()
    log.redo()
    log.import_labels([LabelClass(1, "Wood", "#008000")], [Label("theirs", 1, "point", ((0, 0),))])
    for one in (log, LabelLog(path)):
        assert [one.made_at(known.id) for known in one.labels] == [1000.5, 2000.0]
        assert one.made_at("nobody") is None


def test_logs_of_before_times_and_moves_are_read(path):
    path.write_text(
        '{"format": "tessera-labels/1"}\n'
        '{"do":"add_class","class":{"id":1,"name":"Wood","color":"#008000"}}\n'
        '{"do":"add","label":{"id":"a","class_id":1,"kind":"point","xy":[[1,2]]}}\n'
        '{"do":"edit_label","id":"a","note":"oak"}\n'
    )
    log = LabelLog(path)
    assert not log.notes
    assert (log.labels[0].note, log.made_at("a"), log.saved_at) == ("oak", None, None)


def test_version_changes_with_every_event_and_only_then(log):
    seen = {log.version}
    for change in (lambda: log.add("point", 1, [(1, 2)]), log.undo, log.redo, log.clear):
        change()
        assert log.version not in seen
        seen.add(log.version)
    before = log.version
    with pytest.raises(LabelError):
        log.add("point", 99, [(1, 2)])
    assert log.sync() is False
    assert log.version == before


def test_class_ids_are_never_used_twice(log, path):
    new = log.add_class("Town")
    log.undo()
    assert log.add_class("Field").id == new.id + 1
    log.remove_class(new.id + 1)
    assert LabelLog(path).add_class("Bare").id == new.id + 2
    log.sync()
    log.remove_class(new.id + 2)
    log.remove_class(1)
    log.undo()
    assert log.add_class("Road").id == new.id + 3


def test_there_are_at_most_254_classes(path):
    log = LabelLog()
    for n in range(254):
        log.add_class(f"class {n}")
    assert len({c.color for c in log.classes}) == 254
    with pytest.raises(LabelError, match="254"):
        log.add_class("one more")


def test_new_classes_get_colours_of_their_own_and_names_are_unique(log):
    assert len({c.color for c in log.classes}) == 2
    with pytest.raises(LabelError, match="already a class 'Wood'"):
        log.add_class(" wood ")
    with pytest.raises(LabelError, match="already a class 'Water'"):
        log.edit_class(1, name="WATER")
    with pytest.raises(LabelError, match="#rrggbb"):
        log.edit_class(1, color="red")


def test_removing_a_class_takes_its_labels_and_undo_brings_both_back_in_order(log):
    for class_id in (1, 2, 1):
        log.add("point", class_id, [(class_id, 0)])
    before = state(log)
    log.remove_class(1)
    assert [label.class_id for label in log.labels] == [2]
    assert log.counts == {2: 1}
    log.undo()
    assert state(log) == before


def test_merging_gives_the_labels_to_the_other_class(log):
    log.add("point", 1, [(0, 0)])
    log.add("erase", None, [(0, 0)], radius=1)
    log.merge_classes(1, 2)
    assert [(label.kind, label.class_id) for label in log.labels] == [("point", 2), ("erase", 0)]
    with pytest.raises(LabelError, match="itself"):
        log.merge_classes(2, 2)


def test_how_a_label_was_chosen_is_kept_and_files_without_it_still_open(log):
    mine = log.add("point", 1, [(0, 0)], origin="suggestion")
    assert log.add("point", 1, [(1, 1)]).origin == ""
    theirs = [Label("file", 1, "point", ((2, 2),)), Label("drawn", 1, "point", ((3, 3),), origin="sampled")]
    log.import_labels([LabelClass(1, "Wood", "#008000")], theirs, origin="imported")
    assert [label.origin for label in log.labels] == ["suggestion", "", "imported", "sampled"]
    kept = LabelLog(log.path)
    assert kept.labels == log.labels
    before = {key: value for key, value in mine.to_json().items() if key != "origin"}
    assert Label.from_json(before).origin == ""
    assert "origin" not in Label.from_json(before).to_json()
    for later in ("telepathy", 7, ["suggestion"]):
        assert Label.from_json(before | {"origin": later}).origin == ""


def test_an_import_is_one_event_and_matches_classes_by_name(log):
    theirs = [LabelClass(1, "WATER", "#0000ff"), LabelClass(2, "Bog", "#00ff00")]
    labels = [Label("same", 1, "point", ((0, 0),)), Label("same", 2, "point", ((1, 1),))]
    assert log.import_labels(theirs, labels) == 2
    assert [c.name for c in log.classes] == ["Wood", "Water", "Bog"]
    assert log.counts == {1: 0, 2: 1, 3: 1}
    assert len({label.id for label in log.labels}) == 2
    log.import_labels(theirs, labels)
    assert len({label.id for label in log.labels}) == 4
    log.undo()
    log.undo()
    assert [c.name for c in log.classes] == ["Wood", "Water"]
    with pytest.raises(LabelError, match="does not define"):
        log.import_labels([], labels)


@pytest.mark.parametrize(
    "junk", [b'{"do":"add","lab', b"\x00\xff\xfe", b'{"do":"add"', b"[[[[", b'{"do":"' + b"x" * 5000]
)
def test_a_cut_off_last_line_is_dropped_with_a_note_and_nothing_else(log, path, junk):
    log.add("point", 1, [(1, 2)])
    before = state(log)
    with path.open("ab") as file:
        file.write(junk)
    again = LabelLog(path)
    assert state(again) == before
    assert "cut off" in again.notes[0]
    again.add("point", 2, [(3, 4)])
    clean = LabelLog(path)
    assert not clean.notes
    assert state(clean) == state(again)
    assert len(clean.labels) == 2


def test_every_possible_cut_keeps_all_whole_events(log, path):
    for n in range(3):
        log.add("polygon", 1, [(0, n), (5, n), (5, n + 5)], holes=[[(1, n + 1), (2, n + 1), (2, n + 2)]])
    data = path.read_bytes()
    ends = [n for n, byte in enumerate(data) if byte == 10]
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        # A line that lacks nothing but its newline is whole.
        lines = sum(end <= cut for end in ends)
        assert LabelLog(path).version == max(lines - 1, 0), cut


def test_a_whole_last_line_without_newline_is_kept_and_appended_to(log, path):
    log.add("point", 1, [(1, 2)])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    again = LabelLog(path)
    again.add("point", 1, [(3, 4)])
    assert len(LabelLog(path).labels) == 2
    assert not LabelLog(path).notes


@pytest.mark.parametrize(
    "line",
    [
        '{"do": "add", "label": {"id": "x", "class_id": 1, "kind": "point", "xy": [[1e999, 2]]}}',
        '{"do": "add", "label": {"id": "x", "class_id": 77, "kind": "point", "xy": [[1, 2]]}}',
        '{"do": "add", "label": {"id": "x", "class_id": [1], "kind": "point", "xy": [[1, 2]]}}',
        '{"do": "add", "label": 3}',
        '{"do": "remove_label", "id": {"a": 1}}',
        '{"do": "edit_label", "id": "first", "xy": 3}',
        '{"do": "edit_label", "id": "first", "xy": [[1e999, 2]]}',
        '{"do": "edit_label", "id": "first", "holes": 3}',
        '{"do": ["undo"]}',
        '{"do": "explode"}',
        '{"do": "redo"}',
        '{"do": "add_class", "class": {"id": 1, "name": "again", "color": "#000000"}}',
        '{"do": "add_class", "class": {"id": 400, "name": "high", "color": "#000000"}}',
        '{"do": "edit_class", "id": 1, "color": "url(javascript:1)"}',
        '{"do": "import", "classes": [], "labels": [{"id": "x", "class_id": 9, "kind": "point", "xy": [[0, 0]]}]}',
        '"text"',
        "[" * 100_000,
        "null",
    ],
)
def test_a_hostile_line_is_left_out_with_a_note_and_the_rest_is_kept(log, path, line):
    log.add("point", 1, [(1, 2)], id="first")
    before = state(log)
    with path.open("a") as file:
        file.write(line + "\n")
    again = LabelLog(path)
    assert state(again) == before
    assert len(again.notes) == 1
    assert "left out" in again.notes[0]
    again.add("point", 2, [(3, 4)])
    assert len(LabelLog(path).labels) == 2


@pytest.mark.parametrize("imported", [False, True])
def test_classes_that_only_half_of_a_letter_told_apart_stay_two(path, imported):
    """Reading makes one sign of every half; the second class was refused then, and its labels left out."""
    classes = [{"id": n, "name": "Wood " + "\ud83d\ud83c"[n - 1], "color": f"#00000{n}"} for n in (1, 2)]
    lines = [{"do": "import", "classes": classes, "labels": []}]
    lines = lines if imported else [{"do": "add_class", "class": value} for value in classes]
    lines += [{"do": "add", "label": {"id": f"l{n}", "class_id": n, "kind": "point", "xy": [[n, n]]}} for n in (1, 2)]
    lines += [{"do": "add_class", "class": {"id": 3, "name": "Fen", "color": "#000003"}}]
    lines += [
        {"do": "edit_class", "id": 3, "name": "WOOD \ud83e"},
        {"do": "edit_class", "id": 3, "name": "WOOD \ud83e"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"format": "tessera-labels/1"}, *lines]))
    log = LabelLog(path)
    assert ([c.name for c in log.classes], log.notes) == (["Wood \ufffd", "Wood \ufffd 2", "WOOD \ufffd 3"], [])
    assert log.counts == {1: 1, 2: 1, 3: 0}
    assert state(LabelLog(path)) == state(log)
    with pytest.raises(LabelError, match="already a class"):
        log.add_class("Wood \ufffd")


def test_two_tabs_lose_nothing(path):
    first, second = LabelLog(path), LabelLog(path)
    wood = first.add_class("Wood")
    water = second.add_class("Water")
    assert (wood.id, water.id) == (1, 2)
    first.add("point", wood.id, [(0, 0)])
    second.add("point", water.id, [(1, 1)])
    first.add("point", water.id, [(2, 2)])
    assert second.sync()
    assert state(first) == state(second) == state(LabelLog(path))
    assert len(first.labels) == 3
    first.remove_class(wood.id)
    with pytest.raises(LabelError, match="no class 1"):
        second.add("point", wood.id, [(3, 3)])
    assert state(first) == state(second)


def test_many_writers_at_once_lose_nothing(path):
    LabelLog(path).add_class("Wood")

    def write(tab):
        log = LabelLog(path)
        for n in range(20):
            log.add("point", 1, [(tab, n)])

    threads = [threading.Thread(target=write, args=(tab,)) for tab in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log = LabelLog(path)
    assert not log.notes
    assert {label.xy[0] for label in log.labels} == {(tab, n) for tab in range(4) for n in range(20)}


def test_a_writer_waits_for_the_other(log, path):
    with path.open("r+b") as file:
        with locked(file):
            thread = threading.Thread(target=log.add, args=("point", 1, [(1, 2)]))
            thread.start()
            thread.join(0.3)
            assert thread.is_alive()
        thread.join(10)
    assert len(LabelLog(path).labels) == 1


def test_a_replaced_file_is_refused_clearly(log, path):
    log.add("point", 1, [(1, 2)])
    path.write_text('{"format": "tessera-labels/1"}\n')
    with pytest.raises(LabelError, match="open the project again"):
        log.add("point", 1, [(3, 4)])
    path.unlink()
    with pytest.raises(LabelError, match="disappeared"):
        log.sync()


def _replace_by_a_copy(path, data):
    other = path.with_name("other")
    other.write_bytes(data)
    other.replace(path)


def _write_over(path, data):
    path.write_bytes(data)


@pytest.mark.parametrize("put", [_replace_by_a_copy, _write_over])
@pytest.mark.parametrize("change", ["shorter", "longer", "same size", "other labels", "damaged middle", "nothing"])
def test_a_replaced_log_is_never_appended_to_and_read_again_on_request(log, path, put, change):
    for n in range(5):
        log.add("point", 1, [(n, 2)], id=f"label{n}")
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    data = {
        "shorter": b"".join(lines[:-2]),
        "longer": b"".join([*lines[:3], lines[3].replace(b"label0", b"other0"), *lines[3:]]),
        "same size": whole.replace(b"[[1.0,2.0]]", b"[[7.0,2.0]]"),
        "other labels": whole.replace(b"label", b"lapel"),
        "damaged middle": b"".join([*lines[:4], b"\x00" * (len(lines[4]) - 1) + b"\n", *lines[5:]]),
        "nothing": b"",
    }[change]
    assert data != whole
    before, version = state(log), log.version
    put(path, data)
    with pytest.raises(LabelError, match="open the project again"):
        log.add("point", 1, [(9, 9)])
    assert path.read_bytes() == data
    assert state(log) == before
    assert log.reread()
    assert state(log) == state(LabelLog(path))
    assert log.version > version + LabelLog(path).version
    (sentence,) = log.replaced
    assert "5 were there before" in sentence
    kept = list(path.parent.glob("*.before-*.jsonl"))
    lost = {label.id: label for label in before[1]}.items() - {label.id: label for label in log.labels}.items()
    assert bool(kept) == bool(lost)
    if kept:
        assert kept[0].name in sentence
        assert state(LabelLog(kept[0])) == before
    assert not log.reread()
    if log.classes:
        log.add("point", 1, [(9, 9)])
        assert state(log) == state(LabelLog(path))


def test_a_copy_with_more_in_it_is_no_replacement(log, path):
    """Programs that keep folders alike write a new file and move it into place."""
    log.add("point", 1, [(1, 2)])
    other = LabelLog(path)
    other.add("point", 2, [(3, 4)])
    _replace_by_a_copy(path, path.read_bytes())
    log.add("point", 1, [(5, 6)])
    assert not log.replaced
    assert state(log) == state(LabelLog(path))
    assert len(log.labels) == 3


def test_a_log_that_vanished_is_gone_on_without_only_on_request(log, path):
    log.add("point", 1, [(1, 2)])
    before = state(log)
    path.unlink()
    with pytest.raises(LabelError, match="disappeared"):
        log.sync()
    assert state(log) == before
    assert log.reread()
    assert log.labels == []
    (kept,) = path.parent.glob("*.before-*.jsonl")
    assert state(LabelLog(kept)) == before


def test_where_the_old_labels_cannot_be_kept_nothing_is_given_up(log, path, monkeypatch):
    log.add("point", 1, [(1, 2)])
    before = state(log)
    path.write_text("")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabelError, match="cannot be kept"):
        log.reread()
    assert state(log) == before
    monkeypatch.undo()
    assert log.reread()


@pytest.mark.parametrize("junk", [b"\n" * 20_000_000, b" \n" * 20_000])
def test_a_file_of_empty_lines_is_refused_after_a_few(path, junk):
    path.write_bytes(b'{"format": "tessera-labels/1"}\n' + junk)
    with pytest.raises(LabelError, match="empty lines"):
        LabelLog(path)


def test_a_line_that_is_too_long_is_passed_without_being_held(log, path, monkeypatch):
    monkeypatch.setattr("tessera_core.labels.log_file.MAX_LINE", 1000)
    log.add("point", 1, [(1, 2)])
    with path.open("ab") as file:
        file.write(b"[" * 5000 + b"\n" + b'{"do":"add","label":{"id":"x","class_id":1,"kind":"point","xy":[[3,4]]}}\n')
    again = LabelLog(path)
    assert [label.id for label in again.labels][1:] == ["x"]
    assert ["longer" in note for note in again.notes] == [True]
    with pytest.raises(LabelError, match="in parts"):
        again.add("polygon", 1, [(n, n * n) for n in range(200)])
    assert state(LabelLog(path)) == state(again)


def test_thousands_of_damaged_lines_are_counted_not_listed(log, path):
    with path.open("ab") as file:
        file.write(b"{}\n" * 5000)
    again = LabelLog(path)
    assert len(again.notes) == 21
    assert "4980 further lines" in again.notes[-1]


def test_undoing_a_great_deletion_over_and_over_is_refused(path, monkeypatch):
    monkeypatch.setattr("tessera_core.labels.log.MAX_CHANGES", 10_000)
    log = LabelLog(path)
    log.import_labels([LabelClass(1, "Wood", "#00ff00")], [Label(f"l{n}", 1, "point", ((n, n),)) for n in range(100)])
    log.clear()
    with path.open("ab") as file:
        file.write(b'{"do":"undo"}\n{"do":"redo"}\n' * 100)
    with pytest.raises(LabelError, match="no hand did that"):
        LabelLog(path)


def test_on_a_server_for_strangers_no_sentence_names_its_folders(log, path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOSTED", "1")
    log.add("point", 1, [(1, 2)])
    path.write_text("")
    for act in (lambda: log.add("point", 1, [(1, 2)]), log.sync):
        with pytest.raises(LabelError) as caught:
            act()
        assert str(path.parent) not in str(caught.value)


def test_a_file_of_another_format_says_so(path):
    path.write_text('{"format": "tessera-labels/9"}\n')
    assert "tessera-labels/9" in LabelLog(path).notes[0]


def test_a_batch_keeps_each_event_undoable(log, path):
    with log.batch():
        for n in range(5):
            log.add("point", 1, [(n, n)])
        log.undo()
    assert len(LabelLog(path).labels) == 4
    log.undo()
    assert len(log.labels) == 3


def test_a_full_disk_shows_and_keeps_nothing_that_is_not_saved(log, path, monkeypatch):
    log.add("point", 1, [(1, 2)])
    before = state(log)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LabelError, match="No space left"):
        log.add("point", 1, [(3, 4)])
    monkeypatch.undo()
    assert state(log) == before == state(LabelLog(path))
    log.add("point", 1, [(5, 6)])
    assert len(LabelLog(path).labels) == 2


def test_everything_is_on_disk_after_a_kill(path):
    script = (
        "import os, sys, signal\nfrom tessera_core.labels.log import LabelLog\n"
        "log = LabelLog(sys.argv[1])\nlog.add_class('Wood')\n"
        "for n in range(10): log.add('point', 1, [(n, n)])\n"
        "os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode != 0
    assert len(LabelLog(path).labels) == 10


def test_the_log_is_one_json_object_a_line(log, path):
    log.add("point", 1, [(1, 2)], note="by\nthe gate")
    lines = path.read_text().splitlines()
    assert [json.loads(line).get("do") for line in lines] == [None, "add_class", "add_class", "add"]
    assert log.labels[0].note == "by the gate"
