"""The certified part of a map: as large as the answers carry, and wrong more than stated as seldom as said."""

from __future__ import annotations

import numpy as np
import pytest

from tessera_core.assess.certified import band, certify, violation
from tessera_core.errors import LabelError
from tessera_core.types import Bools, Doubles, Ints


def region(size: int = 20_000, seed: int = 11) -> tuple[Doubles, Bools, Ints]:
    """Confidence, mistakes (the fewer the more confident) and classes of a map, the last class rare and worse."""
    rng = np.random.default_rng(seed)
    sure = np.round(rng.beta(3, 1.2, size), 2)
    kinds = np.where(rng.random(size) < 0.1, 2, 1)
    return sure, rng.random(size) < 0.6 * (1 - sure) ** 1.2 + 0.05 * (kinds == 2), kinds


def test_parts_of_random_samples_break_their_promise_as_seldom_as_said() -> None:
    sure, wrong, _ = region()
    parts = []
    for seed in range(500):
        at = np.random.default_rng(seed).choice(len(sure), 150, replace=False)
        parts.append(certify(sure[at], wrong[at], sure, 0.1))
    assert violation(sure, wrong, parts) <= 0.05
    assert 0.2 < np.mean([part.share for part in parts]) < 0.95
    assert all(part.share == pytest.approx((sure >= part.threshold).mean()) for part in parts)


@pytest.mark.soak
def test_parts_of_samples_by_strata_weigh_them_as_the_map_does() -> None:
    sure, wrong, kinds = region()
    parts = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        at = np.concatenate([rng.choice(np.flatnonzero(kinds == kind), 90, replace=False) for kind in (1, 2)])
        parts.append(certify(sure[at], wrong[at], sure, 0.1, strata=(kinds[at], kinds)))
    assert violation(sure, wrong, parts) <= 0.08  # 0.05 over many more; 3 standard errors of 150
    assert np.mean([part.share for part in parts]) > 0.15


def test_a_map_that_is_wrong_everywhere_has_hardly_ever_a_certified_part() -> None:
    sure, _, _ = region()
    wrong = np.random.default_rng(2).random(len(sure)) < 0.11
    parts = []
    for seed in range(300):
        at = np.random.default_rng(seed).choice(len(sure), 120, replace=False)
        parts.append(certify(sure[at], wrong[at], sure, 0.1))
    assert violation(sure, wrong, parts) <= 0.05
    assert np.mean([part.share == 0 for part in parts]) > 0.9


def test_few_places_certify_nothing_and_enough_without_a_mistake_all() -> None:
    sure = np.linspace(0, 1, 1000)
    few = certify(sure[::40], np.zeros(25, bool), sure, 0.1)
    assert (few.share, few.places, few.fewest) == (0.0, 0, 29)
    enough = certify(sure[::10], np.zeros(100, bool), sure, 0.1)
    assert (enough.share, enough.places, enough.wrong) == (1.0, 100, 0)
    none = certify([], [], sure, 0.1)
    assert none.share == 0.0


def test_a_stratum_without_a_place_counts_as_wrong() -> None:
    sure, strata = np.linspace(0, 1, 1000), np.tile([1, 2], 500)
    at = np.arange(0, 1000, 10)
    assert set(strata[at]) == {1}
    part = certify(sure[at], np.zeros(100, bool), sure, 0.1, strata=(strata[at], strata))
    assert part.share == 0.0


def test_a_stricter_promise_never_covers_more() -> None:
    sure, wrong, _ = region()
    at = np.random.default_rng(1).choice(len(sure), 400, replace=False)
    shares = [certify(sure[at], wrong[at], sure, 0.1, risk).share for risk in (0.01, 0.05, 0.2)]
    assert shares[0] <= shares[2]
    assert certify(sure[at], wrong[at], sure, 0.3).share >= certify(sure[at], wrong[at], sure, 0.1).share


def test_the_band_names_what_is_not_certified_and_where_there_is_no_map() -> None:
    sure = np.linspace(0, 1, 1000)
    part = certify(sure[::5], sure[::5] < 0.4, sure, 0.1)
    assert 0 < part.threshold < 0.4
    pixels = np.array([[0.0, part.threshold, 1.0], [1.0, 0.99, 0.1]])
    covered = np.array([[True, True, True], [False, True, False]])
    drawn = band(pixels, covered, part)
    assert drawn.dtype == np.uint8
    assert drawn.tolist() == [[2, 1, 1], [0, 1, 0]]
    with pytest.raises(LabelError, match="between 0 and 100"):
        certify(sure, sure < 0.4, sure, 0.0)
    with pytest.raises(LabelError, match="each place"):
        certify(sure, sure[1:] < 0.4, sure)
