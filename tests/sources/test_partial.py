"""One bad tile of many is named and left out, the rest is done; links are followed and lead nowhere twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from tessera_core._utils.folders import folders_below
from tessera_core.cli import main
from tessera_core.dpixels.tile import DPixelTile, find_tiles, write_tile
from tessera_core.errors import InputError, TileError
from tessera_core.grid import Grid
from tessera_core.project import generate
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local.open import find_years, left_out, open_embeddings

V2 = Provenance("tessera", "2.0", "2B-L", dim=16, year=2023)


def _raster(folder: Path, col: int = 0, year: int = 2023) -> Path:
    rng = np.random.default_rng(col)
    grid = Grid("EPSG:32631", Affine(10, 0, 500_000 + 80 * col, 0, -10, 5_600_000), (8, 8))
    codes, scales = rng.integers(-127, 128, (8, 8, 16)).astype(np.int8), np.full((8, 8), 0.01, np.float32)
    EmbeddingRaster(codes, scales, grid, Provenance("tessera", "2.0", "2B-L", dim=16, year=year)).save(folder)
    return folder


def _dpixels(folder: Path, *, clear: bool = True) -> Path:
    rng = np.random.default_rng(1)
    bands = rng.integers(200, 3000, (12, 4, 4, 10)).astype(np.uint16)
    masks = np.full((12, 4, 4), int(clear), np.uint8)
    days = np.arange(12) * 30 + 5
    radar = {"sar_asc": rng.integers(3000, 7000, (6, 4, 4, 2)).astype(np.int16), "doys_asc": days[:6]} if clear else {}
    return write_tile(
        folder, bands=bands, masks=masks, doys=days, grid=Grid.local((4, 4)), meta={"year": 2023}, **radar
    )


def _damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _run(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main([str(word) for word in argv])
    out = capsys.readouterr()
    return code, out.out, out.err


# ------------------------------------------------------------------ one bad of many


@pytest.mark.parametrize("damage", ["codes", "header", "year"])
def test_a_damaged_tile_of_many_is_named_and_the_others_are_opened(tmp_path: Path, damage: str) -> None:
    for number in range(3):
        _raster(tmp_path / f"t{number}", number)
    if damage == "codes":
        _damage(tmp_path / "t1" / "codes.npy")
    else:
        text = (tmp_path / "t1" / "raster.json").read_text(encoding="utf-8")
        spoilt = text[: len(text) // 2] if damage == "header" else text.replace('"transform"', '"transfrom"')
        (tmp_path / "t1" / "raster.json").write_text(spoilt, encoding="utf-8")
    assert find_years(tmp_path) == [2023]
    raster = open_embeddings(tmp_path)
    assert raster.shape == (8, 24)
    assert int(raster.valid().sum()) == 128
    (failure,) = left_out(raster)
    assert failure["what"] == "t1"
    assert failure["why"].endswith(".")
    assert [text for text in raster.provenance.details["warnings"] if text == f"Left out: {failure['why']}"]
    # Where none is left, or it was asked for alone, it is an error.
    with pytest.raises(InputError):
        open_embeddings(tmp_path / "t1")


def test_commands_name_it_and_do_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        _raster(tmp_path / "in" / f"t{number}", number)
    _damage(tmp_path / "in" / "t2" / "scales.npy")
    rows = [f"{500_005 + 20 * n},{5_599_995 - 10 * (n % 4)},{'ab'[n % 2]}" for n in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join(["x,y,class", *rows]) + "\n", encoding="utf-8")
    out = tmp_path / "map.tif"
    command = ["map", tmp_path / "in", "--labels", tmp_path / "labels.csv", "--out", out]
    code, text, _ = _run(capsys, *command)
    assert code == 3
    assert "Left out, t2: " in text
    code, text, _ = _run(capsys, *command, "--json")
    assert code == 3
    assert [failure["what"] for failure in json.loads(text)["failed"]] == ["t2"]
    code, text, _ = _run(capsys, "info", tmp_path / "in", "--json")
    assert code == 3
    told = json.loads(text)
    assert len(told["items"]) == 2
    assert ["t2" in failure["what"] for failure in told["failed"]] == [True]


def test_generate_embeds_the_good_tiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        _dpixels(tmp_path / "in" / name, clear=name != "c")
    _damage(tmp_path / "in" / "b" / "bands.npy")
    command = ["generate", tmp_path / "in", "--weights", "studio-nano", "--out", tmp_path / "out"]
    code, text, _ = _run(capsys, *command, "--json")
    told = json.loads(text)
    assert code == 3
    assert [tile["tile"] for tile in told["tiles"]] == ["a"]
    assert [failure["what"] for failure in told["failed"]] == ["b", "c"]
    assert "not one valid observation" in told["failed"][1]["why"]
    assert (tmp_path / "out" / "a.npy").is_file()
    _, text, _ = _run(capsys, *command)
    assert "Left out, b: " in text
    assert "Left out, c: " in text
    # With none left it is an error.
    code, _, said = _run(capsys, *["generate", tmp_path / "in" / "b", *command[2:]])
    assert code == 2
    assert "bands.npy" in said
    # The page names them before the run.
    tiles = generate.open_tiles(tmp_path / "in")
    assert ([tile.name for tile in tiles.tiles], [failure.what for failure in tiles.damaged]) == (["a", "c"], ["b"])
    with pytest.raises(TileError):
        generate.open_tiles(tmp_path / "in" / "b")


# ------------------------------------------------------------------ links


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder of links: to a tile, to a folder of tiles, to a tile twice, back to itself, and to nothing."""
    for number in range(2):
        _raster(tmp_path / "store" / f"t{number}", number)
        _dpixels(tmp_path / "store" / f"d{number}")
    work = tmp_path / "work"
    work.mkdir()
    try:
        (work / "all").symlink_to(tmp_path / "store", target_is_directory=True)
        (work / "again").symlink_to(tmp_path / "store" / "t0", target_is_directory=True)
        (work / "loop").symlink_to(work, target_is_directory=True)
        (tmp_path / "store" / "up").symlink_to(work, target_is_directory=True)
        (work / "gone").symlink_to(tmp_path / "nothing", target_is_directory=True)
    except OSError as error:
        pytest.skip(f"links cannot be made here: {error}")
    return work


def test_linked_folders_are_found_once(linked: Path) -> None:
    assert sorted(tile.resolve().name for tile in find_tiles(linked)) == ["d0", "d1"]
    assert open_embeddings(linked).shape == (8, 16)
    problems: list[str] = []
    seen = [folder.resolve() for folder in folders_below(linked, problems)]
    assert len(seen) == len(set(seen))
    assert problems == []


def test_a_linked_tile_is_opened_by_its_link(linked: Path) -> None:
    link = linked / "one"
    link.symlink_to(linked.parent / "store" / "d0", target_is_directory=True)
    assert find_tiles(link) == [link]
    assert DPixelTile.open(link).shape == (4, 4)
    assert open_embeddings(linked / "again").shape == (8, 8)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    _raster(tmp_path / "in" / "t0")
    (tmp_path / "in" / "secret").mkdir(mode=0o000)
    (failure,) = left_out(open_embeddings(tmp_path / "in"))
    assert "secret cannot be read" in failure["why"]
