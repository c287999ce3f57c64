"""Class means or logistic regression: the labels decide, and only where they are sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.assess.head_comparison import LEAST_PLACES, compare_heads
from tessera_core.assess.reference import Reference
from tessera_core.assess.samples import Samples
from tessera_core.models.quantise import quantise


def samples(x: np.ndarray, y: np.ndarray, places: np.ndarray) -> Samples:
    number = np.arange(len(y))
    reference = Reference(number, 0 * number, y, number, [], points=True)
    return replace(reference.with_codes(*quantise(x.astype(np.float32), "v2")), groups=number, spatial_groups=places)


def lopsided(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two classes with a clear border; half of one lies far behind it and draws its mean, and with it the border, away."""
    y = 1 + np.arange(count) % 2
    far = np.where((y == 1) & (rng.random(count) < 0.5), 12.0, 0.0)
    x = rng.normal(0, 0.4, (count, 6)) + 8
    x[:, 0] += np.where(y == 1, 1.5, -1.5) + far
    return x, y


@pytest.mark.parametrize("seed", range(3))
def test_logistic_is_named_where_means_lie_wrong(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = lopsided(160, rng)
    told = compare_heads(samples(x, y, np.arange(160) // 4))
    assert told.best == "logistic"
    assert told.right["logistic"] > told.right["prototype"] + 0.1
    assert "is clearly better" in told.sentence
    assert f"at {told.places} places" in told.sentence


@pytest.mark.parametrize("seed", range(3))
def test_class_means_stay_where_the_difference_may_be_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = 1 + np.arange(80) % 4
    x = rng.normal(0, 1, (80, 8)) + 6 * np.eye(8)[y]
    assert compare_heads(samples(x, y, np.arange(80) // 2)).best == "prototype"
    # Clear as it is, of few places nothing is said.
    x, y = lopsided(160, rng)
    few = compare_heads(samples(x, y, np.arange(160) // (160 // (LEAST_PLACES - 4))))
    assert few.places < LEAST_PLACES
    assert few.best == "prototype"


def test_without_places_to_hold_out_it_says_so() -> None:
    told = compare_heads(samples(np.ones((4, 3)), np.array([1, 1, 2, 2]), np.zeros(4, int)))
    assert (told.best, told.places, dict(told.right)) == ("prototype", 0, {})
    assert "Too few labels" in told.sentence
