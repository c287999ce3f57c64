"""Maps tile by tile: two zones, both hemispheres, shares, processes, bad tiles, few open files, and always the same bytes."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from tessera_core._utils.share import Share
from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.export.geotiff import write_class_map
from tessera_core.export.one_cog import write_one_cog
from tessera_core.grid import Grid
from tessera_core.heads import load_head, predict_raster
from tessera_core.labels.model import LabelClass
from tessera_core.project import map_notes, tile_maps
from tessera_core.project.tile_maps import map_tiles
from tessera_core.raster import EmbeddingRaster
from tests.project.countries import ORIGIN, SIDE, make_country, stripes


@pytest.fixture
def country(tmp_path: Path) -> Path:
    """Tiles and labels of :func:`make_country`."""
    return make_country(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def run(capsys: pytest.CaptureFixture[str], folder: Path, out: str, *more: str) -> tuple[int, dict]:
    words = ["map", folder / "E", "--labels", folder / "labels.geojson", "--tiles", folder / out, *more, "--json"]
    code = main([str(word) for word in words])
    found = json.loads(capsys.readouterr().out)
    assert code != 1, found
    return code, found


def test_tiles_of_several_zones_become_maps_with_one_head_and_shares_end_in_the_same_bytes(
    country: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = run(capsys, country, "one")
    assert code == 0
    assert (found["tiles"], found["made"], found["n_train"], found["waiting"]) == (6, 6, 24, [])
    assert {one["name"] for one in found["classes"]} == {"wheat", "rye", "oats"}
    # Labels of another zone are not left out: each of the file is used or counted, over all zones.
    told = found["import"]
    assert (told["read"], told["used"], told["left_out"]) == (24, 24, [])
    assert found["pixels"] == 6 * SIDE**2
    assert found["no_data"] == 12
    assert [Path(path).name for path in found["maps"]] == [
        f"map_{code}{end}.vrt" for code in (32631, 32632, 32731) for end in ("", "_confidence")
    ]
    names = {one["id"]: one["name"] for one in found["classes"]}
    with rasterio.open(country / "one" / "map_32631.vrt") as whole:
        classes = whole.read(1)
        assert (whole.crs.to_epsg(), whole.shape, whole.nodata) == (32631, (20, 40), 0)
        assert whole.colormap(1)
    for number, (row, col) in enumerate([(0, 0), (0, 10), (10, 30)]):
        with rasterio.open(country / "one" / f"t{number}.tif") as tile:
            np.testing.assert_array_equal(classes[row : row + SIDE, col : col + SIDE], tile.read(1))
    assert [names[int(i)] for i in classes[5, [1, 4, 8, 11, 14, 18]]] == ["wheat", "rye", "oats"] * 2
    assert not classes[15, :30].any()
    # The map of a tile is what its head says of it.
    head = load_head(country / "one" / "head.safetensors").classification
    raster = EmbeddingRaster.open(country / "E" / "t3")
    with rasterio.open(country / "one" / "t3.tif") as tile:
        np.testing.assert_array_equal(tile.read(1), predict_raster(head, raster).classes)
    before = contents(country / "one")
    code, again = run(capsys, country, "one")
    assert (code, again["made"], again["classes"]) == (0, 0, found["classes"])
    assert contents(country / "one") == before
    # Killed between a map and its note, the map is made again; a map of somebody else stays.
    (country / "one" / "t0.json").unlink()
    code, again = run(capsys, country, "one")
    assert (code, again["made"]) == (0, 1)
    assert contents(country / "one") == before
    (country / "theirs").mkdir()
    theirs = [country / "theirs" / name for name in ("t4_confidence.tif", "t5.tif")]
    for file in theirs:
        file.write_bytes(b"of another program")
    code, found_there = run(capsys, country, "theirs")
    assert (code, [one["what"] for one in found_there["failed"]]) == (3, ["t4", "t5"])
    assert [file.read_bytes() for file in theirs] == [b"of another program"] * 2
    assert not (country / "theirs" / "t4.tif").exists()
    code, first = run(capsys, country, "two", "--share", "2/2")
    assert (code, first["made"], len(first["waiting"])) == (0, 3, 3)
    code, second = run(capsys, country, "two", "--share", "1/2")
    assert (code, second["waiting"], second["classes"]) == (0, [], found["classes"])
    assert contents(country / "two") == before
    code, refused = run(capsys, country, "one", "--head", "ridge")
    assert code == 2
    assert "other labels" in refused["error"]["message"]
    assert contents(country / "one") == before


def test_what_a_power_cut_left_empty_or_short_is_made_again_and_shown(
    country: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, country, "one")
    out, head = country / "one", country / "one" / "head.safetensors"

    def again() -> int:
        return map_tiles(country / "E", head, out, confidence=True).made

    before = contents(out)
    files = [out / f"t0{end}" for end in (".tif", ".tif.aux.xml", ".qml", "_confidence.tif", "_confidence.qml")]
    for cut in (lambda data: b"", lambda data: data[:100], lambda data: data[: len(data) // 2], lambda data: data[:-1]):
        for file in files:
            file.write_bytes(cut(before[file.name]))
            assert again() == 1, file
            assert contents(out) == before, file
    # Without a note as well, and an older note, which says no sizes, is good as long as the map is no empty file.
    (out / "t0.json").unlink()
    (out / "t0.tif").write_bytes(b"")
    assert again() == 1
    assert contents(out) == before
    note = json.loads(before["t1.json"])
    del note["files"]
    (out / "t1.json").write_text(json.dumps(note))
    assert again() == 0
    (out / "t1_confidence.tif").write_bytes(b"")
    assert again() == 1
    assert contents(out) == before


def test_all_tiles_of_a_coordinate_system_in_one_file(country: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, part = run(capsys, country, "maps", "--one-cog", "--share", "1/2")
    assert (code, part["whole"], bool(part["waiting"])) == (0, [], True)
    code, found = run(capsys, country, "maps", "--one-cog")
    assert code == 0
    assert [Path(file).name for file in found["whole"]] == [
        f"map_{crs}{ending}.tif" for crs in (32631, 32632, 32731) for ending in ("", "_confidence")
    ]
    times = {}
    for name in found["whole"]:
        with rasterio.open(name) as file, rasterio.open(Path(name).with_suffix(".vrt")) as shown:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert file.tags()["tessera_dataset"] == ORIGIN.dataset
            assert (file.transform, file.crs, file.nodata) == (shown.transform, shown.crs, shown.nodata)
            np.testing.assert_array_equal(file.read(1), shown.read(1))
        times[name] = os.stat(name).st_mtime_ns
        assert Path(name).with_suffix(".qml").is_file()
    with rasterio.open(found["whole"][0]) as file:
        assert file.colormap(1)[0] == (0, 0, 0, 0)
        counts = np.bincount(file.read(1).reshape(-1), minlength=4)
    table = Path(found["whole"][0] + ".aux.xml").read_text()
    assert all(f"<F>{name}</F>" in table for name in ("wheat", "rye", "oats"))
    assert f"<F>{counts[1]}</F>" in table
    # What is there of the same tiles is not written again; another's file is never replaced.
    assert run(capsys, country, "maps", "--one-cog")[1] == found | {"made": 0}
    assert {name: os.stat(name).st_mtime_ns for name in times} == times
    Path(found["whole"][0]).write_bytes((country / "maps/t0.tif").read_bytes())
    words = ["map", country / "E", "--labels", country / "labels.geojson", "--tiles", country / "maps", "--one-cog"]
    assert main([str(word) for word in words]) == 1
    assert "not put together by this command" in capsys.readouterr().err


def test_a_map_that_another_head_made_and_did_not_note_is_made_again(
    country: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, country, "one")
    run(capsys, country, "other", "--head", "ridge")
    heads = [country / out / "head.safetensors" for out in ("one", "other")]
    out = country / "maps"
    map_tiles(country / "E", heads[0], out, one_cog=True)
    before = contents(out)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(map_notes, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            map_tiles(country / "E", heads[1], out, one_cog=True)
    assert contents(out) != before
    assert map_tiles(country / "E", heads[0], out, one_cog=True).made == 1
    assert contents(out) == before
    # Classes of another legend: the style of the whole is written anew, a person's own is not.
    style, theirs = out / "map_32631.qml", out / "map_32632.qml"
    style.write_text(style.read_text().replace("wheat", "rice"))
    theirs.write_text("<qgis/>")
    map_tiles(country / "E", heads[1], out, one_cog=True)
    assert "rice" not in style.read_text()
    assert theirs.read_text() == "<qgis/>"


def test_what_is_done_is_shown_again_beside_a_damaged_tile_and_a_share_knows_what_another_could_not_map(
    country: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, country, "one")
    head = country / "one" / "head.safetensors"
    for number in (2, 3, 4, 5):
        shutil.rmtree(country / "E" / f"t{number}")
    values = (country / "E" / "t1" / "scales.npy").read_bytes()
    (country / "E" / "t1" / "scales.npy").write_bytes(b"no array")
    for _ in range(2):
        made = map_tiles(country / "E", head, country / "two", one_cog=True)
        assert ([*made.tiles], [one.what for one in made.failed], len(made.whole)) == (["t0"], ["t1"], 1)
    # One that opens and cannot be mapped: its share says so, and the other does not wait for it.
    (country / "E" / "t1" / "scales.npy").write_bytes(values)
    (country / "shares").mkdir()
    (country / "shares" / "t1.tif").write_bytes(b"of another program")
    with pytest.raises(InputError, match="not made by this command"):
        map_tiles(country / "E", head, country / "shares", one_cog=True, share=Share(2, 2))
    made = map_tiles(country / "E", head, country / "shares", one_cog=True, share=Share(1, 2))
    assert (made.waiting, [one.what for one in made.failed], len(made.whole)) == ([], ["t1"], 1)
    (country / "shares" / "t1.tif").unlink()
    made = map_tiles(country / "E", head, country / "shares", one_cog=True, share=Share(2, 2))
    assert (made.waiting, made.failed, [*made.tiles]) == ([], [], ["t0", "t1"])
    assert not any((country / "shares" / tile_maps.FAILED).iterdir())


def test_overviews_of_the_one_file_hold_classes_and_ground_between_tiles_takes_no_space(tmp_path: Path) -> None:
    stamp, legend, files = (
        replace(ORIGIN, year=2024),
        [LabelClass(3, "wood", "#004400"), LabelClass(7, "moor", "#885500")],
        [],
    )
    for number, (x, y) in enumerate(((500_000, 100_000), (580_000, 20_000))):
        grid = Grid("EPSG:32631", Affine(10, 0, x, 0, -10, y), (300, 300))
        classes = np.where(np.indices(grid.shape).sum(0) // 7 % 2, 3, 7).astype(np.uint8)
        files.append((write_class_map(tmp_path / f"t{number}.tif", classes, None, grid, legend, stamp), grid))
    whole = write_one_cog(tmp_path / "whole.tif", files, "MODE", "these")
    with rasterio.open(whole) as file:
        assert file.shape == (8300, 8300)
        assert file.overviews(1)[:2] == [2, 4]
        with rasterio.open(whole, overview_level=1) as small:
            assert set(np.unique(small.read(1))) == {0, 3, 7}
    assert whole.stat().st_size < 4 * sum(file.stat().st_size for file, _ in files)


def test_processes_end_in_the_same_bytes_and_a_bad_tile_is_named(
    country: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (country / "E" / "t4" / "scales.npy").write_bytes(b"no array")
    code, found = run(capsys, country, "one")
    assert code == 3
    assert [one["what"] for one in found["failed"]] == ["t4"]
    assert found["tiles"] == 5
    head = country / "one" / "head.safetensors"
    many = map_tiles(country / "E", head, country / "many", confidence=True, workers=2)
    assert (many.made, [one.what for one in many.failed]) == (5, ["t4"])
    one = {name: data for name, data in contents(country / "one").items() if not name.startswith("head")}
    assert contents(country / "many") == one


@pytest.mark.soak
def test_workers_of_a_scheduler_end_in_the_same_bytes(
    country: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capsys, country, "one")
    # Paths are relative to where the command runs, which is not where the workers do.
    monkeypatch.chdir(country)
    words = (
        "map",
        "E",
        "--labels",
        "labels.geojson",
        "--tiles",
        "many",
        "--scheduler",
        "local",
        "--workers",
        "2",
        "--json",
    )
    assert main(list(words)) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 6
    assert contents(country / "many") == contents(country / "one")


def test_what_does_not_go_together_is_refused(country: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(capsys, country, "m", "--neighbourhood", "3")
    assert (code, "rims of the tiles" in found["error"]["message"]) == (2, True)
    code, _ = run(capsys, country, "m2", "--confidence", str(country / "c.tif"))
    assert code == 2
    run(capsys, country, "one")
    other = replace(ORIGIN, year=2023)
    raster = stripes("EPSG:32631", 0, 0, 0)
    replace(raster, provenance=other).save(country / "E" / "t9")
    with pytest.raises(InputError, match="several years"):
        map_tiles(country / "E", country / "one" / "head.safetensors", country / "years")


def test_however_many_tiles_there_are_few_files_are_open(country: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, country, "one")
    for number in range(40):
        stripes("EPSG:32733", 300_000 + 100 * number, 9_000_000, number).save(country / "many" / f"t{number}")
    opened: list[int] = []

    def count(*_: object) -> None:
        opened.append(len(os.listdir("/proc/self/fd")))

    count()
    map_tiles(country / "many", country / "one" / "head.safetensors", country / "maps", progress=count)
    assert max(opened) - opened[0] < 10
