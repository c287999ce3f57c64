"""What labels in easy places would score elsewhere, also where a head is far surer than it is right."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.assess.crossfit import HeldOut
from tessera_core.assess.origins import right_elsewhere
from tessera_core.assess.samples import MatrixFeatures, Samples


def _over_sure(seed: int, sharp: float, n: int) -> tuple[HeldOut, float]:
    """Labels of a head whose odds are those of the truth to the power of ``sharp``; and the share of the region that is right."""
    rng, k = np.random.default_rng(seed), np.arange(n)
    labels, ground = (np.abs(rng.normal(1.2, 0.8, size)) for size in (n, 2000))
    there = k % 2
    said = np.where(rng.random(n) < 1 / (1 + np.exp(-labels)), there, 1 - there)
    sure = 1 / (1 + np.exp(-sharp * labels))
    proba = np.empty((n, 2), np.float32)
    proba[k, said], proba[k, 1 - said] = sure, 1 - sure
    samples = Samples(MatrixFeatures(np.zeros((n, 1), np.float32)), there + 1, k, k, k, {})
    held = HeldOut(
        samples, np.array([1, 2]), proba, k % 5, there, np.ones(n), ground_sure=1 / (1 + np.exp(-sharp * ground))
    )
    return held, float((1 / (1 + np.exp(-ground))).mean())


@given(st.integers(0, 10_000), st.floats(2, 5), st.integers(120, 400))
@settings(max_examples=40, deadline=None)
def test_a_head_that_is_far_too_sure_is_not_believed(seed: int, sharp: float, n: int) -> None:
    held, truth = _over_sure(seed, sharp, n)
    found = right_elsewhere(held)
    assert found is not None
    assert abs(found - truth) < 0.15
    assert found < 0.99


def test_sixty_labels_of_which_the_head_is_certain_are_judged_by_how_often_it_is_right() -> None:
    k = np.arange(60)
    proba = np.tile(np.array([0.97, 0.03], np.float32), (60, 1))
    there = np.where(k < 42, 0, 1)
    samples = Samples(MatrixFeatures(np.zeros((60, 1), np.float32)), there + 1, k, k, k, {})
    held = HeldOut(samples, np.array([1, 2]), proba, k % 5, there, np.ones(60), ground_sure=np.full(500, 0.97))
    found = right_elsewhere(held)
    assert found is not None
    assert abs(found - 0.7) < 0.1
