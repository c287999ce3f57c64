"""Places that nobody could tell: whatever they are, what follows lies within the bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.designs import Sample
from tessera_core.assess.nonresponse import worst_case
from tessera_core.errors import LabelError


def a_sample(seed: int, undecided: int) -> Sample:
    rng = np.random.default_rng(seed)
    strata = np.repeat([1, 2, 3], [10, 8, 6])
    reference = np.where(rng.random(24) < 0.8, strata, rng.integers(1, 4, 24))
    reference[rng.choice(24, undecided, replace=False)] = 0
    return Sample(
        np.arange(24),
        np.arange(24),
        strata,
        strata.copy(),
        reference,
        ("",) * 24,
        {1: 900, 2: 300, 3: 90},
        "stratified",
    )


@given(seed=st.integers(0, 10_000), undecided=st.integers(1, 6), data=st.data())
@settings(deadline=None, max_examples=15)
def test_whatever_the_undecided_places_are_the_interval_lies_within(
    seed: int, undecided: int, data: st.DataObject
) -> None:
    sample = a_sample(seed, undecided)
    blanks = np.flatnonzero(sample.reference == 0).tolist()
    bounds = worst_case(sample, blanks)
    for position in blanks:
        sample = sample.answer(position, data.draw(st.integers(1, 3)))
    found = sample.assess(1.0)
    low, high = found.overall.interval
    assert bounds.overall[0] <= low + 1e-6
    assert high <= bounds.overall[1] + 1e-6
    for one in found.classes:
        low, high = one.share.interval
        assert bounds.classes[one.id][0] <= low + 1e-6
        assert high <= bounds.classes[one.id][1] + 1e-6


def test_without_undecided_places_they_are_the_intervals() -> None:
    sample = a_sample(1, 0)
    bounds, found = worst_case(sample, ()), sample.assess(1.0)
    assert bounds.overall == pytest.approx(found.overall.interval)
    assert [bounds.classes[one.id] for one in found.classes] == [
        pytest.approx(one.share.interval) for one in found.classes
    ]
    nobody = a_sample(1, 24)
    with pytest.raises(LabelError, match="no place"):
        worst_case(nobody, ())


def test_more_places_that_nobody_can_tell_only_widen_them() -> None:
    sample, undecided = a_sample(4, 0), set[int]()
    before = worst_case(sample, undecided).overall
    for position in (3, 12, 20):
        sample = sample.answer(position, 0)
        undecided.add(position)
        after = worst_case(sample, undecided).overall
        assert after[0] <= before[0] + 1e-9
        assert after[1] >= before[1] - 1e-9
        before = after
