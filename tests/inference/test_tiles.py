"""Runs over tiles: resuming, cancelling, no data, layouts, and clear sentences for bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import zarr

from tessera_core._utils.locks import alone
from tessera_core._utils.partial import Failure
from tessera_core._utils.share import Share
from tessera_core.cli import main
from tessera_core.cluster import connect
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, InputError, InUseError, TileError
from tessera_core.grid import Grid
from tessera_core.inference import embed_tile, estimate, generate_tile
from tessera_core.inference.engine import Engine
from tessera_core.inference.layouts import OpenStore, Shard
from tessera_core.inference.shares import generate_in_shares
from tessera_core.inference.store import StoreInWaiting
from tessera_core.inference.tiles import GenerateOptions, generate_tiles
from tessera_core.models.checkpoint import LoadedEncoder, load_checkpoint, save_checkpoint
from tessera_core.models.config import v1_0_qat, v2_student
from tessera_core.models.encoder import Encoder
from tessera_core.raster import EmbeddingRaster, NoData
from tests.factories import make_tile


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = v2_student(8, 1, 2, 48, out=32, prefixes=(16, 32))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    return save_checkpoint(path, Encoder(config), config, {"name": "small"})


@pytest.fixture(scope="module")
def loaded(weights: Path) -> LoadedEncoder:
    return load_checkpoint(weights)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tessera_core.inference.engine.MAX_BLOCK_PIXELS", 30)


def test_no_data_is_marked_with_its_reason(tmp_path: Path, loaded: LoadedEncoder) -> None:
    path = generate_tile(make_tile(tmp_path / "t"), loaded, tmp_path / "out")
    codes, scales = np.load(path), np.load(tmp_path / "out/t_scales.npy")
    reasons = np.load(tmp_path / "out/t_nodata.npy")
    assert (reasons[0, :3] == NoData.OUTSIDE).all()
    assert reasons[5, 5] == NoData.NO_OBSERVATIONS
    assert (np.isnan(scales) == (reasons != NoData.VALID)).all()
    assert (codes[np.isnan(scales)] == 0).all()
    header = json.loads((tmp_path / "out/t.json").read_text())
    assert header["format"] == "tessera-embedding-tile/1"
    assert header["nodata"] == {"outside": 3, "no_observations": 1}
    assert Grid.from_json(header["grid"]).crs == "EPSG:32631"
    assert header["provenance"]["year"] == 2023
    assert header["provenance"]["dim"] == 32


def test_in_memory_and_on_disk_agree(tmp_path: Path, loaded: LoadedEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tile(tmp_path / "t")
    tile = DPixelTile.open(folder)
    whole = embed_tile(tile, Engine(loaded, dtype="fp32"))
    assert np.isnan(whole[0, :3]).all()
    some = embed_tile(tile, Engine(loaded, dtype="fp32"), rows=slice(4, 7), dim=16)
    np.testing.assert_allclose(some, whole[4:7, :, :16], atol=1e-5)
    small_blocks(monkeypatch)
    path = generate_tile(folder, loaded, tmp_path / "out", GenerateOptions(float32=True, dtype="fp32"))
    valid = ~np.isnan(whole)
    np.testing.assert_allclose(np.load(path)[valid], whole[valid], atol=1e-5)


def test_cancelled_work_is_kept_and_ends_in_the_same_bytes(
    tmp_path: Path, loaded: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    folder = make_tile(tmp_path / "t")
    generate_tile(folder, loaded, tmp_path / "whole")
    seen: list[int] = []
    with pytest.raises(Cancelled):
        generate_tile(
            folder,
            loaded,
            tmp_path / "cut",
            progress=lambda done, *_: seen.append(done),
            cancelled=lambda: max(seen, default=0) >= 60,
        )
    assert not list((tmp_path / "cut").glob("*.npy"))
    result = generate_tiles([folder], loaded, tmp_path / "cut")[0]
    assert 0 < result.resumed_rows < 12
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert not list((tmp_path / "cut").glob(".*"))


def test_other_weights_or_a_changed_tile_start_over(
    tmp_path: Path, loaded: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    folder = make_tile(tmp_path / "t")
    calls = iter([False, False, True])
    with pytest.raises(Cancelled):
        generate_tile(folder, loaded, tmp_path / "out", cancelled=lambda: next(calls, True))
    result = generate_tiles([folder], loaded, tmp_path / "out", GenerateOptions(dim=16))[0]
    assert result.resumed_rows == 0
    assert np.load(result.path).shape == (12, 10, 16)
    assert generate_tiles([folder], loaded, tmp_path / "out", GenerateOptions(dim=16))[0].computed == 0
    make_tile(folder, seed=1)
    assert generate_tiles([folder], loaded, tmp_path / "out", GenerateOptions(dim=16))[0].computed == 120


def test_kill_9_in_the_middle_then_the_same_command(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_tile(tmp_path / "t", shape=(40, 40))
    # Blocks of four rows, and a long pause after the fourth where the test asks for it.
    script = (
        "import os, sys, time\n"
        "import tessera_core.inference.engine as engine\n"
        "from tessera_core._utils.resumable import ResumableArrays\n"
        "from tessera_core.cli import main\n"
        "engine.MAX_BLOCK_PIXELS = 160\n"
        "commit = ResumableArrays.commit\n"
        "def announced(self, window, blocks):\n"
        "    commit(self, window, blocks)\n"
        "    print('block', flush=True)\n"
        "    if window[0].start == 12 and 'PAUSE' in os.environ: time.sleep(60)\n"
        "ResumableArrays.commit = announced\n"
        "raise SystemExit(main(sys.argv[1:]))\n"
    )

    def words(out: Path) -> list[str]:
        return ["generate", str(folder), "--weights", str(weights), "--out", str(out)]

    def command(out: Path) -> list[str]:
        return [sys.executable, "-c", script, *words(out)]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with monkeypatch.context() as patch:
        patch.setattr("tessera_core.inference.engine.MAX_BLOCK_PIXELS", 160)
        assert main(words(tmp_path / "whole")) == 0
    pausing = {**environment, "PAUSE": "1"}
    process = subprocess.Popen(command(tmp_path / "cut"), stdout=subprocess.PIPE, env=pausing, text=True)
    assert process.stdout is not None
    for _ in range(4):
        assert process.stdout.readline() == "block\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in (tmp_path / "cut").iterdir()] == [".t.generating"]
    done = subprocess.run(command(tmp_path / "cut"), check=True, capture_output=True, env=environment, text=True)
    assert done.stdout.count("block") == 6
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_zarr_and_geotiff_from_the_command_line(tmp_path: Path, weights: Path) -> None:
    import rasterio
    from geotessera import GeoTesseraZarr

    folder = make_tile(tmp_path / "t")
    for layout in ("zarr", "geotiff", "npy"):
        assert (
            main(["generate", str(folder), "--weights", str(weights), "--out", str(tmp_path), "--format", layout]) == 0
        )
    scales = np.load(tmp_path / "t_scales.npy")
    opened = GeoTesseraZarr(str(tmp_path / "embeddings.zarr"))
    values, _ = opened.open_zone(zone=31).tessera.read_region((500000, 5599880, 500100, 5600000), 2023)
    codes = np.load(tmp_path / "t.npy")
    np.testing.assert_array_equal(values, np.where(np.isnan(scales)[..., None], np.nan, codes * scales[..., None]))
    with rasterio.open(tmp_path / "t.tif") as file:
        floats = file.read().transpose(1, 2, 0)
    assert (np.isnan(floats).all(-1) == np.isnan(scales)).all()
    valid = ~np.isnan(scales)
    assert (np.abs(floats[valid] - values[valid]) <= 0.51 * scales[valid][:, None] + 1e-6).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "embeddings.zarr", "t", "t.json", "t.npy", "t.tif", "t_nodata.npy", "t_scales.npy"
    ]  # fmt: skip


def test_a_tile_without_observations_is_refused_in_one_sentence(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tile(tmp_path / "clouds", clear=0)
    assert main(["generate", str(folder), "--weights", str(weights), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "clouds has not one valid observation" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()
    with pytest.raises(TileError):
        embed_tile(DPixelTile.open(folder), Engine(load_checkpoint(weights)))


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--dim", "64"], "16, 32"), (["--repeats", "0"], "at least 1"), (["--device", "cuda"], "GPU")],
)
def test_options_that_do_not_fit(
    tmp_path: Path, weights: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    folder = make_tile(tmp_path / "t")
    assert main(["generate", str(folder), "--weights", str(weights), "--out", str(tmp_path / "out"), *options]) == 2
    assert words in capsys.readouterr().err


def test_tiles_of_one_name_do_not_overwrite_each_other(tmp_path: Path, loaded: LoadedEncoder) -> None:
    folders = [make_tile(tmp_path / year / "t") for year in ("2023", "2024")]
    with pytest.raises(InputError, match="called t"):
        generate_tiles(folders, loaded, tmp_path / "out")


def test_results_of_others_and_of_other_tiles_are_never_replaced(tmp_path: Path, loaded: LoadedEncoder) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.npy").write_bytes(b"of another program")
    (out / "a.tif").write_bytes(b"of another program")
    tile = make_tile(tmp_path / "a")
    for layout in ("npy", "geotiff"):
        with pytest.raises(InputError, match="not made by this command"):
            generate_tile(tile, loaded, out, GenerateOptions(layout=layout))
    assert (out / "a.npy").read_bytes() == (out / "a.tif").read_bytes() == b"of another program"
    here = tmp_path / "here"
    generate_tile(tile, loaded, here)
    before = contents(here)
    with pytest.raises(InputError, match="2023"):
        generate_tile(make_tile(tmp_path / "later" / "a", year=2024), loaded, here)
    with pytest.raises(InputError, match="another tile a"):
        generate_tile(make_tile(tmp_path / "larger" / "a", shape=(14, 10)), loaded, here)
    torch.manual_seed(5)
    config = v2_student(8, 1, 2, 48, out=16, prefixes=(16,))
    path = save_checkpoint(
        tmp_path / "other.safetensors", Encoder(config), config, {"name": "other", "version": "other"}
    )
    with pytest.raises(InputError, match="each encoder"):
        generate_tile(tile, load_checkpoint(path), here)
    assert contents(here) == before
    generate_tile(tile, loaded, here, GenerateOptions(layout="zarr"))
    with pytest.raises(InputError, match="zarr"):
        generate_tile(tile, loaded, here, GenerateOptions(layout="zarr"))


def test_however_many_tiles_there_are_few_files_are_open(tmp_path: Path, loaded: LoadedEncoder) -> None:
    folders = [make_tile(tmp_path / "tiles" / f"t{number:02d}") for number in range(24)]
    opened: list[int] = []

    def count(*_: object) -> None:
        opened.append(len(os.listdir("/proc/self/fd")))

    count()
    for layout in ("npy", "zarr"):
        options = GenerateOptions(layout=layout)
        assert len(generate_tiles(folders, loaded, tmp_path / layout, options, progress=count)) == len(folders)
    assert max(opened) - opened[0] < len(folders)


def test_a_tile_that_another_run_is_at_is_put_back_and_the_others_are_done(
    tmp_path: Path, loaded: LoadedEncoder
) -> None:
    folders = [make_tile(tmp_path / name) for name in ("a", "b")]
    out = tmp_path / "out"
    (out / ".a.generating").mkdir(parents=True)
    failed: list[Failure] = []
    with alone(out / ".a.generating/lock"):
        assert [one.tile for one in generate_tiles(folders, loaded, out, failed=failed)] == ["b"]
        assert [(one.what, "Another run" in one.why) for one in failed] == [("a", True)]
        with pytest.raises(InUseError, match="working on the tile a"):
            generate_tiles(folders[:1], loaded, out)
    # The other ends while this one does what else there is.
    later = tmp_path / "later"
    (later / ".a.generating").mkdir(parents=True)
    with ExitStack() as other:
        other.enter_context(alone(later / ".a.generating/lock"))
        made = generate_tiles(folders, loaded, later, progress=lambda *_: other.close())
    assert [(one.tile, one.computed > 0) for one in made] == [("a", True), ("b", True)]


def whole_tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shares_of_one_list_end_in_the_bytes_of_one_run(tmp_path: Path, loaded: LoadedEncoder) -> None:
    folders = [make_tile(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b", "c"))]
    for layout in ("npy", "zarr"):
        options = GenerateOptions(layout=layout)
        one, many = tmp_path / f"{layout}-one", tmp_path / f"{layout}-many"
        generate_tiles(folders, loaded, one, options)
        assert [len(generate_tiles(folders, loaded, many, options, share=Share(n, 2))) for n in (2, 1)] == [1, 2]
        assert whole_tree(many) == whole_tree(one)


# That maps do so is tested each time, in tests/project/test_tile_maps.py.
@pytest.mark.soak
def test_processes_end_in_the_bytes_of_one_run(tmp_path: Path, weights: Path) -> None:
    folders = [make_tile(tmp_path / name, seed=seed) for seed, name in enumerate(("a", "b", "c"))]
    folders.append(make_tile(tmp_path / "clouds", clear=0))
    options = GenerateOptions(layout="zarr")
    failed: list[list[Failure]] = [[], []]
    one = generate_tiles(folders, weights, tmp_path / "one", options, failed=failed[0])
    many = generate_in_shares(folders, weights, tmp_path / "many", options, 2, failed=failed[1])
    assert [made.tile for made in many] == [made.tile for made in one] == ["a", "b", "c"]
    assert failed[0] == failed[1]
    assert whole_tree(tmp_path / "many") == whole_tree(tmp_path / "one")


def test_a_plan_of_tiles_says_how_long_they_will_take(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        make_tile(tmp_path / "tiles" / name)
    words = ["generate", str(tmp_path / "tiles"), "--weights", str(weights), "--out", str(tmp_path / "out")]
    assert main([*words, "--dry-run", "--plan", str(tmp_path / "p.geojson"), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert (plan["tiles"], plan["done"], plan["minutes"] >= 0) == (2, 0, True)
    assert {one["properties"]["state"] for one in json.loads((tmp_path / "p.geojson").read_text())["features"]} == {
        "left"
    }


@pytest.mark.soak
def test_workers_of_a_scheduler_end_in_the_bytes_of_one_run_even_where_one_is_killed(
    tmp_path: Path, weights: Path
) -> None:
    folders = [make_tile(tmp_path / name, seed=seed) for seed, name in enumerate("abcdef")]
    one, many = tmp_path / "one", tmp_path / "many"
    generate_tiles(folders, weights, one)
    before = {process.pid for process in psutil.Process().children(recursive=True)}

    def kill(done: int, total: int, message: str) -> None:
        # The first worker that is found, once, as soon as a share is done.
        if done == 1:
            workers = [p for p in psutil.Process().children(recursive=True) if p.pid not in before and not p.children()]
            workers[-1].kill()

    with connect("local", 2) as engine:
        generate_in_shares(
            folders, weights, many, GenerateOptions(), 2, executor=engine.executor, retries=0, progress=kill
        )
    assert whole_tree(many) == whole_tree(one)


def test_a_share_of_nothing_but_what_cannot_be_had_writes_the_store_where_all_others_have_come(
    tmp_path: Path, loaded: LoadedEncoder
) -> None:
    folders = [make_tile(tmp_path / "a"), make_tile(tmp_path / "clouds", clear=0)]
    options = GenerateOptions(layout="zarr")
    generate_tiles(folders, loaded, tmp_path / "one", options, failed=[])
    assert len(generate_tiles(folders, loaded, tmp_path / "many", options, share=Share(1, 2), failed=[])) == 1
    assert not (tmp_path / "many/embeddings.zarr").exists()
    with pytest.raises(TileError):
        generate_tiles(folders, loaded, tmp_path / "many", options, share=Share(2, 2), failed=[])
    assert whole_tree(tmp_path / "many") == whole_tree(tmp_path / "one")


def test_a_store_waits_for_every_share_and_never_for_a_tile_that_cannot_be_had(
    tmp_path: Path, loaded: LoadedEncoder
) -> None:
    folders = [make_tile(tmp_path / "a"), make_tile(tmp_path / "b", clear=0), make_tile(tmp_path / "c")]
    options, out = GenerateOptions(layout="zarr"), tmp_path / "out"
    generate_tiles(folders, loaded, out, options, share=Share(1, 3))
    failed: list[Failure] = []
    with pytest.raises(TileError, match="not one valid observation"):
        generate_tiles(folders, loaded, out, options, share=Share(2, 3), failed=failed)
    assert not (out / "embeddings.zarr").exists()
    generate_tiles(folders, loaded, out, options, share=Share(3, 3))
    assert [path.name for path in out.iterdir()] == ["embeddings.zarr"]
    before = whole_tree(out)
    with pytest.raises(InputError, match="zarr"):
        generate_tiles([make_tile(tmp_path / "d")], loaded, out, options)
    assert whole_tree(out) == before


def neighbours(folder: Path) -> list[Path]:
    """Four tiles in a square, the first around a corner of shards: of the four shards all tiles share the last."""
    west, north = 307_200 + 10 * 250, 5_703_680 - 10 * 250
    places = [(west + 100 * x, north - 120 * y) for y in range(2) for x in range(2)]
    return [
        make_tile(folder / name, seed=seed, corner=corner)
        for seed, (name, corner) in enumerate(zip("abcd", places, strict=True))
    ]


def test_tiles_that_share_shards_are_written_by_whoever_comes_last(
    tmp_path: Path, loaded: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders, options = neighbours(tmp_path / "tiles"), GenerateOptions(layout="zarr")
    generate_tiles(folders, loaded, tmp_path / "npy")
    generate_tiles(folders, loaded, tmp_path / "one", options)
    out, filled = tmp_path / "many", Counter[object]()
    fill = OpenStore.fill

    def counted(self: OpenStore, shard: Shard, rasters: Sequence[EmbeddingRaster]) -> None:
        filled[shard] += 1
        fill(self, shard, rasters)

    monkeypatch.setattr(OpenStore, "fill", counted)
    for number in (3, 1, 4, 2):
        # All four meet in the last shard.
        assert (1, 1) not in {(shard.row, shard.col) for shard in filled}
        generate_tiles(folders, loaded, out, options, share=Share(number, 4))
    assert sorted(filled.values()) == [1, 1, 1, 1]
    assert whole_tree(out) == whole_tree(tmp_path / "one")
    group = zarr.open_group(out / "embeddings.zarr", mode="r")["utm31"]
    for folder in folders:
        name, grid = folder.name, DPixelTile.open(folder).grid
        row = round((group["y"][0] + 5 - grid.transform.f) / 10)
        col = round((grid.transform.c + 5 - group["x"][0]) / 10)
        here = (slice(row, row + 12), slice(col, col + 10))
        scales = np.load(tmp_path / f"npy/{name}_scales.npy")
        np.testing.assert_array_equal(group["scales"][0][here], np.where(np.isnan(scales), np.inf, scales))
        codes = group["embeddings"][0][:, *here].transpose(1, 2, 0)
        np.testing.assert_array_equal(codes, np.load(tmp_path / f"npy/{name}.npy"))


@pytest.mark.parametrize("torn", [False, True])
def test_a_run_that_dies_while_it_writes_into_the_store_is_done_again(
    tmp_path: Path, loaded: LoadedEncoder, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    folders, options = [*neighbours(tmp_path / "tiles"), make_tile(tmp_path / "far")], GenerateOptions(layout="zarr")
    generate_tiles(folders, loaded, tmp_path / "one", options)
    out, left = tmp_path / "many", [3]
    fill = OpenStore.fill

    def dying(self: OpenStore, shard: Shard, rasters: Sequence[EmbeddingRaster]) -> None:
        left[0] -= 1
        if not torn and left[0] < 0:
            raise KeyboardInterrupt
        fill(self, shard, rasters)
        if torn and left[0] < 0:
            chunks = [path for path in out.rglob("*") if path.is_file() and "c" in path.parts]
            chunk = max(chunks, key=lambda path: path.stat().st_mtime_ns)
            chunk.write_bytes(chunk.read_bytes()[:100])
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(OpenStore, "fill", dying)
        with pytest.raises(KeyboardInterrupt):
            generate_tiles(folders, loaded, out, options)
    made = generate_tiles(folders, loaded, out, options)
    assert sum(one.computed == 0 for one in made) >= 4
    assert whole_tree(out) == whole_tree(tmp_path / "one")


def test_what_lies_beside_a_tile_that_was_given_up_is_written_again_when_that_comes(
    tmp_path: Path, loaded: LoadedEncoder
) -> None:
    options, tiles = GenerateOptions(layout="zarr"), tmp_path / "tiles"
    folders = [*neighbours(tiles), make_tile(tmp_path / "far")]
    generate_tiles(folders, loaded, tmp_path / "one", options)
    masks = np.load(folders[1] / "masks.npy")
    np.save(folders[1] / "masks.npy", np.zeros_like(masks))
    out, failed = tmp_path / "many", list[Failure]()
    generate_tiles(folders, loaded, out, options, share=Share(1, 2), failed=failed)
    with pytest.raises(InputError, match="another list of tiles"):
        generate_tiles(folders[:2], loaded, out, options)
    StoreInWaiting(out, folders).begin(["b"])
    StoreInWaiting(out, folders).give_up("b", TileError("clouds"))
    np.save(folders[1] / "masks.npy", masks)
    generate_tiles(folders, loaded, out, options, share=Share(2, 2))
    assert whole_tree(out) == whole_tree(tmp_path / "one")


def test_a_tile_that_could_be_read_only_after_a_share_had_begun_loses_no_pixels(
    tmp_path: Path, loaded: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, folders, out = GenerateOptions(layout="zarr"), neighbours(tmp_path / "tiles")[::3], tmp_path / "many"
    generate_tiles(folders, loaded, tmp_path / "one", options)
    hidden, late = tmp_path / "hidden", folders[1]
    late.rename(hidden)
    own = StoreInWaiting.require_place

    def meanwhile(store: StoreInWaiting, tile: DPixelTile) -> None:
        own(store, tile)
        if hidden.exists():
            hidden.rename(late)
            StoreInWaiting(out, folders).begin([late.name])

    with monkeypatch.context() as patched:
        patched.setattr(StoreInWaiting, "require_place", meanwhile)
        generate_tiles(folders, loaded, out, options, share=Share(1, 2))
    part = out / ".zarr-tiles/.store/utm31/scales"
    (part / "0.abc.partial").write_bytes(b"of a run that was killed")
    generate_tiles(folders, loaded, out, options, share=Share(2, 2))
    assert whole_tree(out) == whole_tree(tmp_path / "one")


def test_what_one_share_can_read_and_the_next_cannot_keeps_its_place(tmp_path: Path) -> None:
    first, *others = folders = neighbours(tmp_path / "tiles")
    others[2].rename(tmp_path / "d")
    StoreInWaiting(tmp_path / "out", folders).begin(["a"])
    (tmp_path / "d").rename(others[2])
    first.rename(tmp_path / "a")
    store = StoreInWaiting(tmp_path / "out", folders)
    store.begin(["d"])
    assert sorted(store._places) == ["a", "b", "c", "d"]


def test_a_share_goes_on_on_a_machine_that_takes_other_blocks(
    tmp_path: Path, loaded: LoadedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, out = GenerateOptions(layout="zarr"), tmp_path / "out"
    folders = [make_tile(tmp_path / "a"), make_tile(tmp_path / "b", seed=1, corner=(600_000, 5_600_000))]
    generate_tiles(folders, loaded, out, options, share=Share(1, 2))
    assert (out / ".zarr-tiles/a.in-store").is_file()
    small_blocks(monkeypatch)
    made = generate_tiles(folders, loaded, out, options)
    assert [(one.tile, one.computed > 0) for one in made] == [("a", False), ("b", True)]


def test_a_tile_that_changed_after_it_was_written_is_told_and_not_mixed_in(
    tmp_path: Path, loaded: LoadedEncoder
) -> None:
    options, out = GenerateOptions(layout="zarr"), tmp_path / "out"
    folders = [make_tile(tmp_path / "a"), make_tile(tmp_path / "b", seed=1, corner=(600_000, 5_600_000))]
    generate_tiles(folders, loaded, out, options, share=Share(1, 2))
    assert [path.suffix for path in (out / ".zarr-tiles").glob("a*")].count(".npy") == 0
    os.utime(folders[0] / "bands.npy", (1, 1))
    with pytest.raises(InputError, match="before its series or the options changed"):
        generate_tiles(folders, loaded, out, options)
    make_tile(folders[1], seed=1, corner=(700_000, 5_600_000))
    with pytest.raises(TileError, match="has no place"):
        generate_tiles(folders, loaded, out, options, share=Share(2, 2))


def test_two_runs_with_other_tiles_do_not_fill_one_store(tmp_path: Path, loaded: LoadedEncoder) -> None:
    options, out = GenerateOptions(layout="zarr"), tmp_path / "out"
    first, second = make_tile(tmp_path / "a"), make_tile(tmp_path / "b")
    errors: list[str] = []

    def meanwhile(done: int, *_: object) -> None:
        if not errors:
            errors.append("")
            with pytest.raises(InUseError, match="a among them") as refused:
                generate_tiles([second], loaded, out, options)
            errors[0] = str(refused.value)

    generate_tiles([first], loaded, out, options, progress=meanwhile)
    assert "--share" in errors[0]
    assert [path.name for path in out.iterdir()] == ["embeddings.zarr"]


def test_random_draws_follow_the_seed_and_not_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    config = v1_0_qat(8, 1, 2, 32, 16)
    weights = save_checkpoint(tmp_path / "w.safetensors", Encoder(config), config, {"name": "w"})
    tile, loaded = DPixelTile.open(make_tile(tmp_path / "t")), load_checkpoint(weights)
    first = embed_tile(tile, Engine(loaded, dtype="fp32"), seed=1)
    small_blocks(monkeypatch)
    np.testing.assert_allclose(embed_tile(tile, Engine(loaded, dtype="fp32"), seed=1), first, atol=1e-5)
    assert np.nanmax(np.abs(embed_tile(tile, Engine(loaded, dtype="fp32"), seed=2) - first)) > 1e-3
    averaged = embed_tile(tile, Engine(loaded, dtype="fp32"), seed=1, repeats=3)
    assert np.nanmax(np.abs(averaged - first)) > 1e-3


def test_progress_reaches_the_end_and_never_goes_back(tmp_path: Path, loaded: LoadedEncoder) -> None:
    seen: list[tuple[int, int]] = []
    folders = [make_tile(tmp_path / name) for name in ("a", "b")]
    generate_tiles(folders, loaded, tmp_path / "out", progress=lambda done, total, _: seen.append((done, total)))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert seen[-1] == (240, 240)


def test_estimate_scales_with_the_pixels(loaded: LoadedEncoder) -> None:
    small = estimate((10, 10), (20, 30), loaded)
    assert small.output_bytes == 100 * 36
    assert small.seconds > 0
    assert small.flops_per_pixel > 0
    assert estimate((10, 10), (0, 0), loaded).seconds == 0
