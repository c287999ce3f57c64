"""Change tile by tile: as if it were one scene, in shares that wait for each other, by processes, and always the same bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tessera_core.analysis.change import NO_LEVEL
from tessera_core.analysis.change.judge import judge_differences
from tessera_core.analysis.change.measure import measure_differences
from tessera_core.cli import main
from tessera_core.project import tile_change
from tessera_core.raster import EmbeddingRaster
from tests.analysis.two_years import SIZE, TwoYears, two_years

HALF = SIZE // 2
QUARTERS = [(row, col) for row in (0, HALF) for col in (0, HALF)]


def part(raster: EmbeddingRaster, row: int, col: int) -> EmbeddingRaster:
    window = np.s_[row : row + HALF, col : col + HALF]
    grid = raster.grid.window(row, col, HALF, HALF)
    return replace(raster, codes=raster.codes[window], scales=raster.scales[window], grid=grid)


@pytest.fixture
def years(tmp_path: Path) -> TwoYears:
    """A scene in four tiles a year."""
    made = two_years(0, share=0.25)
    for year, raster in (("2023", made.first), ("2024", made.second)):
        for number, (row, col) in enumerate(QUARTERS):
            part(raster, row, col).save(tmp_path / year / f"t{number}")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def run(capsys: pytest.CaptureFixture[str], folder: Path, out: str, *more: str) -> tuple[int, dict]:
    words = ["change", folder / "2023", folder / "2024", "--tiles", folder / out, *more, "--json"]
    code = main([str(word) for word in words])
    return code, json.loads(capsys.readouterr().out)


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_tiles_are_judged_as_one_scene_without_seams(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, found = run(capsys, tmp_path, "one", "--rate", "0.1", "--one-cog")
    assert (code, found["tiles"], found["waiting"], found["years"]) == (0, 4, [], [2023, 2024])
    with np.load(tmp_path / "one" / tile_change.SCENE) as file:
        digest = str(file["digest"])
    scene = tile_change._load_scene(tmp_path / "one" / tile_change.SCENE, digest)
    whole = judge_differences(measure_differences(years.first, years.second, scene), len(scene.centres))
    judgement, layer = tile_change._load_judged(tmp_path / "one", digest)
    assert layer.null == whole.null
    for number, (row, col) in enumerate(QUARTERS):
        measured = tile_change._load_measured(tmp_path / "one" / tile_change.MEASURED / f"t{number}.npy")
        expected = whole.levels[row : row + HALF, col : col + HALF]
        np.testing.assert_array_equal(judgement.levels(measured), expected)
    changed = replace(layer, levels=whole.levels).mask(0.1)
    with rasterio.open(tmp_path / "one" / "change_32631.vrt") as file:
        np.testing.assert_array_equal(file.read(1), np.where(whole.levels == NO_LEVEL, 0, 1 + changed))
    with rasterio.open(tmp_path / "one" / "change_32631_p.vrt") as file:
        assert file.read(1)[changed].max() < file.read(1)[~changed & (whole.levels != NO_LEVEL)].min()
    assert (found["changed"], found["pixels"]) == (changed.sum(), (whole.levels != NO_LEVEL).sum())
    for name in found["whole"]:
        with rasterio.open(name) as file, rasterio.open(Path(name).with_suffix(".vrt")) as shown:
            np.testing.assert_array_equal(file.read(1), shown.read(1))
            assert file.overviews(1) == ([2] if SIZE > 512 else [])
    assert [Path(name).name for name in found["whole"]] == ["change_32631.tif", "change_32631_p.tif"]
    before = contents(tmp_path / "one")
    assert run(capsys, tmp_path, "one", "--rate", "0.1", "--one-cog") == (0, found)
    assert contents(tmp_path / "one") == before
    # A run at another rate that was killed between a map and its note does not pass for ours.
    with monkeypatch.context() as patched:
        patched.setattr(tile_change, "hectares", killed)
        with pytest.raises(KeyboardInterrupt):
            tile_change.change_tiles(tmp_path / "2023", tmp_path / "2024", tmp_path / "one", rate=0.01)
    assert contents(tmp_path / "one") != before
    assert run(capsys, tmp_path, "one", "--rate", "0.1", "--one-cog") == (0, found)
    assert contents(tmp_path / "one") == before
    # Another rate is another map of what was measured; without that it is measured again.
    code, strict = run(capsys, tmp_path, "one", "--rate", "0.01")
    assert code == 0
    assert strict["changed"] < found["changed"]
    shutil.rmtree(tmp_path / "one" / tile_change.MEASURED)
    assert run(capsys, tmp_path, "one", "--rate", "0.1", "--one-cog") == (0, found)
    assert contents(tmp_path / "one") == before
    # What a power cut left empty or short is made again, whatever else is there.
    for cuts in (
        {"t0.tif": 0, "t1_p.tif": 0.5, ".measured/t0.npy": 0.5},
        {tile_change.JUDGED: 0, ".measured/t2.npy": 0},
    ):
        for name, share in cuts.items():
            (tmp_path / "one" / name).write_bytes(before[name][: int(share * len(before[name]))])
        assert run(capsys, tmp_path, "one", "--rate", "0.1", "--one-cog") == (0, found)
        assert contents(tmp_path / "one") == before
    # All that was begun in the first format is brought into this one, and what lay there in it goes.
    with np.load(tmp_path / "one" / tile_change.SCENE) as file:
        scene_arrays = dict(file)
    pairs, _ = tile_change.pairs_of(tmp_path / "2023", tmp_path / "2024")
    np.savez(tmp_path / "one" / tile_change.SCENE, **scene_arrays | {"digest": np.array(tile_change._digest(pairs, 0))})
    (tmp_path / "one" / "t1.json").unlink()
    (tmp_path / "one" / tile_change.MEASURED / "t1.npy").rename(tmp_path / "one" / tile_change.MEASURED / "t1.npz")
    assert run(capsys, tmp_path, "one", "--rate", "0.1", "--one-cog") == (0, found)
    assert contents(tmp_path / "one") == before
    (tmp_path / "one" / "t1_p.tif").write_bytes(b"of another program")
    (tmp_path / "one" / "t1.json").unlink()
    code, refused = run(capsys, tmp_path, "one", "--rate", "0.1")
    assert (code, "not made by this command" in refused["error"]["message"]) == (2, True)


def test_shares_wait_for_each_other_and_end_in_the_same_bytes(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = run(capsys, tmp_path, "one")
    code, first = run(capsys, tmp_path, "two", "--share", "1/2")
    assert (code, first["tiles"], first["waiting"]) == (0, 0, ["t1", "t3"])
    code, second = run(capsys, tmp_path, "two", "--share", "2/2")
    assert (code, second["tiles"], second["waiting"]) == (0, 2, ["t0", "t2"])
    code, third = run(capsys, tmp_path, "two", "--share", "1/2")
    assert (code, third["waiting"], third["changed"]) == (0, [], found["changed"])
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert main(["change", str(tmp_path / "2023"), str(tmp_path / "2024"), "--tiles", str(tmp_path / "two")]) == 0
    assert "4 tiles in" in capsys.readouterr().out


def test_what_cannot_be_compared_is_named_and_the_rest_is_done(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "2024" / "t0")
    (tmp_path / "2023" / "t3" / "scales.npy").write_bytes(b"no array")
    other = part(years.second, *QUARTERS[1])
    shutil.rmtree(tmp_path / "2024" / "t1")
    replace(other, provenance=replace(other.provenance, variant="another")).save(tmp_path / "2024" / "t1")
    code, found = run(capsys, tmp_path, "one")
    assert (code, found["tiles"], found["waiting"]) == (3, 1, [])
    assert sorted(one["what"] for one in found["failed"]) == ["t0", "t1", "t3"]
    assert "cannot be mixed" in next(one["why"] for one in found["failed"] if one["what"] == "t1")
    assert "There is no tile t0" in next(one["why"] for one in found["failed"] if one["what"] == "t0")
    code, refused = run(capsys, tmp_path, "one", "--seed", "1")
    assert (code, "other tiles" in refused["error"]["message"]) == (2, True)
    for more, why in ((["--stable", str(tmp_path / "x")], "x does not exist"), (["--rate", "2"], "between 0 and 1")):
        code, refused = run(capsys, tmp_path, "other", *more)
        assert (code, why in refused["error"]["message"]) == (2, True)
    words = ["change", "a", "b", "--out", str(tmp_path / "c.tif"), "--workers", "2", "--json"]
    words[1:3] = [str(tmp_path / "2023"), str(tmp_path / "2024")]
    assert main(words) == 2
    assert "go with --tiles" in capsys.readouterr().out


def test_a_plan_shows_what_is_done_and_what_is_left_and_does_nothing(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.geojson"
    code, found = run(capsys, tmp_path, "one", "--dry-run", "--plan", str(plan))
    assert (code, found["plan"]["tiles"], found["plan"]["done"], found["plan"]["pixels"]) == (0, 4, 0, SIZE**2)
    assert not (tmp_path / "one").exists()
    features = json.loads(plan.read_text())["features"]
    assert [one["properties"]["state"] for one in features] == ["left"] * 4
    assert features[0]["properties"]["read_bytes"] == HALF**2 * 2 * (48 + 4)
    west, north = features[0]["geometry"]["coordinates"][0][0]
    corner = years.first.grid.pixel_to_lonlat(0, 0)
    np.testing.assert_allclose((west, north), [float(value) for value in corner], atol=1e-6)
    # Maps have the same plan, and say it to people.
    words = ["map", str(tmp_path / "2023"), "--labels", str(plan), "--tiles", str(tmp_path / "maps"), "--dry-run"]
    assert main(words) == 0
    assert "4 tiles, 0 of them done" in capsys.readouterr().out
    assert main([*words[:4], "--out", str(tmp_path / "m.tif"), "--dry-run", "--json"]) == 2
    assert "go with --tiles" in capsys.readouterr().out


@pytest.mark.soak
@pytest.mark.parametrize("where", [(), ("--scheduler", "local")])
def test_processes_end_in_the_same_bytes(
    tmp_path: Path, years: TwoYears, capsys: pytest.CaptureFixture[str], where: tuple[str, ...]
) -> None:
    run(capsys, tmp_path, "one")
    code, found = run(capsys, tmp_path, "many", "--workers", "2", *where)
    assert (code, found["tiles"]) == (0, 4)
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
