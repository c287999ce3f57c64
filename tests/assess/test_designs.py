"""Sample sizes, allocations, draws and the CSV that carries a sample."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.api.trust import validate
from tessera_core.assess.designs import DESIGNS, allocate, draw, from_csv, read_table, sample_size, to_csv, write_csv
from tessera_core.errors import LabelError
from tessera_core.grid import Grid

# Olofsson et al. (2014), section 5.1.
SHARES = {1: 0.020, 2: 0.015, 3: 0.320, 4: 0.645}
EXPECTED = {1: 0.70, 2: 0.60, 3: 0.90, 4: 0.95}
NAMES = {1: "maize", 2: 'grass, "wet"', 3: "wood"}
GRID = Grid("EPSG:32631", Affine(10, 0, 4e5, 0, -10, 5.7e6), (60, 80))


def a_map(seed=0):
    rng = np.random.default_rng(seed)
    classes = rng.choice([1, 2, 3], p=[0.1, 0.3, 0.6], size=(60, 80)).astype(np.uint8)
    classes[:5] = 0
    return classes


def test_the_sample_size_of_olofsson_et_al_2014():
    assert sample_size(SHARES, EXPECTED, 0.01) == 641
    assert sample_size(SHARES, EXPECTED, 0.01, population=10_000_000) == 641
    assert sample_size(SHARES, EXPECTED, 0.01, population=2000) < 520
    # Simple random sampling is the case of one stratum: n = U (1 - U) / se^2.
    assert sample_size({0: 1.0}, {0: 0.8}, 0.02) == 400


def test_allocations():
    proportional = allocate(641, SHARES)
    assert proportional == {1: 13, 2: 10, 3: 205, 4: 413}
    assert allocate(640, SHARES, "equal") == dict.fromkeys(SHARES, 160)
    optimal = allocate(641, SHARES, "optimal", EXPECTED)
    spread = {k: SHARES[k] * np.sqrt(u * (1 - u)) for k, u in EXPECTED.items()}
    for k in SHARES:
        assert optimal[k] == pytest.approx(641 * spread[k] / sum(spread.values()), abs=1)
    assert allocate(640, SHARES, at_least=75)[2] == 75
    assert allocate(50, SHARES, "optimal", dict.fromkeys(SHARES, 1.0)) == allocate(50, SHARES)
    with pytest.raises(LabelError, match="too few"):
        allocate(7, SHARES)


@given(
    st.dictionaries(st.integers(1, 20), st.floats(0.001, 1000), min_size=1, max_size=12),
    st.integers(0, 500),
    st.sampled_from(["proportional", "equal", "optimal"]),
    st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_allocations_always_sum_up_and_respect_the_least(shares, extra, method, at_least):
    n = at_least * len(shares) + extra
    given_out = allocate(n, shares, method, at_least=at_least)
    assert sum(given_out.values()) == n
    assert set(given_out) == set(shares)
    assert min(given_out.values()) >= at_least


@pytest.mark.parametrize("design", DESIGNS)
def test_samples_lie_on_the_map_each_place_once(design):
    classes = a_map()
    sample = draw(classes, 120, design, seed=3)
    assert len({*zip(sample.rows.tolist(), sample.cols.tolist(), strict=True)}) == len(sample)
    assert (classes[sample.rows, sample.cols] == sample.mapped).all()
    assert (sample.mapped > 0).all()
    assert len(sample) == pytest.approx(120, rel=0.25 if design == "systematic" else 0)
    again = draw(classes, 120, design, seed=3)
    np.testing.assert_array_equal(sample.rows, again.rows)
    assert not np.array_equal(sample.rows, draw(classes, 120, design, seed=4).rows)
    if design == "stratified":
        assert sample.sizes == {k: int((classes == k).sum()) for k in (1, 2, 3)}
        share = {k: (sample.strata == k).sum() for k in (1, 2, 3)}
        assert share == allocate(120, sample.sizes)
    if design == "systematic":
        steps = np.unique(np.diff(np.unique(sample.rows)))
        assert steps.max() - steps.min() <= 1


def test_every_pixel_has_the_same_chance_in_a_random_sample():
    classes = np.ones((10, 10), np.uint8)
    for design in ("random", "systematic"):
        hits = np.zeros((10, 10))
        for seed in range(400):
            sample = draw(classes, 20, design, seed=seed)
            hits[sample.rows, sample.cols] += 1
        # Binomial of 400 draws with chance 0.2: 5 standard deviations are 40.
        assert abs(hits - 80).max() < 45


@given(
    sizes=st.lists(st.integers(2, 200), min_size=1, max_size=6),
    seed=st.integers(0, 2**32 - 1),
    stop=st.integers(0, 20),
)
def test_whoever_stops_early_has_been_in_every_class(sizes, seed, stop):
    classes = np.repeat(np.arange(1, len(sizes) + 1), sizes)[None]
    n = min(2 * len(sizes) + stop, sum(sizes))
    sample = draw(classes, n, seed=seed)
    first = sample.strata[: 2 * len(sizes)]
    assert np.bincount(first)[1:].tolist() == [2] * len(sizes)
    assert sorted(sample.strata[: len(sizes)]) == list(range(1, len(sizes) + 1))


def test_which_places_of_a_class_come_first_is_chance():
    classes = np.repeat([1, 2], [30, 10])[None]
    hits = np.zeros(40)
    for seed in range(600):
        hits[draw(classes, 12, seed=seed).cols[:4]] += 1
    # Binomial of 600 draws with chances 1/15 and 1/5: 5 standard deviations are 31 and 49.
    assert abs(hits[:30] - 40).max() < 31
    assert abs(hits[30:] - 120).max() < 49


def test_answers_give_areas():
    classes = a_map()
    sample = draw(classes, 90, strata=np.where(np.arange(80) < 40, 1, 2)[None].repeat(60, 0), seed=1)
    with pytest.raises(LabelError, match="looked at"):
        sample.assess()
    for i in range(len(sample)):
        sample = sample.answer(i, int(sample.mapped[i]))
    found = sample.assess(total_area=44.0)
    assert found.overall.value == pytest.approx(1)
    assert sum(c.area.value for c in found.classes) == pytest.approx(44)
    assert sample.answer(0, 0).answered == 89


def test_a_sample_survives_its_csv(tmp_path):
    sample = draw(a_map(), 40, seed=2).answer(3, 2, 'mown, "maybe"').answer(5, 1)
    for grid in (GRID, Grid.local((60, 80))):
        write_csv(tmp_path / "sample.csv", sample, grid, NAMES)
        back = from_csv((tmp_path / "sample.csv").read_text(encoding="utf-8"), NAMES)
        for name in ("rows", "cols", "strata", "mapped", "reference"):
            np.testing.assert_array_equal(getattr(back, name), getattr(sample, name))
        assert (back.notes, back.sizes, back.design) == (sample.notes, sample.sizes, sample.design)
    lon, lat = (float(v) for v in to_csv(sample, GRID, NAMES).splitlines()[2].split(",")[5:7])
    row, col = GRID.lonlat_to_pixel(lon, lat)
    assert (int(row), int(col)) == (sample.rows[0], sample.cols[0])


def test_a_table_keeps_what_a_place_is_and_where_nobody_could_tell():
    sample = draw(a_map(), 12, seed=2).answer(0, 2)
    for names in (NAMES, {1: "Cannot tell", 2: "unknown", 3: "wood"}):
        text = to_csv(sample, GRID, names, undecided={3, 5}, unit="block", rule="centre")
        for one in (text, text.replace("\n", ";;;\n", 1)):
            back = read_table(one, names, GRID)
            assert (back.undecided, back.unit, back.rule) == ({3, 5}, "block", "centre")
            np.testing.assert_array_equal(back.sample.reference, sample.reference)
    # Files of earlier versions say nothing of it.
    old = read_table(to_csv(sample, GRID, NAMES).replace(" unit=pixel rule=majority", ""), NAMES)
    assert (old.undecided, old.unit, old.rule) == (frozenset(), "pixel", "majority")
    with pytest.raises(LabelError, match="no sample of this app"):
        read_table(text.replace("unit=block", "unit=hexagon"), names)


@pytest.mark.parametrize("lonlat", [True, False])
def test_a_sample_of_another_region_is_refused(lonlat):
    def text(grid):
        told = to_csv(sample, grid, NAMES)
        return told if lonlat else told.replace(",lon,lat,", ",a,b,")

    sample = draw(a_map(), 12, seed=2)
    degrees = Grid("EPSG:4326", Affine(1e-4, 0, 3, 0, -1e-4, 51), (60, 80))
    for grid in (GRID, degrees, Grid.local((60, 80))):
        assert len(read_table(text(grid), NAMES, grid).sample) == 12
    plain = {1: "maize", 2: "grass", 3: "wood"}
    commas = to_csv(sample, GRID, plain).replace(",", ";").replace(".", ",")
    assert len(read_table(commas, plain, GRID).sample) == 12
    beside = Grid(GRID.crs, GRID.transform * Affine.translation(2, 0), GRID.shape)
    elsewhere = Grid(GRID.crs, Affine(10, 0, 6e5, 0, -10, 5.3e6), GRID.shape)
    next_zone = Grid("EPSG:32632", GRID.transform, GRID.shape)
    for other in (beside, elsewhere, degrees, *([next_zone] if lonlat else [])):
        with pytest.raises(LabelError, match="another region"):
            read_table(text(other), NAMES, GRID)
    with pytest.raises(LabelError, match="outside the map"):
        read_table(text(GRID), NAMES, Grid(GRID.crs, GRID.transform, (10, 10)))


def test_of_a_head_saved_earlier_it_is_said_that_its_places_are_not_known(tmp_path):
    classes = a_map()
    sample = draw(classes, 12, seed=2)
    for k in range(12):
        sample = sample.answer(k, int(sample.mapped[k]))
    write_csv(tmp_path / "s.csv", sample, GRID, NAMES)
    labels = SimpleNamespace(rows=sample.rows[:3], cols=sample.cols[:3])

    class MappedClasses(SimpleNamespace):
        """All that validate() looks at."""

    for taught, note in ((labels, "3 of 12 places also taught"), (None, "Which places taught the map is not known")):
        made = MappedClasses(classes=classes, grid=GRID, names=NAMES, labels=taught)
        assert validate(made, tmp_path / "s.csv").notes[-1].startswith(note)


def test_answers_filled_in_by_a_spreadsheet_are_read():
    text = to_csv(draw(a_map(), 12, seed=2), Grid.local((60, 80)), {1: "maize", 2: "grass", 3: "wood"})
    names = {1: "maize", 2: "grass", 3: "wood"}
    lines = text.splitlines()
    lines[2] = lines[2].removesuffix(",,") + ",Wood ,seen"
    lines[3] = lines[3].removesuffix(",,") + ",2,"
    filled = from_csv("\ufeff" + "\r\n".join(lines), names)
    assert filled.reference[:3].tolist() == [3, 2, 0]
    semicolons = [lines[0] + ";;;", *(line.replace(",", ";") for line in lines[1:])]
    assert from_csv("\n".join(semicolons).replace(";;;", "", 1), names).reference[:2].tolist() == [3, 2]
    lines[4] = lines[4].removesuffix(",,") + ",lake,"
    with pytest.raises(LabelError, match=r"Line 5 .*'lake'"):
        from_csv("\n".join(lines), names)
    with pytest.raises(LabelError, match="no sample of this app"):
        from_csv("a,b\n1,2\n", names)


def test_impossible_wishes():
    with pytest.raises(LabelError, match="cannot be drawn"):
        draw(a_map(), 10_000)
    with pytest.raises(LabelError, match="no design"):
        draw(a_map(), 10, "hexagons")
    with pytest.raises(LabelError, match="standard error"):
        sample_size(SHARES, EXPECTED, 0)
    with pytest.raises(LabelError, match="accuracies"):
        sample_size(SHARES, {1: 7}, 0.01)
