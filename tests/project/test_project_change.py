from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.errors import Cancelled, HeadError
from tessera_core.labels.model import Label
from tessera_core.project.change import YearLabels, compare_steps, confirm, map_years
from tests.analysis.two_years import CLASSES, PARCEL, TwoYears, two_years


@pytest.fixture(scope="module")
def years() -> TwoYears:
    return two_years(0, share=0.25, weather=2.0)


@pytest.fixture(scope="module")
def labels(years: TwoYears) -> list[Label]:
    rng = np.random.default_rng(0)
    grid, made = years.first.grid, []
    for number in range(90):
        row, col = rng.integers(0, 144 // PARCEL, 2) * PARCEL + PARCEL // 2
        x, y = grid.pixel_to_xy(row + 0.5, col + 0.5)
        made.append(Label(f"l{number}", int(years.covers[row, col]) + 1, "point", ((float(x), float(y)),)))
    return made


def test_one_head_maps_every_year_and_finds_the_transitions(years: TwoYears, labels: list[Label]) -> None:
    rasters = {2023: years.first, 2024: years.second}
    layers = compare_steps(rasters)
    found = map_years(YearLabels(labels, 2023), rasters, layers)
    inner = ~years.changed
    inner[:, :] &= (np.indices(inner.shape) % PARCEL > 1).all(0) & (np.indices(inner.shape) % PARCEL < PARCEL - 2).all(
        0
    )
    for year in rasters:
        assert (found.maps[year].classes[inner] == years.covers[inner] + 1).mean() > 0.9
    (step,) = found.steps
    assert step.low is not None
    assert step.high is not None
    assert step.confirmed is not None
    assert (step.low <= step.pixels).all()
    assert (step.high >= step.pixels).all()
    away = ~np.eye(len(step.ids), dtype=bool)
    assert step.confirmed[away].sum() == pytest.approx(years.changed.sum(), rel=0.15)
    assert found.n_train > len(found.transfers[2024].rows)
    stricter = confirm(found, layers, 1e-6)[0].confirmed
    assert stricter is not None
    assert stricter[away].sum() < step.confirmed[away].sum()


def test_labels_of_the_later_year_go_back_in_time(years: TwoYears, labels: list[Label]) -> None:
    rasters = {2023: years.first, 2024: years.second}
    found = map_years(YearLabels(labels, 2024), rasters, {})
    assert found.transfers[2023].years == (2024, 2023)
    assert set(found.maps) == {2023, 2024}


def test_more_than_two_years_are_compared_step_by_step(years: TwoYears, labels: list[Label]) -> None:
    noise = np.random.default_rng(1).integers(-9, 10, years.first.codes.shape)
    codes = np.clip(years.first.codes + noise, -127, 127).astype(np.int8)
    third = replace(years.first, codes=codes, provenance=replace(years.first.provenance, year=2025))
    rasters = {2023: years.first, 2024: years.second, 2025: third}
    layers = compare_steps(rasters)
    assert list(layers) == [(2023, 2024), (2024, 2025)]
    told: list[tuple[int, int]] = []
    found = map_years(
        YearLabels(labels, 2023), rasters, layers, progress=lambda done, total, _: told.append((done, total))
    )
    assert [step.years for step in found.steps] == [(2023, 2024), (2024, 2025)]
    assert told == sorted(told)
    assert max(told)[0] <= told[0][1]
    assert len(found.steps[0].ids) <= CLASSES


def test_labels_of_a_year_that_is_not_mapped_teach_from_it(years: TwoYears, labels: list[Label]) -> None:
    found = map_years(YearLabels(labels, 2023, years.first), {2024: years.second}, {})
    assert list(found.maps) == [2024]
    assert found.steps == ()
    assert found.transfers[2024].years == (2023, 2024)
    calm = ~years.changed & (np.indices(years.changed.shape) % PARCEL > 1).all(0)
    assert (found.maps[2024].classes[calm] == years.covers[calm] + 1).mean() > 0.9


def test_one_class_is_no_map_and_stopping_stops(years: TwoYears, labels: list[Label]) -> None:
    rasters = {2023: years.first, 2024: years.second}
    layers = compare_steps(rasters)
    with pytest.raises(HeadError, match="two classes"):
        map_years(YearLabels([one for one in labels if one.class_id == labels[0].class_id], 2023), rasters, layers)
    with pytest.raises(Cancelled):
        map_years(YearLabels(labels, 2023), rasters, layers, cancelled=lambda: True)
