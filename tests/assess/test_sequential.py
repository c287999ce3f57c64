"""Label until sure: the interval holds at all answers at once, and says when to stop."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.assess.designs import looking_order
from tessera_core.assess.sequential import limits, next_stratum, until_sure
from tessera_core.errors import LabelError


@pytest.mark.parametrize("chosen_by_answers", [False, True])
def test_the_truth_is_inside_at_every_answer_at_once(chosen_by_answers: bool) -> None:
    weights, truth = np.array([0.6, 0.3, 0.1]), np.array([0.95, 0.85, 0.6])
    rng, held = np.random.default_rng(4), 0
    for _ in range(60):
        strata = rng.choice(3, 150, p=weights)
        if chosen_by_answers:
            hits, counts = np.zeros(3), np.zeros(3)
            right = np.zeros(150, bool)
            for i in range(150):
                strata[i] = next_stratum(hits, counts, weights)
                right[i] = rng.random() < truth[strata[i]]
                hits[strata[i]] += right[i]
                counts[strata[i]] += 1
        else:
            right = rng.random(150) < truth[strata]
        found = until_sure(right, strata, weights)
        held += bool(((found.low <= weights @ truth) & (weights @ truth <= found.high)).all())
    assert held / 60 >= 0.95


def test_a_drawn_stratified_sample_gives_a_narrower_interval_that_holds_at_every_answer() -> None:
    weights, truth, places = np.array([0.7, 0.25, 0.05]), np.array([0.97, 0.9, 0.7]), (70, 30, 20)
    rng, held, ends = np.random.default_rng(9), 0, []
    for number in range(40):
        strata = np.repeat(np.arange(3), places)
        strata = strata[looking_order(strata, rng)]
        right = rng.random(len(strata)) < truth[strata]
        found = until_sure(right, strata, weights, places=places)
        held += bool(((found.low <= weights @ truth) & (weights @ truth <= found.high)).all())
        if number < 5:
            other = until_sure(right, strata, weights)
            ends.append((found.high[-1] - found.low[-1], other.high[-1] - other.low[-1]))
    assert held >= 37
    ours, others = np.mean(ends, 0)
    assert ours < 0.9 * others
    with pytest.raises(LabelError, match="more answers"):
        until_sure([True] * 3, [0, 0, 0], [0.5, 0.5], places=[2, 2])


def test_a_fixed_interval_looked_at_after_every_answer_does_not_hold() -> None:
    rng = np.random.default_rng(1)
    right = rng.random((200, 300)) < 0.9
    n = np.arange(1, 301)
    share = np.cumsum(right, 1) / n
    half = 1.96 * np.sqrt(share * (1 - share) / n)
    plain = (np.abs(share - 0.9) <= half)[:, 30:].all(1).mean()
    ours = [until_sure(row, np.zeros(300, int), [1.0]) for row in right]
    assert np.mean([((s.low <= 0.9) & (s.high >= 0.9)).all() for s in ours]) >= 0.94
    assert plain < 0.8


def test_limits_are_those_of_the_bet_where_there_is_one_stratum() -> None:
    from scipy.special import betaln

    low, high = limits(np.array([[45.0]]), np.array([[50.0]]), np.ones(1))
    for end in (low[0], high[0]):
        bet = betaln(49, 6) - betaln(4, 1) - 45 * np.log(end) - 5 * np.log1p(-end)
        assert bet == pytest.approx(np.log(20), abs=1e-6)
    assert low[0] < 0.9 < high[0]


def test_nothing_seen_leaves_everything_and_all_right_never_excludes_one() -> None:
    low, high = limits(np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([[0.0, 0.0], [9.0, 0.0]]), np.array([0.7, 0.3]))
    assert (low[0], high[0]) == pytest.approx((0.0, 1.0), abs=1e-9)
    assert high[1] == pytest.approx(1.0)
    assert 0 < low[1] < 0.7


def test_it_says_when_to_stop_or_about_how_many_more() -> None:
    right = np.arange(600) % 10 > 0
    all_of_it = until_sure(right, np.zeros(600, int), [1.0])
    assert all_of_it.stop is not None
    assert all_of_it.more == 0
    assert all_of_it.high[all_of_it.stop - 1] - all_of_it.low[all_of_it.stop - 1] <= 0.1
    assert (np.diff(all_of_it.low) >= 0).all()
    assert (np.diff(all_of_it.high) <= 0).all()
    begun = until_sure(right[:100], np.zeros(100, int), [1.0])
    assert begun.stop is None
    assert begun.more is not None
    assert abs(100 + begun.more - all_of_it.stop) <= 30
    assert until_sure([], [], [1.0]).more is None
    with pytest.raises(LabelError, match="not known"):
        until_sure([True], [3], [1.0])
