"""Global shuffling: everything kept, neighbours scattered, interrupted work continued."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tessera_core._utils.share import Share
from tessera_core._utils.spread import spread
from tessera_core.cli import main
from tessera_core.cluster import connect
from tessera_core.dpixels.simulate import COVER_NAMES
from tessera_core.dpixels.tile import write_tile
from tessera_core.errors import Cancelled, TileError
from tessera_core.grid import Grid
from tessera_core.pretrain import prepare
from tessera_core.pretrain.config import DataSettings, PretrainConfig, PretrainError
from tessera_core.pretrain.pixels import PixelSet


def tile(folder: Path, shape: tuple[int, int], seed: int, valid: float = 0.7) -> Path:
    rng = np.random.default_rng(seed)
    return write_tile(
        folder,
        bands=rng.integers(1, 5000, (12, *shape, 10)).astype(np.uint16),
        masks=(rng.random((12, *shape)) < valid).astype(np.uint8),
        doys=np.arange(12) * 30 + 1,
        grid=Grid.local(shape),
        sar_asc=rng.integers(1000, 6000, (6, *shape, 2)).astype(np.int16) if valid else None,
        doys_asc=np.arange(6) * 60 + 1 if valid else None,
    )


@pytest.fixture(scope="module")
def tiles(tmp_path_factory) -> Path:
    """Six tiles of different sizes."""
    folder = tmp_path_factory.mktemp("tiles")
    for number in range(6):
        tile(folder / f"t{number}", (20 + number, 24), number)
    return folder


def settings(tiles: Path, **changes) -> DataSettings:
    return DataSettings(tiles=(str(tiles),), shards=3, max_s2=10, max_s1=6, **changes)


def test_every_pixel_lands_in_exactly_one_shard(tiles, tmp_path):
    shards = prepare.prepare_shards(settings(tiles), tmp_path / "s")
    pool = PixelSet.concatenate([PixelSet.open(shard) for shard in shards])
    assert len(np.unique(pool.place, axis=0)) == len(pool) == sum((20 + n) * 24 for n in range(6))
    assert not (tmp_path / "s/units").exists()


def neighbours(batch: PixelSet) -> int:
    """Pairs of pixels of the batch that touch on the ground."""
    places = {tuple(p) for p in batch.place.tolist()}
    return sum((t, r + dr, c + dc) in places for t, r, c in places for dr, dc in ((0, 1), (1, 0), (1, 1), (1, -1)))


def test_a_batch_holds_no_more_neighbours_than_chance(tiles, tmp_path):
    shards = prepare.prepare_shards(settings(tiles), tmp_path / "s")
    reader = prepare.ShardReader(shards, 128, seed=5)
    total = sum(reader.sizes)
    found = np.mean([neighbours(reader(step)) for step in range(2 * reader.per_epoch)])
    pool = PixelSet.concatenate([PixelSet.open(shard) for shard in shards])
    # Expected number: all touching pairs, each kept with the chance that both its pixels are drawn.
    expected = neighbours(pool) * (128 / total) * (127 / (total - 1))
    assert found == pytest.approx(expected, rel=0.25)
    # And the test can fail: without shuffling, batches are runs of neighbours.
    plain = prepare.prepare_shards(settings(tiles, shuffle=False), tmp_path / "plain")
    ordered = prepare.ShardReader(plain, 128, seed=5, shuffle=False)
    assert neighbours(ordered(0)) > 10 * expected


def test_batches_of_one_epoch_do_not_repeat_a_pixel(tiles, tmp_path):
    reader = prepare.ShardReader(prepare.prepare_shards(settings(tiles), tmp_path / "s"), 64, seed=1)
    seen = np.concatenate([reader(step).place for step in range(reader.per_epoch)])
    assert len(np.unique(seen, axis=0)) == len(seen) == 64 * reader.per_epoch
    assert (reader(0).place != reader(reader.per_epoch).place).any()


def test_interrupted_preparation_goes_on(tiles, tmp_path):
    stop_at, calls = 4, []

    def cancelled() -> bool:
        calls.append(1)
        return len(calls) > stop_at

    with pytest.raises(Cancelled):
        prepare.prepare_shards(settings(tiles), tmp_path / "s", cancelled=cancelled)
    assert len(list((tmp_path / "s/units").iterdir())) == stop_at
    resumed = prepare.prepare_shards(settings(tiles), tmp_path / "s")
    whole = prepare.prepare_shards(settings(tiles), tmp_path / "w")
    for a, b in zip(resumed, whole, strict=True):
        assert (PixelSet.open(a).s2 == PixelSet.open(b).s2).all()


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_shares_and_executors_end_in_the_bytes_of_one_run(tiles, tmp_path):
    data = settings(tiles, simulated=200)
    prepare.prepare_shards(data, tmp_path / "one")
    whole = files(tmp_path / "one")
    first = prepare.prepare_in_shares(data, tmp_path / "two", share=Share(1, 2))
    assert (first.shards, first.sources, first.waiting) == ((), 7, 3)
    # The last share finds all units there and cuts its shards; the first, begun again, cuts the rest.
    second = prepare.prepare_in_shares(data, tmp_path / "two", share=Share(2, 2))
    assert (second.shards, second.waiting) == ((), 2)
    again = prepare.prepare_in_shares(data, tmp_path / "two", share=Share(1, 2))
    assert (len(again.shards), again.waiting) == (3, 0)
    assert files(tmp_path / "two") == whole
    assert prepare.prepare_in_shares(data, tmp_path / "two", share=Share(2, 2)) == again

    def by_threads(task, share, progress, cancelled):
        spread(task, share, 2, executor=ThreadPoolExecutor, progress=progress, cancelled=cancelled)

    prepare.prepare_in_shares(data, tmp_path / "three", engine=by_threads)
    assert files(tmp_path / "three") == whole


def test_the_command_prepares_in_shares(tiles, tmp_path, capsys):
    (tmp_path / "my.toml").write_text(
        f'name = "mine"\n[model]\npreset = "v2-nano"\n[data]\ntiles = ["{tiles.as_posix()}"]\nshards = 2\n[run]\nsteps = 1\n'
    )
    words = ["pretrain", str(tmp_path / "my.toml"), "--out", str(tmp_path / "run"), "--json"]
    told = []
    for more in (["--prepare", "--share", "1/2"], ["--prepare"], ["--share", "1/2"], ["--prepare", "--resume"]):
        code = main([*words, *more])
        told.append((code, json.loads(capsys.readouterr().out)))
    assert (told[0][0], told[0][1]["waiting"], told[1][1]["shards"], told[1][1]["waiting"]) == (0, 3, 2, 0)
    assert [code for code, _ in told] == [0, 0, 2, 2]


def test_a_plan_says_what_is_left_first_of_the_sources_and_then_of_the_shards(tiles, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text(
        f'name = "c"\n[model]\npreset = "v2-nano"\n[data]\nsimulated = 100\ntiles = ["{tiles.as_posix()}"]\nshards = 3\n'
        "[run]\nsteps = 1\n"
    )
    words = ["pretrain", str(config), "--out", str(tmp_path / "run"), "--prepare", "--json"]

    def plan() -> dict:
        assert main([*words, "--dry-run", "--plan", str(tmp_path / "p.geojson")]) == 0
        return json.loads(capsys.readouterr().out)["plan"]

    before, pixels = plan(), 100 + sum((20 + n) * 24 for n in range(6))
    assert (before["tiles"], before["done"], before["pixels"]) == (7, 0, pixels)
    assert not (tmp_path / "run").exists()
    settings = PretrainConfig.load(config).data
    sources = prepare.sources_of(settings, 0, tmp_path)
    one = sources[0](0)
    assert prepare.bytes_per_pixel(settings) * len(one) == sum(getattr(one, f.name).nbytes for f in fields(one))
    assert main([*words, "--share", "1/2"]) == 0
    assert json.loads(capsys.readouterr().out)["waiting"] == 3
    assert plan()["done"] == 4
    # The other share packs its sources, and cuts every second shard.
    assert main([*words, "--share", "2/2"]) == 0
    capsys.readouterr()
    assert (plan()["tiles"], plan()["done"]) == (3, 1)
    assert main(words) == 0
    capsys.readouterr()
    assert (plan()["tiles"], plan()["done"], plan()["minutes"]) == (7, 7, 0)


@pytest.mark.soak
def test_workers_of_a_scheduler_end_in_the_bytes_of_one_run(tiles, tmp_path):
    chosen = settings(tiles)
    prepare.prepare_shards(chosen, tmp_path / "one")

    with connect("local", 2) as engine:

        def spreading(task, share, report, cancelled):
            spread(task, share, 2, executor=engine.executor, retries=0, progress=report, cancelled=cancelled)

        prepare.prepare_in_shares(chosen, tmp_path / "many", engine=spreading)
    assert files(tmp_path / "many") == files(tmp_path / "one")
    # The command with --scheduler does the same.
    (tmp_path / "c.toml").write_text(
        f'name = "c"\n[model]\npreset = "v2-nano"\n[data]\nsimulated = 100\ntiles = ["{tiles.as_posix()}"]\nshards = 3\n'
        "[run]\nsteps = 1\n"
    )
    words = ["pretrain", str(tmp_path / "c.toml"), "--prepare", "--json", "--out"]
    assert main([*words, str(tmp_path / "alone")]) == 0
    assert main([*words, str(tmp_path / "by-two"), "--scheduler", "local", "--workers", "2"]) == 0
    whole = files(tmp_path / "alone")
    assert sum("shard-" in name for name in whole) > 3
    assert files(tmp_path / "by-two") == whole


def test_large_pools_are_cut_into_more_shards_and_memory_stays_bounded(tiles, tmp_path):
    """Peak memory follows the shard, not the pool: four times the pixels, the same shards."""

    data = DataSettings(tiles=(str(tiles),), shards=3, max_s2=64, pixels_per_tile=400, shard_pixels=800)
    for number in range(4):
        shutil.copytree(tiles, tmp_path / "more" / str(number))

    def peak(folder: Path, data: DataSettings) -> tuple[int, list[Path]]:
        tracemalloc.start()
        try:
            shards = prepare.prepare_shards(data, folder)
            return tracemalloc.get_traced_memory()[1], shards
        finally:
            tracemalloc.stop()

    peak(tmp_path / "warm", data)
    small, few = peak(tmp_path / "small", data)
    data = replace(data, tiles=(str(tmp_path / "more"),))
    large, many = peak(tmp_path / "large", data)
    assert (len(few), len(many)) == (3, 12)
    assert max(len(PixelSet.open(shard)) for shard in many) <= 800 + 24
    # Python's own objects grow a little with the number of files; pixels held would grow fourfold.
    assert large < 1.5 * small
    pool = PixelSet.concatenate([PixelSet.open(shard) for shard in many])
    assert large < 0.5 * sum(getattr(pool, field.name).nbytes for field in fields(pool))
    assert len(np.unique(pool.place, axis=0)) == len(pool) == 24 * 400
    # Found made, with their number, without the units.
    assert prepare.prepare_shards(data, tmp_path / "large") == many


def test_shards_of_an_earlier_version_are_found(tiles, tmp_path):
    shards = prepare.prepare_shards(settings(tiles), tmp_path / "s")
    manifest = tmp_path / "s/shards.json"
    made = json.loads(manifest.read_text())
    del made["shards"], made["recipe"]["shard_pixels"], made["recipe"]["climates"]
    made["recipe"]["imagined"] = made["recipe"].pop("randomised")
    manifest.write_text(json.dumps(made))
    times = [shard.stat().st_mtime_ns for shard in shards]
    assert prepare.prepare_shards(settings(tiles), tmp_path / "s") == shards
    assert [shard.stat().st_mtime_ns for shard in shards] == times


def test_other_settings_do_not_reuse_shards(tiles, tmp_path):
    prepare.prepare_shards(settings(tiles), tmp_path / "s")
    with pytest.raises(PretrainError, match="other settings"):
        prepare.prepare_shards(settings(tiles, pixels_per_tile=5), tmp_path / "s")


def test_simulated_and_real_pixels_mix(tiles, tmp_path):
    shards = prepare.prepare_shards(settings(tiles, simulated=500, pixels_per_tile=50), tmp_path / "s", seed=3)
    pool = PixelSet.concatenate([PixelSet.open(shard) for shard in shards])
    real = pool.place[:, 0] < 0
    assert real.sum() == 300
    assert (~real).sum() == 500
    assert (pool.label[~real] > 0).all()
    assert not pool.label[real].any()


def test_statistics_are_those_of_valid_observations(tiles, tmp_path):
    shards = prepare.prepare_shards(settings(tiles), tmp_path / "s")
    norm = prepare.statistics_of(shards, "x")
    pool = PixelSet.concatenate([PixelSet.open(shard) for shard in shards])
    valid = pool.s2[np.arange(10)[None] < pool.s2_count[:, None]]
    assert norm.s2_mean == pytest.approx(valid.astype(float).mean(0), rel=1e-4)
    assert norm.s2_std == pytest.approx(valid.astype(float).std(0), rel=1e-4)
    # There is no descending pass, so it gets the ascending numbers.
    assert norm.desc_mean == norm.asc_mean


def test_a_tile_of_clouds_only_is_named(tiles, tmp_path):
    tile(tmp_path / "tiles/cloudy", (5, 5), 0, valid=0.0)
    with pytest.raises(TileError, match="cloudy has not one valid observation"):
        prepare.prepare_shards(DataSettings(tiles=(str(tmp_path / "tiles"),)), tmp_path / "s")


def test_too_few_pixels_for_a_batch(tiles, tmp_path):
    shards = prepare.prepare_shards(settings(tiles), tmp_path / "s")
    with pytest.raises(PretrainError, match="whole batch of 5000"):
        prepare.ShardReader(shards, 5000, seed=0)


def test_held_out_worlds_are_not_training_worlds(tmp_path):
    data = DataSettings(simulated=400, shards=1, holdout_worlds=1)
    train = PixelSet.open(prepare.prepare_shards(data, tmp_path / "s", seed=0)[0])
    (held,) = prepare.holdout_pixels(data, seed=0)
    rows = {bytes(row) for row in np.ascontiguousarray(train.s2).reshape(len(train), -1)}
    assert not rows & {bytes(row) for row in np.ascontiguousarray(held.s2).reshape(len(held), -1)}
    assert len(np.unique(held.label)) >= 8


def test_worlds_of_other_climates(tmp_path):
    climates = ("temperate", "boreal", "tropical")
    data = DataSettings(simulated=1600, shards=1, holdout_worlds=1, climates=climates)
    (shard,) = prepare.prepare_shards(data, tmp_path / "many")
    names = {COVER_NAMES[label - 1] for label in np.unique(PixelSet.open(shard).label)}
    assert names & {"birch wood", "peat bog", "lichen heath", "savanna", "rice", "evergreen rainforest"}
    assert prepare.prepare_shards(data, tmp_path / "many") == [shard]
    with pytest.raises(PretrainError, match="other settings"):
        prepare.prepare_shards(replace(data, climates=("temperate",)), tmp_path / "many")


def test_randomised_covers_teach_without_a_label_and_are_never_probed(tmp_path):
    data = DataSettings(simulated=1600, shards=1, holdout_worlds=1, randomised=1.0)
    (shard,) = prepare.prepare_shards(data, tmp_path, seed=0)
    assert not PixelSet.open(shard).label.any()
    (held,) = prepare.holdout_pixels(data, seed=0)
    assert (held.label > 0).all()
