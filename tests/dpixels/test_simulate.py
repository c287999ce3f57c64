"""The simulator: reproducible, plausible beside real data, varied, and honest in its truth."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from scipy import ndimage

from tessera_core.dpixels.preprocess import sar_code
from tessera_core.dpixels.simulate import COVER_NAMES, sample_dpixels, stream_dpixels
from tessera_core.dpixels.simulate.canopy import grow, reflectance
from tessera_core.dpixels.simulate.classes import CLASS_TABLE, WORLD_COVERS
from tessera_core.dpixels.simulate.climates import CLIMATES, ZONES, draw_zone_weather, find_zone
from tessera_core.dpixels.simulate.covers import COVERS
from tessera_core.dpixels.simulate.layout import Use
from tessera_core.dpixels.simulate.observe import observe
from tessera_core.dpixels.simulate.parcels import MAX_CYCLES, Climate, draw_parcels
from tessera_core.dpixels.simulate.radar import encode, speckle
from tessera_core.dpixels.simulate.randomised import randomised_covers
from tessera_core.dpixels.simulate.regional import ALL_COVERS, REGIONAL
from tessera_core.dpixels.simulate.sample import NO_COVER, TEMPERATE_COVERS
from tessera_core.dpixels.simulate.scene import draw_optical_dates, draw_weather, sun_position
from tessera_core.dpixels.simulate.spectra import BLOSSOM, DRY, LEAVES, MATERIALS, SOILS
from tessera_core.dpixels.simulate.terrain import drainage, fractal, make_terrain
from tessera_core.dpixels.simulate.world import make_world
from tessera_core.dpixels.tile import S2_BANDS, DPixelTile
from tessera_core.errors import Cancelled, InputError

RED, GREEN, NIR, SWIR = (S2_BANDS.index(band) for band in ("B04", "B03", "B08", "B11"))


@pytest.fixture(scope="module")
def sample():
    return sample_dpixels(6000, seed=1)


@pytest.fixture(scope="module")
def world():
    return make_world(seed=0, size=128, years=(2023, 2024))


@pytest.fixture(scope="module")
def tiles(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("observed")
    return {year: observe(world, year, folder / str(year)) for year in (2023, 2024)}


# ------------------------------------------------------------------ materials and plants


def test_covers_name_only_what_the_spectra_have():
    for cover in ALL_COVERS.values():
        assert cover.leaf in LEAVES
        assert cover.dry in DRY
        assert set(cover.soils) <= set(SOILS)
        assert set(cover.materials) <= set(MATERIALS)
        assert cover.blossom in {"", *BLOSSOM}
    for name, leaf in LEAVES.items():
        assert leaf[NIR] > 5 * leaf[RED], name


def seasonal(name: str, day: int, **climate: float) -> np.ndarray:
    """Median reflectance (10,) of many parcels of a cover on a day, on a dry soil."""
    parcels = draw_parcels([name], np.zeros(200, int), Climate(**climate), np.random.default_rng(0))
    days = np.array([day])
    canopy = grow(parcels, days, climate.get("drought", 0.0))
    return np.median(reflectance(parcels, canopy, np.array([0.3])), axis=0)[0]


def ndvi(spectrum: np.ndarray) -> float:
    return float((spectrum[NIR] - spectrum[RED]) / (spectrum[NIR] + spectrum[RED]))


def test_crops_follow_their_calendars():
    assert ndvi(seasonal("winter wheat", 140)) > 0.75 > 0.4 > ndvi(seasonal("winter wheat", 225))
    assert ndvi(seasonal("maize", 135)) < 0.4
    assert ndvi(seasonal("maize", 215)) > 0.75
    assert ndvi(seasonal("broadleaf wood", 200)) - ndvi(seasonal("broadleaf wood", 20)) > 0.25
    assert abs(ndvi(seasonal("conifer wood", 200)) - ndvi(seasonal("conifer wood", 20))) < 0.08
    blooming, later = seasonal("rapeseed", 119), seasonal("rapeseed", 150)
    assert blooming[GREEN] > 1.4 * later[GREEN]


def test_drought_browns_grass_and_spares_conifers():
    assert ndvi(seasonal("grassland", 210)) - ndvi(seasonal("grassland", 210, drought=0.9)) > 0.12
    assert abs(ndvi(seasonal("conifer wood", 210)) - ndvi(seasonal("conifer wood", 210, drought=0.9))) < 0.05


def test_wet_soil_is_darker():
    parcels = draw_parcels(["maize"], np.zeros(50, int), Climate(), np.random.default_rng(0))
    bare = reflectance(parcels, grow(parcels, np.array([130, 130])), np.array([0.0, 1.0]))
    assert (bare[:, 1, SWIR] < 0.7 * bare[:, 0, SWIR]).mean() > 0.9


# ------------------------------------------------------------------ radar, sky, terrain


def test_radar_codes_are_those_of_the_preprocessing():
    decibels = np.linspace(-30, 10, 401)
    np.testing.assert_allclose(encode(decibels), sar_code(10 ** (decibels / 10)), atol=1)
    assert encode(np.array([-26.0]))[0] == 0  # too dark to store: missing


def test_speckle_is_unit_mean_gamma():
    power = 10 ** (speckle((200_000,), np.random.default_rng(0), looks=4.4) / 10)
    assert power.mean() == pytest.approx(1, abs=0.01)
    assert power.var() == pytest.approx(1 / 4.4, rel=0.03)


def test_the_sun_stands_where_it_should():
    elevation, azimuth = sun_position(np.array([172, 355]), 52.0)
    assert 54 < elevation[0] < 62
    assert 10 < elevation[1] < 15
    assert np.all((azimuth > 135) & (azimuth < 175))


def test_weather_and_dates_are_plausible():
    rng = np.random.default_rng(0)
    wet, dry = (draw_weather(rng, drought=d) for d in (0.0, 1.0))
    summer = slice(175, 225)
    assert dry.moisture[summer].mean() < wet.moisture[summer].mean()
    dates = draw_optical_dates(rng, wet)
    assert 55 <= len(dates.doys) <= 74
    assert np.all(np.diff(dates.doys.astype(int)) % 5 == 0)
    assert dates.doys.min() >= 1


def test_light_falls_on_the_slopes_that_face_the_sun():
    terrain = make_terrain(96, np.random.default_rng(0))
    light = terrain.illumination(25.0, 160.0)
    down, right = np.gradient(terrain.elevation)
    south = (down < 0) & (np.hypot(down, right) > 0.5)  # falling southwards
    north = (down > 0) & (np.hypot(down, right) > 0.5)
    assert light[south].mean() > 1 > light[north].mean()


def test_water_runs_downhill_to_the_edge():
    ground = fractal(40, np.random.default_rng(1), 1.7)
    receiver, drained = drainage(ground)
    border = np.ones_like(ground, bool)
    border[1:-1, 1:-1] = False
    assert np.all((receiver == -1) == border)
    assert drained[border].sum() == pytest.approx(ground.size)


# ------------------------------------------------------------------ the sample for pretraining


def test_a_sample_repeats_and_a_longer_one_begins_with_it(sample):
    again, other = sample_dpixels(800, seed=1), sample_dpixels(800, seed=2)
    for name in ("s2", "masks", "doys", "sar_asc", "sar_desc", "doys_desc", "covers", "worlds"):
        # The last world of a shorter draw is cut, and its pixels drawn anew.
        np.testing.assert_array_equal(getattr(again, name)[:768], getattr(sample, name)[:768])
    assert (again.s2 != other.s2).any()


def test_a_stream_brings_new_worlds():
    stream = stream_dpixels(400, seed=0)
    first, second = next(stream), next(stream)
    assert (first.s2 != second.s2).mean() > 0.5


def test_padding_is_no_observation(sample):
    padded = sample.doys == 0
    assert padded.any()
    assert not sample.masks[padded].any()
    assert not sample.s2[padded].any()
    for sar, doys in ((sample.sar_asc, sample.doys_asc), (sample.sar_desc, sample.doys_desc)):
        assert not sar[doys == 0].any()
        assert doys.max() <= 366
    valid = sample.masks.sum(1)
    assert np.median(valid) > 15
    assert np.any((sample.sar_asc == 0).all((1, 2)))  # some worlds have one direction only


def test_the_sample_is_varied_and_close_to_real_values(sample, shared):
    tile = DPixelTile.open(shared / "data/belgium-2018/dpixel")
    real = np.median(np.asarray(tile.bands)[np.asarray(tile.masks) > 0], axis=0)
    ours = np.median(sample.s2[sample.masks > 0], axis=0)
    np.testing.assert_allclose(ours, real, rtol=0.4)
    passes = np.asarray(tile.sar_asc).reshape(-1, 2).mean(0)
    simulated = sample.sar_asc[sample.doys_asc > 0].mean(0)
    assert np.all(np.abs(simulated - passes) < 1600)  # 4 dB: real land here is sigma0 of a built-up corner
    assert len(np.unique(sample.covers)) == len(TEMPERATE_COVERS)


# ------------------------------------------------------------------ the landscape


def test_a_world_repeats_whatever_years_are_asked_for(world):
    again = make_world(seed=0, size=128, years=(2024,))
    np.testing.assert_array_equal(again.truth[2024], world.truth[2024])
    assert (make_world(seed=1, size=128, years=(2024,)).truth[2024] != world.truth[2024]).any()


@pytest.mark.parametrize("seed", range(4))
def test_every_class_is_there_in_every_year(seed):
    world = make_world(seed=seed, size=256)
    for year, truth in world.truth.items():
        share = np.bincount(truth.ravel(), minlength=len(CLASS_TABLE) + 1) / truth.size
        assert share[0] == 0
        assert share[1:].min() > 0.003, (year, share)
        assert share.max() < 0.5


def test_fields_are_fields(world):
    fields = world.layout.area[world.layout.use == Use.FIELD]
    hectares = fields / 100
    assert 1 < np.median(hectares) < 10
    # A parcel is one piece of ground, but for splinters where a river or road cuts it.
    largest = max(np.flatnonzero(world.layout.use == Use.FIELD), key=lambda p: world.layout.area[p])
    regions, count = ndimage.label(world.layout.parcel == largest, np.ones((3, 3)))
    assert np.bincount(regions.ravel())[1:].max() > 0.5 * world.layout.area[largest]
    assert count < 10


def test_history_makes_sense():
    world = make_world(seed=0, size=256, years=(2022, 2023, 2024))
    index = {name: i for i, name in enumerate(WORLD_COVERS)}
    before, after = world.covers[2023], world.covers[2024]
    crops = [index[name] for name in ("winter wheat", "rapeseed", "maize", "sugar beet")]
    arable = np.isin(before, crops)
    assert (before[arable] != after[arable]).mean() > 0.5
    conifer, scrub, town = (index[name] for name in ("conifer wood", "scrub", "built-up"))
    assert np.any((before == conifer) & (after == scrub))
    assert np.all(after[before == town] == town)
    assert (after == town).sum() > (before == town).sum()
    assert np.all(after[before == index["water"]] == index["water"])
    assert world.climate(2024).drought > 0.5
    assert world.climate(2023).drought == 0


@pytest.mark.parametrize(("size", "years"), [(64, (2023,)), (129, (2023,)), (128, (1990,)), (128, ())])
def test_impossible_worlds_are_refused(size, years):
    with pytest.raises(InputError):
        make_world(0, size, years)


# ------------------------------------------------------------------ what the satellites see


def test_tiles_look_like_the_real_thing(tiles, world):
    for year, tile in tiles.items():
        counts = tile.observations()
        assert (tile.year, tile.grid, tile.shape) == (year, world.grid, world.grid.shape)
        assert 55 <= len(tile.doys) <= 90
        assert 0.25 < (np.asarray(tile.masks) > 0).mean() < 0.8
        assert counts.s2.min() >= 5
        assert np.median(counts.s1) > 45
        assert np.asarray(tile.bands).min() >= 1  # 0 would mean no data
        masked = np.asarray(tile.bands[..., 0])[np.asarray(tile.masks) == 0]
        assert np.median(masked) > 2500  # cloudy values are kept


def test_classes_are_told_apart_by_what_is_known_of_them(tiles, world):
    tile, truth = tiles[2023], world.truth[2023]
    names = [name for name, _, _ in CLASS_TABLE]
    usable = np.asarray(tile.masks) > 0

    def reflected(name: str, band: int, first: int, last: int) -> float:
        dates = (tile.doys >= first) & (tile.doys <= last)
        here = usable[dates] & (truth == names.index(name) + 1)
        return float(np.median(np.asarray(tile.bands[dates])[here][:, band]))

    assert reflected("water", NIR, 1, 366) < 700
    assert reflected("conifer wood", NIR, 150, 250) < 0.75 * reflected("broadleaf wood", NIR, 150, 250)
    assert reflected("rapeseed", GREEN, 105, 135) > 1.25 * reflected("winter wheat", GREEN, 105, 135)
    vv = np.asarray(tile.sar_desc[..., 0]).mean(0)
    level = {name: vv[truth == names.index(name) + 1].mean() for name in ("water", "grassland", "built-up")}
    assert level["built-up"] > level["grassland"] + 800
    assert level["grassland"] > level["water"] + 1500


def test_the_mask_is_good_but_not_perfect(tiles):
    tile = tiles[2023]
    bright = np.asarray(tile.bands[..., 1]).astype(int) > 3000  # blue: cloud, or bright roofs
    masked = np.asarray(tile.masks) == 0
    assert masked[bright].mean() > 0.9
    dates = np.flatnonzero((masked.mean((1, 2)) > 0.1) & (masked.mean((1, 2)) < 0.9))
    assert len(dates) > 5
    assert (masked & ~bright).any()  # shadows, margins, mistakes


def test_what_stays_looks_the_same_and_observing_repeats(world, tiles, tmp_path):
    again = observe(world, 2023, tmp_path / "2023")
    np.testing.assert_array_equal(again.bands, tiles[2023].bands)
    np.testing.assert_array_equal(again.sar_asc, tiles[2023].sar_asc)
    one, two = world.parcels(2023), world.parcels(2024)
    same = world.covers[2023] == world.covers[2024]
    np.testing.assert_array_equal(one.soil[same], two.soil[same])
    np.testing.assert_array_equal(one.leaf[same], two.leaf[same])


def test_cancelling_leaves_nothing(world, tmp_path):
    calls = []

    def cancelled() -> bool:
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(Cancelled):
        observe(world, 2023, tmp_path / "t", cancelled=cancelled)
    assert list(tmp_path.iterdir()) == []


def test_progress_runs_to_the_end(world, tmp_path):
    seen = []
    observe(world, 2023, tmp_path / "t", progress=lambda *step: seen.append(step))
    assert [done for done, _, _ in seen] == list(range(1, len(seen) + 1))
    assert seen[-1][0] == seen[-1][1]


# ------------------------------------------------------------------ other climates


@pytest.fixture(scope="module")
def everywhere():
    return sample_dpixels(24 * 384, seed=3, climates=CLIMATES)


def year_of(name: str, seed: int, drought: float = 0.0):
    return draw_zone_weather(ZONES[name], np.random.default_rng(seed), drought)


def test_the_temperate_worlds_stay_bit_for_bit(sample):
    # Figures in the docs, the demo and the shipped weights rest on these bytes.
    digest = hashlib.sha256()
    drawn = sample_dpixels(1500, seed=5)
    for name in ("s2", "masks", "doys", "sar_asc", "doys_asc", "sar_desc", "doys_desc", "covers", "parcels", "worlds"):
        digest.update(getattr(drawn, name).tobytes())
    assert digest.hexdigest() == "b73fa17992af3e6781ed03f7d7f4b8241f94cb8defd73efd6a0573010b4c530c"
    assert COVER_NAMES[: len(COVERS)] == tuple(COVERS)
    assert not sample.climates.any()


def test_a_temperate_world_among_others_is_the_one_it_is_alone(everywhere):
    alone = sample_dpixels(24 * 384, seed=3)
    temperate = everywhere.climates == CLIMATES.index("temperate")
    assert 0 < temperate.sum() < len(everywhere)
    np.testing.assert_array_equal(everywhere.s2[temperate], alone.s2[temperate])
    np.testing.assert_array_equal(everywhere.sar_asc[temperate], alone.sar_asc[temperate])


def test_other_climates_repeat_and_are_within_what_sensors_measure(everywhere):
    again = sample_dpixels(24 * 384, seed=3, climates=CLIMATES)
    for field in ("s2", "masks", "doys", "sar_asc", "sar_desc", "covers", "climates"):
        np.testing.assert_array_equal(getattr(again, field), getattr(everywhere, field))
    assert set(np.unique(everywhere.climates)) == set(range(len(CLIMATES)))
    valid = everywhere.s2[everywhere.masks > 0].astype(int)
    assert valid.min() >= 1
    assert np.quantile(valid, 0.999) < 13000
    passes = everywhere.sar_asc[everywhere.sar_asc > 0] / 400 - 25  # dB
    assert np.quantile(passes, 0.001) > -26
    assert np.quantile(passes, 0.999) < 8
    assert everywhere.doys.max() <= 366


def test_only_what_a_climate_grows_is_there(everywhere):
    for number, name in enumerate(CLIMATES):
        present = {COVER_NAMES[i] for i in np.unique(everywhere.covers[everywhere.climates == number])}
        grows = set(ZONES[name].covers) if name in ZONES else set(COVERS)
        assert present <= grows, name
    used = {cover for zone in ZONES.values() for cover in (*zone.covers, *zone.roles.values())}
    assert set(REGIONAL) <= used  # every row of the table is used by a climate
    assert used <= set(ALL_COVERS)


@pytest.mark.parametrize("name", ZONES)
def test_snow_lies_only_where_and_when_it_is_cold(name):
    for seed in range(6):
        weather = year_of(name, seed)
        assert weather.temperature is not None
        for series, high in ((weather.snow, 1.0), (weather.moisture, 1.0), (weather.cloud, 0.95)):
            assert series.shape == (366,)
            assert 0 <= series.min() <= series.max() <= high
        snowy = weather.snow > 0.3
        if name in ("tropical", "semi-arid"):
            assert not weather.snow.any()
        if snowy.any():
            assert weather.temperature[snowy].mean() < 3
            assert not snowy[175:235].any()
        # Snow grows only on days that are cold enough for it.
        grows = np.flatnonzero(np.diff(weather.snow) > 0.02) + 1
        assert (weather.temperature[grows] <= 1.0).all()


def test_the_north_has_a_snow_season():
    days = {name: np.mean([(year_of(name, seed).snow > 0.5).sum() for seed in range(8)]) for name in ZONES}
    assert days["boreal"] > days["continental"] > days["mediterranean"]
    assert 100 < days["boreal"] < 230
    assert 15 < days["continental"] < 150
    assert days["mediterranean"] < 5


def test_clouds_follow_the_climate():
    def mean(name: str, *days: int) -> float:
        return float(np.mean([year_of(name, seed).cloud[days[0] : days[1]].mean() for seed in range(8)]))

    assert mean("mediterranean", 0, 40) > mean("mediterranean", 180, 230) + 0.2  # dry summers
    assert mean("tropical", 190, 240) > mean("tropical", 10, 50) + 0.25  # wet summers
    annual = {name: mean(name, 0, 366) for name in ZONES}
    assert annual["boreal"] > annual["mediterranean"] > annual["semi-arid"]


def test_soils_are_wet_in_the_wet_season():
    def mean(name: str, first: int, last: int) -> float:
        return float(np.mean([year_of(name, seed).moisture[first:last].mean() for seed in range(8)]))

    assert mean("mediterranean", 0, 60) > mean("mediterranean", 190, 250) + 0.1
    assert mean("tropical", 200, 260) > mean("tropical", 30, 90) + 0.1
    assert mean("semi-arid", 0, 366) < mean("boreal", 0, 366)


def test_deserts_are_bright_and_rainforests_green_all_year():
    assert seasonal("desert", 200)[RED] > 0.15
    for day in (20, 110, 200, 290):
        assert ndvi(seasonal("evergreen rainforest", day)) > 0.75
    assert ndvi(seasonal("savanna", 230)) - ndvi(seasonal("savanna", 60)) > 0.2
    assert ndvi(seasonal("winter cereal, dry", 110)) > ndvi(seasonal("winter cereal, dry", 200)) + 0.3


def test_a_landscape_in_another_climate(tmp_path):
    south = make_world(seed=0, size=96, years=(2023,), climate="mediterranean")
    north = make_world(seed=0, size=96, years=(2023,))
    np.testing.assert_array_equal(south.layout.parcel, north.layout.parcel)
    assert south.class_names[WORLD_COVERS.index("sugar beet")] == "Olive grove"
    assert north.class_names == tuple(name for _, name, _ in CLASS_TABLE)
    # Two roles that the same cover plays are one class.
    ids = np.unique(south.truth[2023])
    assert len({south.class_names[i - 1] for i in ids}) == len(ids)
    tile = observe(south, 2023, tmp_path / "south")
    assert tile.meta["climate"] == "mediterranean"
    assert south.grid.crs != north.grid.crs
    assert 34 < south.grid.bounds_lonlat[1] < 44
    # Dry summers are clear, wet winters are not.
    clear = np.asarray(tile.masks).mean((1, 2))
    assert clear[(tile.doys > 150) & (tile.doys < 250)].mean() > clear[(tile.doys < 60) | (tile.doys > 310)].mean()


def test_unknown_climates_are_refused():
    assert find_zone("temperate") is None
    for wrong in (lambda: make_world(0, 96, (2023,), "lunar"), lambda: sample_dpixels(8, 0, climates=("lunar",))):
        with pytest.raises(InputError, match=r"lunar.*mediterranean"):
            wrong()
    with pytest.raises(InputError, match="at least one climate"):
        sample_dpixels(8, 0, climates=())


def test_randomised_covers_vary_the_shape_of_a_year_and_have_no_name():
    sample = sample_dpixels(8 * 384, seed=4, randomised=1.0)
    assert set(np.unique(sample.covers)) == {NO_COVER}
    again = sample_dpixels(8 * 384, seed=4, randomised=1.0)
    np.testing.assert_array_equal(sample.s2, again.s2)
    np.testing.assert_array_equal(sample.sar_desc, again.sar_desc)
    valid = sample.s2[sample.masks > 0].astype(int)
    assert valid.min() >= 1
    assert np.quantile(valid, 0.999) < 13000
    # Parcels are greenest in any season, not only when crops of the table are.
    red, near_infrared = (np.where(sample.masks > 0, sample.s2[..., band], 1.0) for band in (0, 3))
    ndvi = np.where(sample.masks > 0, (near_infrared - red) / (near_infrared + red), -1.0)
    greenest = sample.doys[np.arange(len(sample)), ndvi.argmax(1)]
    by_season = np.bincount(np.minimum(greenest // 92, 3), minlength=4) / len(sample)
    assert by_season.min() > 0.08


def test_a_share_of_the_worlds_is_randomised_and_the_others_stay():
    plain, mixed = sample_dpixels(40 * 384, seed=6), sample_dpixels(40 * 384, seed=6, randomised=0.4)
    strange = mixed.covers == NO_COVER
    assert 0.2 < strange.mean() < 0.6
    assert len(np.unique(mixed.worlds[strange])) + len(np.unique(mixed.worlds[~strange])) == 40
    np.testing.assert_array_equal(mixed.s2[~strange], plain.s2[~strange])


def test_randomised_covers_are_plausible():
    covers = randomised_covers(300, np.random.default_rng(0))
    assert len({cover.name for cover in covers}) == 300
    for cover in covers:
        assert len(cover.cycles) <= MAX_CYCLES
        assert all(cycle.fall[0] > cycle.rise[0] for cycle in cover.cycles)
        for soil, canopy in zip(*(np.array(pair) for pair in (cover.radar.soil, cover.radar.canopy)), strict=True):
            assert -35 < soil < -3
            assert -30 < canopy < 2
        assert bool(cover.materials) == (cover.built[0] > 0)
