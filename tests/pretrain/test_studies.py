"""Studies: fields stay whole, every method gets the same labels, variants lack what they say, results are kept."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.assess.samples import MatrixFeatures, Samples
from tessera_core.cli import main
from tessera_core.models.checkpoint import load_checkpoint
from tessera_core.pretrain.studies import ablations, labels, sampling, scenes, year
from tessera_core.pretrain.studies.tables import mean_sd, table


@pytest.fixture(scope="module")
def world():
    (scene,) = scenes.held_out_worlds(1, seed=4, parcels=60, per_parcel=3)
    return scene


@pytest.fixture(scope="module")
def nano():
    torch.set_num_threads(1)
    return load_checkpoint("studio-nano")


def fields(per_class: int, pixels: int, classes: int = 3) -> Samples:
    y = np.repeat(np.arange(1, classes + 1), per_class * pixels)
    groups = np.repeat(np.arange(classes * per_class), pixels)
    values = np.random.default_rng(0).normal(size=(len(y), 4)).astype(np.float32) + 3 * y[:, None]
    names = {k: str(k) for k in range(1, classes + 1)}
    return Samples(MatrixFeatures(values), y, groups, np.arange(len(y)), np.zeros(len(y), int), names)


# ------------------------------------------------------------------ scenes


def test_a_world_is_a_scene_whose_pixels_agree_with_its_statistics(world):
    assert len(world.medians) == len(world.pixels) == len(world.reference.y)
    assert np.isfinite(world.medians).all()
    counts = {k: len(np.unique(world.reference.groups[world.reference.y == k])) for k in np.unique(world.reference.y)}
    assert min(counts.values()) >= scenes.MIN_FIELDS
    # The median of all months' red and the packed red are of the same pixel.
    red = np.array([np.median(p[:n, 0]) for p, n in zip(world.pixels.s2, world.pixels.s2_count, strict=True)])
    assert np.corrcoef(red, np.median(world.medians[:, 0:120:10], axis=1))[0, 1] > 0.9
    again = scenes.held_out_worlds(1, seed=4, parcels=60, per_parcel=3)[0]
    np.testing.assert_array_equal(again.medians, world.medians)


def test_no_field_is_on_both_sides_and_every_pixel_is_tested_once():
    samples = fields(per_class=6, pixels=5)
    tested = np.zeros(len(samples.y), int)
    for train, test in scenes.divide(samples, None, np.random.default_rng(1)):
        assert not set(samples.groups[train]) & set(samples.groups[test])
        assert set(samples.y[train]) == {1, 2, 3}
        tested[test] += 1
    assert (tested == 1).all()


def test_few_labels_come_from_as_many_fields_as_there_are():
    samples = fields(per_class=8, pixels=5)
    for train, _ in scenes.divide(samples, 4, np.random.default_rng(2)):
        assert np.bincount(samples.y[train])[1:].tolist() == [4, 4, 4]
        assert len(np.unique(samples.groups[train])) == 12


def test_divisions_differ_by_seed_and_repeat_with_it():
    samples = fields(per_class=5, pixels=4)
    first, same = (scenes.divide(samples, 3, np.random.default_rng(7)) for _ in range(2))
    other = scenes.divide(samples, 3, np.random.default_rng(8))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, same, strict=True))
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))


def test_scores_know_good_features_from_noise():
    samples = fields(per_class=6, pixels=5)
    assert min(scenes.score(samples, "logistic", 5, repeats=2)) > 0.95
    noise = MatrixFeatures(np.random.default_rng(3).normal(size=(len(samples.y), 4)).astype(np.float32))
    blind = Samples(noise, samples.y, samples.groups, samples.rows, samples.cols, samples.names)
    assert max(scenes.score(blind, "logistic", 5, repeats=2)) < 0.6


def test_a_landscape_is_a_scene_of_few_pixels_of_many_parcels():
    scene = scenes.landscape("small", 96)
    parcels, counts = np.unique(scene.reference.groups, return_counts=True)
    assert len(parcels) > 20
    assert counts.max() == 2
    world = scenes.make_world(0, 96, (2023,))
    np.testing.assert_array_equal(scene.reference.y, world.truth[2023][scene.reference.rows, scene.reference.cols])


def test_a_labelled_tile_is_a_scene(shared):
    folder = shared / "data/belgium-2018/dpixel"
    scene = scenes.labelled_tile(folder, folder / "labels_ct.tif", ["1200", "9120"])
    assert len(scene) == 1249 + 835
    assert scene.medians.shape[1] == 132
    assert len(np.unique(scene.reference.groups)) == 13


def test_without_radar_there_is_none(world, nano):
    bare = scenes.without_radar(world.pixels)
    assert not bare.s1_count.any()
    assert world.pixels.s1_count.any()
    some = slice(0, 12)
    a, b = (scenes.embed(nano.encoder, nano.config.normalisation, p.take(some)) for p in (world.pixels, bare))
    assert np.isfinite(b).all()
    assert np.abs(a - b).max() > 0.01


# ------------------------------------------------------------------ ablations


def test_each_variant_lacks_its_part_and_nothing_else():
    full = ablations.variant(ablations.budget(10, 12288), ablations.FULL, 1)
    changed = {name: ablations.variant(ablations.budget(10, 12288), name, 1).to_json() for name in ablations.TRAINED}
    from tessera_core.pretrain.config import differences

    differing = {name: set(differences(full.to_json(), one)) - {"name"} for name, one in changed.items()}
    assert differing == {
        "full": set(),
        "no-shuffle": {"data.shuffle"},
        "no-mixup": {"objective.mixup"},
        "neither": {"data.shuffle", "objective.mixup"},
        "no-radar": {"views.drop_s1", "views.drop_s2"},
    }


def test_a_study_of_ablations_keeps_its_results_and_goes_on(tmp_path, world, monkeypatch):
    config = ablations.budget(2, 768, batch=64)
    config = replace(config, data=replace(config.data, max_s2=24, max_s1=24))
    measures = [ablations.Measure("worlds_10", "worlds", (0,), 5)]
    monkeypatch.setattr(ablations, "DRAWS", 1)
    result = ablations.run([world], measures, config, tmp_path, [0])
    assert set(result["variants"]) == set(ablations.NAMES)
    for name, one in result["variants"].items():
        (f1,) = one["measures"]["worlds_10"]["macro_f1"]
        assert 0 < f1 <= 1, name
    assert result["variants"]["full"]["measures"]["worlds_10"]["loss"] == [0]
    assert "no global shuffling" in (tmp_path / "ablations.md").read_text()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("seed-0/*.json")}
    (tmp_path / "seed-0/no-mixup.json").unlink()
    some = ablations.run([world], measures, config, tmp_path, [0], variants=["no-radar"])
    assert set(some["variants"]) == set(ablations.NAMES) - {"no-mixup"}, "what is not asked for is not trained"
    again = ablations.run([world], measures, config, tmp_path, [0])
    assert again["variants"] == result["variants"]
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items() if path.stem != "no-mixup")


# ------------------------------------------------------------------ labels, dates


def test_labels_study_compares_all_methods(tmp_path, world, nano):
    result = labels.run([world], nano, tmp_path, draws=1, counts=(1, 5))
    rows = result["groups"][scenes.WORLDS]
    assert set(rows) == {*labels.OURS.values(), *labels.PLAIN.values()}
    assert all(len(scores) == 2 and 0 < scores[0][0] <= 1 for scores in rows.values())
    assert rows[labels.OURS["ridge"]][1][0] > rows[labels.OURS["ridge"]][0][0]
    assert json.loads((tmp_path / "labels.json").read_text()) == result
    assert (tmp_path / "labels.md").read_text().count("**") == 4  # the best of each column


def test_halves_share_no_date_and_lose_none(world):
    pixels = world.pixels.take(slice(0, 40))
    first, second = sampling.halves(pixels, np.random.default_rng(0))
    np.testing.assert_array_equal(first.s2_count + second.s2_count, pixels.s2_count)
    np.testing.assert_array_equal(first.s1_count + second.s1_count, pixels.s1_count)
    np.testing.assert_array_equal(first.s1_ascending + second.s1_ascending, pixels.s1_ascending)
    for row in range(40):
        a, b = (p.s2_doy[row, : p.s2_count[row]] for p in (first, second))
        assert not set(a) & set(b)
        assert sorted([*a, *b]) == sorted(pixels.s2_doy[row, : pixels.s2_count[row]])
        assert abs(len(a) - len(b)) <= 1
        assert (np.diff(a.astype(int)) > 0).all()


def test_few_dates_are_nested_and_no_more_than_there_are(world):
    pixels = world.pixels.take(slice(0, 30))
    order = sampling.ranks(pixels.s2_count, pixels.s2.shape[1], np.random.default_rng(0))
    everything = np.ones((1, pixels.s1.shape[1]), bool)
    four, eight = (sampling.keep_dates(pixels, order < k, everything) for k in (4, 8))
    np.testing.assert_array_equal(four.s2_count, np.minimum(pixels.s2_count, 4))
    np.testing.assert_array_equal(four.s1, pixels.s1)
    for row in range(30):
        assert set(four.s2_doy[row, :4]) <= set(eight.s2_doy[row, :8])


def test_the_knee_is_where_more_dates_stop_helping():
    assert sampling.knee((2, 4, 8), (0.5, 0.7, 0.795, 0.8)) == 8
    assert sampling.knee((2, 4, 8), (0.5, 0.8, 0.795, 0.8)) == 4
    assert sampling.knee((2, 4, 8), (0.5, 0.6, 0.7, 0.8)) is None


def test_an_embedding_stays_itself_with_other_dates(tmp_path, world, nano):
    result = sampling.run([world], nano, tmp_path, draws=1, dates=(2, 12))
    cosines = result["invariance"][scenes.WORLDS]
    assert cosines["same pixel, median"] > 0.8
    assert cosines["same pixel, median"] > cosines["two classes, median"] + 0.2
    need = result["need"][scenes.WORLDS]["with radar"]
    assert need[0] < need[-1]


# ------------------------------------------------------------------ the year


def test_windows_hold_their_days_and_together_the_year(world):
    pixels = world.pixels.take(slice(0, 40))
    changes = year.variants()
    quarters = [changes[name](pixels) for name in ("Jan to Mar", "Apr to Jun", "Jul to Sep", "Oct to Dec")]
    for count in ("s2_count", "s1_count", "s1_ascending"):
        parts = [getattr(part, count) for part in quarters]
        np.testing.assert_array_equal(np.sum(parts, axis=0), getattr(pixels, count))
    half = changes["Jan to Jun"](pixels)
    np.testing.assert_array_equal(half.s2_count, quarters[0].s2_count + quarters[1].s2_count)
    for row in range(40):
        days = quarters[1].s2_doy[row, : quarters[1].s2_count[row]]
        assert ((days >= 92) & (days <= 183)).all()


def test_sensors_are_left_out_as_the_name_says(world):
    pixels = world.pixels.take(slice(0, 20))
    left = {name: change(pixels) for name, change in year.variants().items()}
    assert not left["radar only"].s2_count.any()
    np.testing.assert_array_equal(left["radar only"].s1, pixels.s1)
    assert not left["no radar"].s1_count.any()
    rising, falling = left["ascending passes only"], left["descending passes only"]
    np.testing.assert_array_equal(rising.s1_count, rising.s1_ascending)
    assert not falling.s1_ascending.any()
    np.testing.assert_array_equal(rising.s1_count + falling.s1_count, pixels.s1_count)


def test_a_year_without_its_season_is_worth_less(tmp_path, world, nano, monkeypatch):
    few = {name: year.variants()[name] for name in (year.WHOLE, "Jan to Mar", "no radar")}
    monkeypatch.setattr(year, "variants", lambda: few)
    result = year.run([world], nano, tmp_path, draws=2)
    scores = result["scores"][scenes.WORLDS]
    assert np.mean(scores["Jan to Mar"]) < np.mean(scores[year.WHOLE]) - 0.05
    assert "| Jan to Mar |" in (tmp_path / "year.md").read_text()
    bare = replace(world, pixels=scenes.without_radar(world.pixels), group="bare")
    # Neither what leaves nothing nor what takes nothing away says anything.
    few = {year.WHOLE: few[year.WHOLE], "radar only": year.without_optics, "no radar": scenes.without_radar}
    monkeypatch.setattr(year, "variants", lambda: few)
    assert set(year.run([bare], nano, tmp_path, draws=1)["scores"]["bare"]) == {year.WHOLE}


# ------------------------------------------------------------------ tables and the command


def test_tables():
    assert mean_sd([0.5, 0.7]) == ".600 ± .100"
    assert mean_sd([1.0, 0.904]) == ".952 ± .048"
    assert mean_sd([1.0]) == "1.000"
    assert mean_sd([2.0, 4.0], signed=True) == "-3.0 ± 1.0"
    assert mean_sd([0.04, 0.0], signed=True) == "+0.0 ± 0.0"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |\n"


def test_the_command_refuses_half_of_what_it_needs(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    assert main(["study", "labels", "--out", str(tmp_path / "out"), "--tile", str(tmp_path / "x")]) == 2
    assert "--tile and --labels" in capsys.readouterr().err
    assert main(["study", "labels", "--out", str(tmp_path), "--worlds", "0"]) == 2
    assert "--worlds" in capsys.readouterr().err
