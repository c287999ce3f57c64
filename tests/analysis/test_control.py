"""An area against matched control: a known effect is found, no effect is not, and the rate of false alarms is what p says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tessera_core.analysis import control
from tessera_core.analysis.control import Outcome, against_control
from tessera_core.errors import Cancelled, RasterError
from tests.analysis.two_years import PARCEL, TwoYears, two_years
from tests.factories import make_raster


def box(world: TwoYears, row: int, col: int, size: int = 2 * PARCEL) -> np.ndarray:
    area = np.zeros(world.changed.shape, bool)
    area[row : row + size, col : col + size] = True
    return area


@pytest.fixture(scope="module")
def world() -> TwoYears:
    # Weather moves the whole scene; every fifth parcel changes anyway, as fields do.
    return two_years(3, share=0.1, weather=1.5)


def treated(world: TwoYears, area: np.ndarray, strength: float) -> object:
    """The second year with everything in the area moved one way."""
    rows, cols = np.indices(area.shape)
    values = world.second.sample(rows.ravel(), cols.ravel()).reshape(*area.shape, -1)
    values[area] += strength * np.random.default_rng(9).normal(size=values.shape[-1]) / np.sqrt(values.shape[-1])
    raster = world.second
    return make_raster(values, raster.grid, raster.provenance, empty=np.s_[1, :4])


def test_a_known_effect_is_found_with_its_size(world: TwoYears) -> None:
    area = box(world, 36, 60)
    outcome = _outcome(world)
    # A share that falls by 0.3 in the area and by 0.1 everywhere, as in a bad year.
    outcome = Outcome(outcome.before, outcome.after - 0.1 - 0.3 * area[..., None])
    found = against_control(area, [world.first], [world.second], outcome)
    assert found.effect == pytest.approx([-0.3], abs=0.03)
    assert found.control == pytest.approx([-0.1], abs=0.03)
    assert found.area - found.control == pytest.approx(found.effect)
    assert found.p == pytest.approx(1 / (1 + len(found.sizes)))
    assert control.LEAST_PLACEBOS <= len(found.sizes) <= control.PLACEBOS
    # Controls lie outside of the area and of what surrounds it.
    assert not area[found.rows, found.cols].any()
    # Any change at all is found in the embeddings, too; the weather of the scene is none.
    moved = against_control(area, [world.first], [treated(world, area, 6.0)])  # type: ignore[list-item]
    assert moved.p == pytest.approx(1 / (1 + len(moved.sizes)))
    assert against_control(area, [world.first], [world.second]).p > moved.p


def _outcome(world: TwoYears) -> Outcome:
    rng = np.random.default_rng(5)
    shape = (*world.changed.shape, 1)
    before = rng.uniform(0.3, 0.7, shape)
    return Outcome(before.astype(np.float32), (before + 0.05 * rng.normal(size=shape)).astype(np.float32))


@pytest.mark.soak
def test_where_nothing_was_done_p_is_below_a_level_no_more_often_than_it_says() -> None:
    # Areas laid at random in worlds of their own, weather, crops and all.
    values = []
    for seed in range(6):
        world = two_years(20 + seed, share=0.2, weather=1.5)
        rng = np.random.default_rng(seed)
        for _ in range(4):
            row, col = rng.integers(0, 144 - 24, 2)
            values.append(against_control(box(world, row, col), [world.first], [world.second], placebos=39).p)
    p = np.array(values)
    # 24 draws: at a true rate of .1, more than 6 below it would come once in 250 times; at .25, more than 12 in 1000.
    assert (p <= 0.1).sum() <= 6
    assert (p <= 0.25).sum() <= 12
    assert p.mean() > 0.3


def test_same_samples_same_answer_and_years_are_pooled(world: TwoYears) -> None:
    area = box(world, 36, 60)
    one, two = (against_control(area, [world.first], [world.second], seed=4, placebos=20) for _ in range(2))
    assert one.p == two.p
    assert (one.placebos == two.placebos).all()
    pooled = against_control(area, [world.first, world.first], [world.second], seed=4, placebos=20)
    assert pooled.effect == pytest.approx(one.effect, rel=1e-4, abs=1e-5)


def test_placebo_areas_lie_elsewhere_and_mostly_on_ground_of_their_own(world: TwoYears) -> None:
    area = box(world, 36, 60)
    found = against_control(area, [world.first], [world.second])
    for down, right in found.places:
        there = control._moved(area, down, right)
        assert there.sum() == area.sum()
        assert (there & area).sum() == 0
    for one, two in itertools.combinations(found.places, 2):
        assert control.shared(np.array([24, 24]), one - two) <= 0.5


def test_what_cannot_be_asked_is_said(world: TwoYears) -> None:
    years = [world.first], [world.second]
    with pytest.raises(RasterError, match="at least 12 are needed"):
        against_control(box(world, 20, 20, 3), *years)
    with pytest.raises(RasterError, match="Draw a smaller area, or load a larger region"):
        against_control(box(world, 4, 4, 90), *years)
    with pytest.raises(RasterError, match="hardly any land outside"):
        against_control(np.ones(world.changed.shape, bool), *years)
    with pytest.raises(RasterError, match="one year after"):
        against_control(box(world, 4, 4), years[0], [])
    with pytest.raises(Cancelled):
        against_control(box(world, 4, 4), *years, cancelled=lambda: True)
