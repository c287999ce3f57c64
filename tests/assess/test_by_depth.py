"""Accuracy of the rarely and the well seen part of a map: right in the mean of many samples, the same parts for every door."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.assess.by_depth import accuracy_by_depth
from tessera_core.assess.designs import Sample, draw

SIZE = 80


def a_map() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, truth and clear days: a quarter of the region is seen rarely, and there the map is wrong twice as often."""
    rng = np.random.default_rng(5)
    classes = rng.choice([1, 2, 3], (SIZE, SIZE), p=[0.6, 0.3, 0.1]).astype(np.uint8)
    seen = np.full((SIZE, SIZE), 40, np.uint16)
    seen[:, :20] = 18
    wrong = rng.random((SIZE, SIZE)) < np.where(seen < 25, 0.4, 0.2)
    return classes, np.where(wrong, classes % 3 + 1, classes).astype(np.uint8), seen


def answered(sample: Sample, truth: np.ndarray) -> Sample:
    return replace(sample, reference=truth[sample.rows, sample.cols].astype(np.int64))


@pytest.mark.parametrize("design", ["random", "stratified"])
def test_each_part_is_estimated_without_bias(design: str) -> None:
    classes, truth, seen = a_map()
    found = [
        accuracy_by_depth(answered(draw(classes, 150, design, seed=seed), truth), seen, classes > 0)
        for seed in range(14)
    ]
    true = [float((classes == truth)[part].mean()) for part in (seen < 25, seen >= 25)]
    for k, expected in enumerate(true):
        values = np.array([parts[k].right.value for parts in found])
        assert abs(values.mean() - expected) < 4 * values.std() / len(values) ** 0.5
        held = np.mean([parts[k].right.low <= expected <= parts[k].right.high for parts in found])
        assert held > 0.7
    assert found[0][0].seldom
    assert found[0][0].share == 0.25
    assert sum(part.places for part in found[0]) == 150
    assert found[0][0].sentence.startswith("Seen clearly fewer than 25 times (25 % of the map): right at ")


def test_nothing_is_said_where_nobody_counted_or_one_part_is_hardly_there() -> None:
    classes, truth, seen = a_map()
    sample = answered(draw(classes, 60, "random", seed=1), truth)
    assert accuracy_by_depth(sample, None, classes > 0) == ()
    assert accuracy_by_depth(sample, np.full_like(seen, 60), classes > 0) == ()
    thin = seen.copy()
    thin[:, 3:20] = 40
    assert accuracy_by_depth(sample, thin, classes > 0) == ()
    assert accuracy_by_depth(replace(sample, reference=np.zeros(60, np.int64)), seen, classes > 0) == ()
    # A stratum without an answer leaves nothing to weigh by.
    strata = draw(classes, 60, "stratified", seed=1)
    half = answered(strata, truth)
    half = replace(half, reference=np.where(half.strata == 3, 0, half.reference))
    assert accuracy_by_depth(half, seen, classes > 0) == ()


def test_few_places_are_said_to_be_few() -> None:
    classes, truth, seen = a_map()
    sample = answered(draw(classes, 8, "random", seed=3), truth)
    parts = accuracy_by_depth(sample, seen, classes > 0)
    assert "too few to tell" in parts[0].sentence
