"""Several people at one place: agreement, and intervals that know that people err."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.area import assess_sample
from tessera_core.assess.interpreters import Opinions, agreement, interpret
from tessera_core.errors import LabelError

SIZES = {1: 7000.0, 2: 3000.0}
TRUTH = np.array([[0.93, 0.07], [0.1, 0.9]])


def _drawn(rng: np.random.Generator, wrong: float, doubled: float, n: int = 150) -> tuple[np.ndarray, Opinions]:
    """Strata and answers of two people who are wrong at a share of places; what they differ on was settled rightly."""
    strata = np.where(np.arange(n) < 0.7 * n, 1, 2)
    truth = np.where(rng.random(n) < TRUTH[strata - 1, 0], 1, 2)
    answers = np.stack([np.where(rng.random(n) < wrong, 3 - truth, truth) for _ in range(2)], 1)
    single = rng.random(n) >= doubled
    answers[single, rng.integers(0, 2, n)[single]] = 0
    differ = (answers > 0).all(1) & (answers[:, 0] != answers[:, 1])
    return strata, Opinions(answers.astype(np.int64), np.where(differ, truth, 0).astype(np.int64), ("Ann", "Bo"))


def test_errors_of_people_are_taken_out_of_the_estimate_and_put_into_the_interval() -> None:
    rng, held, plain = np.random.default_rng(5), 0, 0
    for _ in range(25):
        strata, opinions = _drawn(rng, 0.1, 0.5)
        found = interpret(strata, strata, opinions, SIZES)
        first = np.where(opinions.settled > 0, opinions.settled, opinions.answers.max(1))
        usual = assess_sample(strata, strata, first, SIZES).overall
        held += found.overall.low <= 0.921 <= found.overall.high
        plain += usual.low <= 0.921 <= usual.high
        assert set(found.areas) == set(found.users) == {1, 2}
        assert found.areas[1].value + found.areas[2].value == pytest.approx(1, abs=1e-6)
    assert held >= 22
    assert plain <= 18


def test_who_never_errs_leaves_the_usual_interval_nearly_as_it_is() -> None:
    strata, opinions = _drawn(np.random.default_rng(1), 0.0, 1.0, 400)
    found = interpret(strata, strata, opinions, SIZES)
    usual = assess_sample(strata, strata, opinions.answers[:, 0], SIZES).overall
    assert found.overall.value == pytest.approx(usual.value, abs=0.01)
    assert found.overall.high - found.overall.low >= usual.high - usual.low - 0.005
    assert max(found.wrong.values()) < 0.01


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), wrong=st.sampled_from([0.0, 0.05, 0.3]), doubled=st.sampled_from([0.1, 0.6, 1.0]))
def test_estimates_lie_within_their_intervals_and_those_within_what_is_possible(
    seed: int, wrong: float, doubled: float
) -> None:
    strata, opinions = _drawn(np.random.default_rng(seed), wrong, doubled, 60)
    found = interpret(strata, strata, opinions, SIZES)
    for one in (found.overall, *found.areas.values(), *found.users.values(), *found.producers.values()):
        if np.isfinite(one.value):
            assert 0 <= one.low <= one.value + 1e-6
            assert one.value - 1e-6 <= one.high <= 1
    swapped = Opinions(opinions.answers[:, ::-1], opinions.settled, ("Bo", "Ann"))
    again = interpret(strata, strata, swapped, SIZES).overall
    assert (again.low, again.high) == pytest.approx((found.overall.low, found.overall.high), abs=1e-5)


def test_one_person_alone_is_no_second_opinion() -> None:
    alone = Opinions(np.ones((5, 1), np.int64), np.zeros(5, np.int64), ("Ann",))
    with pytest.raises(LabelError, match="two people"):
        interpret(np.ones(5, int), np.ones(5, int), alone, {1: 100})
    with pytest.raises(LabelError, match="stratum"):
        interpret(
            np.ones(5, int), np.ones(5, int), Opinions(np.ones((5, 2), np.int64), np.zeros(5, np.int64), ("a", "b")),
            {1: 100, 2: 100},
        )  # fmt: skip


def test_disagreement_is_split_into_how_often_and_where() -> None:
    said = np.array([[1, 2], [2, 1], [1, 1], [2, 2], [0, 1], [3, 3]])
    found = agreement(Opinions(said, np.zeros(6, np.int64), ("Ann", "Bo")))
    assert (found.places, found.agreed, found.quantity) == (5, 3, 0)
    assert found.allocation == pytest.approx(0.4)
    assert found.counts.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    none = agreement(Opinions(np.array([[1, 0]]), np.zeros(1, np.int64), ("Ann", "Bo")))
    assert (none.places, none.agreed, none.quantity, none.allocation) == (0, 0, 0.0, 0.0)
