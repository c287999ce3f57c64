"""Scores of a class side by side: honest, with what they are made of, and in an order that luck does not win."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.live import ClassScore, LiveScore
from tessera_core.classroom import board, standing
from tessera_core.classroom.model import Classroom, Member
from tessera_core.classroom.standing import Scores, standings
from tessera_core.classroom.tables import board_rows
from tessera_core.classroom.work import Work, read_work
from tessera_core.sources.local.open import open_embeddings
from tests.classroom.classes import CLASSES, learners, template, work


def scored(learner: str, share: float, low: float, known: int, labels: int = 12) -> Work:
    judged = tuple(ClassScore(n, str(n), 1.0, 1.0, 1.0, 3) for n in range(1, known + 1))
    score = LiveScore(share, (low, 1.0), share, None, labels, labels // 2, judged, np.eye(known), (), "")
    return work(learner, score=score)


def test_four_easy_labels_with_a_perfect_score_do_not_come_first() -> None:
    lazy, good, none = scored("Lou", 1.0, 0.51, 2, 4), scored("Ada", 0.9, 0.8, 4, 40), work("Zoë")
    found = standings([none, lazy, good], CLASSES, "template")
    assert [(one.learner, one.rank) for one in found] == [("Ada", 1), ("Lou", 2), ("Zoë", None)]
    assert (found[1].labels, found[1].places, found[1].known, found[1].classes) == (4, 2, 2, 4)
    assert found[2].held_out is None


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=6), st.randoms())
def test_the_order_of_the_learners_changes_nothing_and_equals_share_a_rank(given_: list, shuffle) -> None:  # type: ignore[no-untyped-def, type-arg]
    works = [scored(f"L{n}", 1.0, low / 10, known) for n, (low, known) in enumerate(given_)]
    first = standings(works, CLASSES, "template")
    shuffle.shuffle(works)
    assert standings(works, CLASSES, "template") == first
    for one, other in itertools.pairwise(first):
        assert None not in (one.rank, other.rank)
        assert (one.weight == other.weight) == (one.rank == other.rank)
        assert one.weight >= other.weight


def test_the_board_of_a_server_and_that_of_files_say_the_same_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path))
    teacher = template(tmp_path / "fen")
    projects = learners(teacher, tmp_path, ("Ada", "Bo", "Cy"))
    home = tmp_path / "projects"
    home.mkdir(exist_ok=True)
    members = []
    for n, project in enumerate(projects):
        project.folder.rename(home / f"p{n}")
        members.append(Member(nickname="ABC"[n], person="", word="", project=f"p{n}", joined=0.0))
    found = Classroom(id="0" * 16, code="", name="Fen", teacher="", opened=0.0, start="", members=tuple(members))
    raster = open_embeddings(teacher.embeddings_path(2023), year=2023)
    made: list[str] = []
    real = read_work

    def counted(project, *args, **options):  # type: ignore[no-untyped-def]
        made.append(project.folder.name)
        return real(project, *args, **options)

    monkeypatch.setattr(standing, "read_work", counted)
    scores = Scores()
    # No time at all: one at each look, who waits longest first.
    for n in range(1, 4):
        assert len(scores.look(board.rows(found), raster, seconds=0.0)) == n
    assert made == ["p0", "p1", "p2"]
    works = scores.look(board.rows(found), raster)
    assert len(made) == 3, "what has not changed is not read again"
    by_files = board_rows([read_work(board.project_of(one), raster, one.nickname) for one in members])
    for row, one in zip(by_files, sorted(standings(works, CLASSES), key=lambda one: one.learner), strict=True):
        assert (row["learner"], row["held_out"], row["judged_labels"], row["judged_places"]) == (
            one.learner,
            one.held_out,
            one.labels,
            one.places,
        )
    # Whoever is set back, or whose project goes, has no score.
    board.project_of(members[0]).log.clear()
    (home / "p1" / "project.json").unlink()
    works = scores.look(board.rows(found), raster)
    assert [(one.learner, one.rank) for one in standings(works, CLASSES)] == [("C", 1), ("A", None)]
