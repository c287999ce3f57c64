"""Labelled pixels of many tiles: read at once, in shares or by processes, and scored alike; what cannot be read is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tessera_core._utils.share import Share
from tessera_core.assess.reference import read_reference
from tessera_core.cli import main
from tessera_core.errors import InputError
from tessera_core.project import tile_pixels
from tessera_core.project.tile_maps import pieces_of
from tessera_core.project.tile_pixels import PixelParts, read_pixels
from tessera_core.project.tile_training import TileLabels, labels_on_tiles
from tests.project.countries import ORIGIN, make_country, stripes


@pytest.fixture
def country(tmp_path: Path) -> Path:
    """Tiles and labels of :func:`make_country`."""
    return make_country(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def found(folder: Path) -> TileLabels:
    pieces, _ = pieces_of(folder / "E")
    return labels_on_tiles(pieces, lambda grid: read_reference(folder / "labels.geojson", grid, of_several=True))


def said(capsys: pytest.CaptureFixture[str], folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    words = ["evaluate", str(folder / "E"), "--labels", str(folder / "labels.geojson"), "--tiles", "--json", *more]
    code = main(words)
    return code, json.loads(capsys.readouterr().out)


def test_the_head_of_all_zones_is_scored_in_shares_as_at_once(
    country: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(country / "E"), "--labels", str(country / "labels.geojson"), "--json"]
    assert main(words) == 2
    capsys.readouterr()
    code, whole = said(capsys, country)
    assert (code, whole["n_test"], whole["dataset"], whole["failed"]) == (0, 24, ORIGIN.dataset, [])
    assert whole["accuracy"] > 0.9
    parts = ("--parts", str(country / "parts"))
    code, planned = said(capsys, country, *parts, "--dry-run")
    assert (code, planned["plan"]["tiles"], planned["plan"]["done"], planned["plan"]["pixels"]) == (0, 4, 0, 24)
    code, first = said(capsys, country, *parts, "--share", "2/2")
    assert (code, first["read"], first["waiting"]) == (0, 2, ["t0", "t5"])
    assert said(capsys, country, *parts, "--dry-run")[1]["plan"]["done"] == 2
    code, second = said(capsys, country, *parts, "--share", "1/2")
    assert (code, second) == (0, whole)
    assert json.loads((country / "parts" / "score.json").read_text()) == whole
    # Another head is scored without the tiles' pixels being read again.
    before = {path: path.stat().st_mtime_ns for path in (country / "parts" / "pixels").iterdir()}
    shutil.rmtree(country / "E" / "t1")
    code, other = said(capsys, country, *parts, "--head", "ridge")
    assert (code, other["head"]) == (0, "ridge")
    assert before == {path: path.stat().st_mtime_ns for path in (country / "parts" / "pixels").iterdir()}


def test_a_tile_that_cannot_be_read_is_named_and_the_rest_is_scored(
    country: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = found(country)
    codes = country / "E" / "t2" / "codes.npy"
    codes.write_bytes(codes.read_bytes()[:-9])
    # Found before it was damaged: what is wrong shows when its pixels are wanted.
    parts = PixelParts(country / "parts", labels.wanted)
    assert parts.read(Share(1, 2)) == ["t2", "t3"]
    assert (parts.read(Share(2, 2)), [one.what for one in parts.failed()]) == ([], ["t2"])
    reference, pixels, failed = labels.pixels()
    again, others, same = labels.pixels(parts.of)
    assert failed == same == parts.failed()
    assert "cut short" in failed[0].why
    assert "6 labelled pixels lie on it" in failed[0].why
    vectors = pixels.sample(reference.rows, reference.cols)
    assert int(np.isfinite(vectors).all(1).sum()) == 18
    assert np.array_equal(vectors, others.sample(again.rows, again.cols), equal_nan=True)
    code, whole = said(capsys, country)
    assert (code, [one["what"] for one in whole["failed"]], whole["n_test"]) == (3, ["t2"], 18)


def test_labels_of_one_class_alone_in_a_zone_count(country: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = json.loads((country / "labels.geojson").read_text())
    # Of the last tile, which is in a zone of its own, wheat is left.
    labels["features"] = labels["features"][:-4]
    (country / "labels.geojson").write_text(json.dumps(labels))
    assert said(capsys, country)[1]["n_test"] == 20


def test_processes_read_what_one_reads_and_other_labels_are_refused(country: Path) -> None:
    labels = found(country)
    one, two = PixelParts(country / "one", labels.wanted), PixelParts(country / "two", labels.wanted)
    assert one.read() == two.read(workers=2, executor=ThreadPoolExecutor) == []
    assert contents(country / "one" / "pixels") == contents(country / "two" / "pixels")
    expected, pixels, _ = labels.pixels()
    again, others, failed = labels.pixels(two.of)
    assert failed == []
    assert np.array_equal(
        pixels.sample(expected.rows, expected.cols), others.sample(again.rows, again.cols), equal_nan=True
    )
    with pytest.raises(InputError, match="other labels or other tiles"):
        PixelParts(country / "one", labels.wanted[1:])


def test_a_tile_that_changed_is_read_again(country: Path) -> None:
    labels = found(country)
    parts = PixelParts(country / "parts", labels.wanted)
    parts.read(Share(1, 2))
    raster = stripes("EPSG:32631", 500_000, 100_000, 99)
    shutil.rmtree(country / "E" / "t0")
    raster.save(country / "E" / "t0")
    assert not parts.known(labels.wanted[0])
    parts.read()
    assert np.array_equal(parts.of(labels.wanted[0]).codes, read_pixels(labels.wanted[0]).codes)


def test_machines_with_copies_of_their_own_meet_and_a_copy_that_holds_other_values_is_named(
    country: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = said(capsys, country)[1]
    other = country / "elsewhere"
    shutil.copytree(country / "E", other / "E")
    shutil.copy(country / "labels.geojson", other)
    for number, file in enumerate(sorted((other / "E").rglob("codes.npy"))):
        os.utime(file, (1_000_000_000 + number,) * 2)
    parts = ("--parts", str(country / "parts"))
    first, second = said(capsys, country, *parts, "--share", "1/2")[1], said(capsys, other, *parts, "--share", "2/2")[1]
    assert (first["waiting"], first["differing"]) == (["t2", "t3"], [])
    assert {**second, "labels": whole["labels"]} == whole
    # Each has read its own, and does not read them again.
    before = contents(country / "parts" / "pixels")
    assert said(capsys, country, *parts, "--share", "1/2")[1] == whole
    assert contents(country / "parts" / "pixels") == before
    codes = country / "E" / "t3" / "codes.npy"
    codes.write_bytes(codes.read_bytes()[:-1000] + bytes(1000))
    again = said(capsys, country, *parts, "--share", "1/2")[1]
    assert (again["waiting"], again["differing"]) == (["t3"], ["t3"])
    words = ["evaluate", str(country / "E"), "--labels", str(country / "labels.geojson"), "--tiles", *parts]
    assert main([*words, "--share", "1/2"]) == 0
    assert "t3 was read from another copy of the tile" in capsys.readouterr().out
    # Without shares it is read here.
    assert "waiting" not in said(capsys, country, *parts)[1]


@pytest.mark.soak
def test_workers_of_a_scheduler_score_as_one_process_also_when_one_is_killed(
    country: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = said(capsys, country)[1]
    monkeypatch.chdir(country)
    words = ["evaluate", "E", "--labels", "labels.geojson", "--tiles", "--json"]
    assert main([*words, "--scheduler", "local", "--workers", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {**found, "labels": whole["labels"]} == whole
    monkeypatch.setattr(tile_pixels, "_read_share", killed_once)
    monkeypatch.setenv("TESSERA_TEST_KILL", str(country / "killed"))
    for more in (["--workers", "2"], ["--scheduler", "local", "--workers", "2"]):
        (country / "killed").unlink(missing_ok=True)
        assert main([*words, *more]) == 0
        assert (country / "killed").exists()
        found = json.loads(capsys.readouterr().out)
        assert {**found, "labels": whole["labels"]} == whole


def killed_once(*args: Any, **more: Any) -> None:
    """Read a share, but the first process that comes here is killed."""
    try:
        Path(os.environ["TESSERA_TEST_KILL"]).touch(exist_ok=False)
    except FileExistsError:
        read_share(*args, **more)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


read_share = tile_pixels._read_share


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--share", "1/2"], "add --parts DIR"),
        (["--scheduler", "tcp://head:8786"], "add --parts DIR"),
        (["--workers", "0"], "at least 1"),
    ],
)
def test_what_does_not_go_together_is_refused(
    country: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    code, answer = said(capsys, country, *words)
    assert (code, message in answer["error"]["message"]) == (2, True)
