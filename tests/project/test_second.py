"""Second opinions of a validation: kept with names, blind, settled, merged from files."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.designs import draw
from tessera_core.assess.exchange import read_answers
from tessera_core.cli import main
from tessera_core.errors import LabelError
from tessera_core.grid import Grid
from tessera_core.project import second, validate
from tessera_core.project.project import Project
from tessera_core.project.response import Opinion, Response
from tessera_core.project.validate import Validation

GRID = Grid("EPSG:32631", Affine(10, 0, 4e5, 0, -10, 5.7e6), (40, 40))
CLASSES = np.where(np.arange(1600).reshape(40, 40) % 3, 1, 2).astype(np.uint8)


def _sample(n: int = 24) -> Validation:
    return second.for_two(Validation(2023, GRID, draw(CLASSES, n, at_least=5, seed=1)), 0.5, seed=2)


def _by(name: str, minute: int = 0) -> Response:
    return Response(interpreter=name, at=f"2026-01-01T10:{minute:02d}:00Z")


def test_two_people_answer_the_places_meant_for_two_and_neither_takes_the_place_of_the_other() -> None:
    current = _sample()
    places = sorted(current.doubled)
    assert 11 <= len(places) <= 13
    assert {int(k) for k in current.sample.strata[places]} == {1, 2}
    while (k := second.next_for(current, "Ann")) is not None:
        current = current.answer(k, 1, response=_by("Ann"))
    todo = []
    while (k := second.next_for(current, "Bo")) is not None:
        assert second.own(current, k, "Bo") is None
        todo.append(k)
        current = current.answer(k, 2 if k == places[0] else 1, response=_by("Bo"))
    assert todo == places
    assert second.next_for(current, "Cy") is None
    assert second.people(current) == ("Ann", "Bo")
    assert second.differing(current) == [places[0]]
    assert current.sample.reference[places[0]] == 1
    settled = current.settle(places[0], Opinion(class_id=2, response=_by("Cy")))
    assert second.differing(settled) == []
    assert settled.sample.reference[places[0]] == 2
    assert settled.responses[places[0]].interpreter == "Cy"
    assert [one.class_id for one in settled.said(places[0])] == [1, 2]
    assert settled.settle(places[0], None).sample.reference[places[0]] == 1
    found = second.agreed(settled)
    assert found is not None
    assert (found.places, found.agreed) == (len(places), len(places) - 1)
    both = second.interpreted(settled)
    assert both is not None
    assert both.doubled == len(places)


def test_a_second_thought_replaces_ones_own_answer_and_an_answer_without_a_name_nobodys_but_such() -> None:
    current = _sample().answer(3, 1, response=_by("Ann")).answer(3, 2, response=_by("Bo"))
    current = current.answer(3, 2, response=_by("Ann", 5))
    assert [(o.response.interpreter, o.class_id) for o in current.said(3)] == [("Ann", 2), ("Bo", 2)]
    gone = current.answer(3, None, response=_by("Ann"))
    assert [o.response.interpreter for o in gone.said(3)] == ["Bo"]
    assert gone.opinions == {}
    nameless = _sample().answer(4, 1).answer(4, 2, response=_by("Ann"))
    assert [(o.response.interpreter, o.class_id) for o in nameless.said(4)] == [("Ann", 2)]
    unsure = _sample().answer(5, 0, response=_by("Ann")).answer(5, 2, response=_by("Bo"))
    assert unsure.sample.reference[5] == 2
    assert 5 not in unsure.undecided
    assert second.differing(unsure) == [5]


def test_what_is_handed_out_shows_nothing_and_comes_back_without_loss(tmp_path: Path) -> None:
    mine = _sample().answer(0, 1, response=_by("Ann")).answer(1, 1, response=_by("Ann"))
    second.hand_out(mine, tmp_path / "places.json")
    text = json.loads((tmp_path / "places.json").read_text())
    assert not any(text["reference"])
    assert not any(text["mapped"])
    assert not text["responses"]
    theirs = (
        second.read_handed(tmp_path / "places.json").answer(0, 2, response=_by("Bo")).answer(7, 1, response=_by("Bo"))
    )
    came = second.merged(mine, theirs)
    assert (came.taken, came.older, came.differing) == (2, 0, 1)
    assert [o.class_id for o in came.validation.said(0)] == [1, 2]
    again = second.merged(came.validation, theirs)
    assert (again.taken, again.older) == (0, 2)
    assert again.validation == came.validation
    with pytest.raises(LabelError, match="other places"):
        second.merged(mine, Validation(2023, GRID, draw(CLASSES, 24, at_least=5, seed=9)))
    (tmp_path / "no.json").write_text("no")
    with pytest.raises(LabelError, match="handed out"):
        second.read_handed(tmp_path / "no.json")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.sampled_from("ABC"), st.integers(0, 9)), max_size=30)
)
def test_merging_keeps_every_persons_last_word_whatever_the_order(said: list[tuple[int, int, str, int]]) -> None:
    last = {(k, name): (minute, class_id) for k, class_id, name, minute in sorted(said, key=lambda one: one[3])}
    parts = {name: _sample(12) for name in "ABC"}
    for (k, name), (minute, class_id) in last.items():
        parts[name] = parts[name].answer(k, class_id, response=_by(name, minute))
    for order in ("ABC", "CAB"):
        whole = parts[order[0]]
        for name in order[1:]:
            whole = second.merged(whole, parts[name]).validation
        told = {(k, o.response.interpreter): o.class_id for k in range(12) for o in whole.said(k)}
        assert told == {key: class_id for key, (_, class_id) in last.items()}


def test_it_is_saved_and_people_who_answer_at_once_lose_nothing(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", "Fields")
    assert validate.change(project, 2023, lambda known: known) is None
    validate.start(project, _sample())

    def answering(name: str, seed: int) -> None:
        for k in np.random.default_rng(seed).permutation(24).tolist():
            validate.change(project, 2023, lambda known, k=k: known.answer(k, 1 + (k + seed) % 2, response=_by(name)))

    threads = [threading.Thread(target=answering, args=(name, i)) for i, name in enumerate(("Ann", "Bo"))]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    known = validate.load(project, 2023)
    assert known is not None
    assert all(len(known.said(k)) == 2 for k in range(24))
    assert len(second.differing(known)) == 24
    validate.save(project, known.settle(2, Opinion(class_id=1, response=_by("Cy"))))
    again = validate.load(project, 2023)
    assert again is not None
    assert again.final[2].response.interpreter == "Cy"
    assert again.doubled == known.doubled


def test_a_table_of_another_program_may_hold_answers_of_several_people(tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    table.write_text(
        "PLOTID,lon,lat,class,email\n1,3,50,a,ann@x.org\n1,3,50,b,bo@x.org\n2,3,50,a,ann@x.org\n2,3,50,b,ann@x.org\n"
        "3,3,50,b,bo@x.org\n"
    )
    read = read_answers(table, _sample().sample, {1: "a", 2: "b"})
    assert read.classes == {0: 1, 2: 2}
    assert read.others == ((0, 2, "bo"),)
    assert list(read.left_out.values()) == [1]
    assert "second answers" in " ".join(read.sentences())
    current = _sample().with_answers(read)
    assert [o.class_id for o in current.said(0)] == [1, 2]


def test_a_map_is_checked_by_two_people_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    project = Project.create(tmp_path / "Fen", "Fen")
    for name in ("maize", "wood"):
        project.log.add_class(name)

    def said(*words: object) -> tuple[int, dict]:
        code = main(["validate", *map(str, words), "--json", "-q"])
        return code, json.loads(capsys.readouterr().out)

    code, answer = said("show", project.folder)
    assert code == 2
    assert "validate draw" in answer["error"]["message"]
    plain = Validation(None, GRID, draw(CLASSES, 40, at_least=5, seed=1))
    validate.start(project, plain)
    assert said("for-two", project.folder, "--share", 50)[1]["places"] >= 18
    handed = tmp_path / "places.json"
    assert said("hand-out", project.folder, "--out", handed)[0] == 0
    for name, wrong in (("Ann", 40), ("Bo", 3)):
        theirs = second.read_handed(handed)
        for k in range(40):
            told = 3 - int(plain.sample.mapped[k]) if k == wrong else int(plain.sample.mapped[k])
            theirs = theirs.answer(k, told, response=_by(name))
        validate.save(Project.create(tmp_path / name, name), theirs)
        code, answer = said("take-in", project.folder, tmp_path / name / "validation.json")
        assert (code, answer["taken"]) == (0, 40)
    assert answer["differing"] == 1
    code, answer = said("show", project.folder)
    assert any("Not settled: 4." in line for line in answer["sentences"])
    assert any("people's errors" in line for line in answer["sentences"])
    # All is answered: the result holds, and nobody is told to go on.
    assert not any("however often you look" in line for line in answer["sentences"])
    assert said("settle", project.folder, "--place", 4, "--class", "fen", "--name", "Cy")[0] == 2
    assert said("settle", project.folder, "--place", 99, "--class", "wood", "--name", "Cy")[0] == 2
    assert said("settle", project.folder, "--place", 4, "--class", "wood", "--name", "Cy")[1]["open"] == []
    assert main(["validate", "hand-out", str(project.folder), "--out", str(tmp_path / "p.csv"), "-q"]) == 0
    assert (tmp_path / "p.csv").read_text().startswith("LON,LAT,PLOTID")
