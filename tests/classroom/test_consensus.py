"""The vote of a class: what it must keep to, whatever the maps."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tessera_core.assess.live import ClassScore, LiveScore
from tessera_core.classroom import consensus
from tessera_core.classroom.consensus import confused_classes, departures, disagreement, vote, weight_of, weights_of
from tessera_core.classroom.matching import match_classes, plain
from tessera_core.errors import Cancelled, InputError
from tessera_core.labels.model import LabelClass
from tests.classroom.classes import CLASSES, work

# Small maps show all there is to see.
few = settings(max_examples=30)
maps = hnp.arrays(np.uint8, (5, 7), elements=st.integers(0, 4))
several = st.lists(st.tuples(maps, st.integers(1, 100)), min_size=1, max_size=6)


def score(low: float, known: int) -> LiveScore:
    per_class = tuple(ClassScore(n, str(n), 1.0, 1.0, 1.0, 5) for n in range(1, known + 1))
    return LiveScore(0.9, (low, 1.0), 0.9, None, 10, 5, per_class, np.eye(known), (), "")


def voted(given_: list[tuple[np.ndarray, int]], order: list[int] | None = None) -> consensus.Consensus:
    works = [work(f"learner {n}", each) for n, (each, _) in enumerate(given_)]
    weights = {f"learner {n}": weight / 100 for n, (_, weight) in enumerate(given_)}
    works = works if order is None else [works[n] for n in order]
    return vote(works, match_classes(works, CLASSES, "template"), weights)


@few
@given(maps, st.integers(1, 5))
def test_identical_maps_make_that_map(classes: np.ndarray, count: int) -> None:
    found = voted([(classes, 50)] * count)
    np.testing.assert_array_equal(found.classes, classes)
    assert set(found.share[classes > 0].tolist()) <= {100}
    assert set(found.entropy[classes > 0].tolist()) <= {0}
    assert set(found.share[classes == 0].tolist()) <= {consensus.NO_SHARE}


@few
@given(several, st.randoms())
def test_the_order_of_the_learners_changes_nothing(
    given_: list[tuple[np.ndarray, int]], shuffle: random.Random
) -> None:
    order = list(range(len(given_)))
    shuffle.shuffle(order)
    first, second = voted(given_), voted(given_, order)
    for name in ("classes", "share", "entropy"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.weights == second.weights


@few
@given(several, maps)
def test_a_learner_without_weight_changes_nothing(given_: list[tuple[np.ndarray, int]], more: np.ndarray) -> None:
    first, second = voted(given_), voted([*given_, (more, 0)])
    for name in ("classes", "share", "entropy"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@few
@given(several)
def test_the_vote_is_that_of_a_count_by_hand(given_: list[tuple[np.ndarray, int]]) -> None:
    found = voted(given_)
    for place in np.ndindex(found.classes.shape):
        votes = np.zeros(5)
        for classes, weight in given_:
            votes[classes[place]] += weight
        votes[0] = 0
        assert found.classes[place] == votes.argmax()
        if votes.any():
            assert abs(found.share[place] - 100 * votes.max() / votes.sum()) <= 0.5


@few
@given(several, st.integers(1, 40))
def test_blocks_of_any_size_make_one_map(given_: list[tuple[np.ndarray, int]], numbers: int) -> None:
    whole, before = voted(given_), consensus.BLOCK_NUMBERS
    consensus.BLOCK_NUMBERS = numbers
    try:
        np.testing.assert_array_equal(voted(given_).entropy, whole.entropy)
    finally:
        consensus.BLOCK_NUMBERS = before


def test_learners_without_a_map_have_no_vote_and_nobody_with_one_is_said() -> None:
    works = [work("Ana", [[1, 2]]), work("Bo", without_map="There is no map yet.")]
    assert set(vote(works, match_classes(works, CLASSES)).weights) == {"Ana"}
    with pytest.raises(InputError, match="Nobody has a map"):
        vote(works[1:], match_classes(works, CLASSES))
    works = [work("Ana", [[1, 2]]), work("Bo", [[1]])]
    with pytest.raises(InputError, match="different regions"):
        vote(works, match_classes(works, CLASSES))
    with pytest.raises(Cancelled):
        vote(works[:1], match_classes(works, CLASSES), cancelled=lambda: True)


def test_a_weight_is_how_much_better_than_guessing_a_learner_is_sure_to_be() -> None:
    assert weight_of(work("Ana", score=score(1.0, 4)), 4) == 1
    assert weight_of(work("Ana", score=score(0.625, 4)), 4) == pytest.approx(0.5)
    assert weight_of(work("Ana", score=score(0.2, 4)), 4) == 0
    assert weight_of(work("Ana", score=score(1.0, 2)), 4) == 0.5, "who knows two of four classes"
    assert weight_of(work("Ana"), 4) == 0
    works = [work("Ana", [[1]]), work("Bo", [[2]]), work("Cy")]
    assert weights_of(works, 4) == {"Ana": 1, "Bo": 1}, "nobody has a score, so all count the same"
    found = vote(works, match_classes(works, CLASSES))
    assert found.equal
    assert found.classes.tolist() == [[1]], "of several the first of the legend"


def test_classes_are_matched_by_the_templates_ids_and_else_by_their_names() -> None:
    own = tuple(replace(one, name=name) for one, name in zip(CLASSES[:2], ("Lake", "wood "), strict=True))
    other = (LabelClass(1, "  WOOD", "#ff0000"), LabelClass(2, "Reed", "#00ff00"), LabelClass(9, "Fields", "#0000ff"))
    works = [
        work("Ana", [[1, 2, 5]], (*own, LabelClass(5, "reed", "#00ff01"))),
        work("Bo", [[1, 2, 9]], other, origin="elsewhere"),
        work("Cy", [[1, 2, 7]], (*CLASSES[:2], LabelClass(7, "Moor", "#123456"))),
    ]
    legend = match_classes(works, CLASSES, "template")
    assert [one.name for one in legend.classes] == ["Water", "Wood", "Fields", "Town", "Reed"]
    assert legend.tables["Ana"][[0, 1, 2, 5]].tolist() == [0, 1, 2, 5]
    assert legend.tables["Bo"][[1, 2, 9]].tolist() == [2, 5, 3], "a stranger's ids mean nothing"
    assert legend.renamed == {"Ana": {"Lake": "Water"}}
    assert legend.unmatched == {"Cy": ("Moor",)}
    found = vote(works, legend, dict.fromkeys(("Ana", "Bo", "Cy"), 1.0))
    assert found.unmatched == {"Cy": 1}
    assert found.classes.tolist() == [[1, 2, 3]]
    assert len({one.color for one in legend.classes}) == 5


def test_swapped_names_are_not_taken_for_ids() -> None:
    swapped = (replace(CLASSES[0], name="Wood"), replace(CLASSES[1], name="Water"))
    works = [work("Ana", [[1, 2]], swapped)]
    assert vote(works, match_classes(works, CLASSES, "template")).classes.tolist() == [[2, 1]]


def test_without_a_template_names_make_the_legend_and_a_class_without_labels_is_none() -> None:
    works = [
        work("Ana", [[3, 1]], (LabelClass(3, "Wood", "#00ff00"), LabelClass(1, "Water", "#0000ff"))),
        work("Bo", [[1, 2]], (LabelClass(1, "wood", "#00ff00"), LabelClass(2, "Moor", "#00ff00"))),
    ]
    works[1] = replace(works[1], labels=works[1].labels[:1])
    legend = match_classes(works)
    assert [(one.id, one.name) for one in legend.classes] == [(1, "Water"), (2, "Wood")]
    assert legend.classes == match_classes(works[::-1]).classes
    with pytest.raises(InputError, match="same nickname"):
        match_classes([works[0], works[0]])
    assert plain("Ｗood  land") == plain("wood land")


def test_who_confuses_what_with_whom() -> None:
    works: list[Any] = [
        work("Ana", [[1, 1, 2, 2], [3, 3, 3, 0]]),
        work("Bo", [[1, 1, 2, 2], [4, 4, 3, 0]]),
        work("Cy", [[1, 1, 2, 2], [3, 3, 3, 3]]),
    ]
    legend = match_classes(works, CLASSES)
    found = disagreement(works, legend)
    assert found.agree[0].tolist() == pytest.approx([1, 5 / 7, 1])
    first = found.confusions[0]
    assert (first.first, first.second, first.mine, first.theirs) == ("Ana", "Bo", 3, 4)
    assert first.share == pytest.approx(2 / 7)
    assert confused_classes(found, legend) == [("Fields", "Town", pytest.approx(4 / 21))]
    assert found.between.sum() == pytest.approx(1)


@few
@given(several)
def test_disagreement_agrees_with_counting_pairs(given_: list[tuple[np.ndarray, int]]) -> None:
    works = [work(f"learner {n}", each) for n, (each, _) in enumerate(given_)]
    found = disagreement(works, match_classes(works, CLASSES))
    for i, (first, _) in enumerate(given_):
        for j, (second, _) in enumerate(given_):
            both = (first > 0) & (second > 0)
            if i != j and both.any():
                assert found.agree[i, j] == pytest.approx((first[both] == second[both]).mean())


def test_who_differs_from_the_class_and_how() -> None:
    works = [
        work("Ana", [[1, 1, 2, 2], [3, 3, 3, 0]]),
        work("Bo", [[1, 1, 2, 2], [4, 4, 3, 3]]),
        work("Cy", [[1, 1, 2, 2], [3, 3, 3, 3]]),
    ]
    legend = match_classes(works, CLASSES)
    found = departures(works, legend, vote(works, legend, dict.fromkeys(("Ana", "Bo", "Cy"), 1.0)))
    assert [one.learner for one in found] == ["Bo", "Ana", "Cy"]
    assert (found[0].mine, found[0].theirs, found[0].share, found[0].differs) == (4, 3, 0.25, 0.25)
    assert (found[1].mine, found[1].differs) == (0, 0)
