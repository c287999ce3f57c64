"""Packs: a project made on one computer opens on another without its files or a network, and nothing damaged is believed."""

from __future__ import annotations

import io
import json
import shutil
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tessera_core.cli import main
from tessera_core.dpixels.tile import DPixelTile
from tessera_core.errors import Cancelled, ExportError, InputError, ProjectError
from tessera_core.grid import Grid
from tessera_core.project import pack
from tessera_core.project.project import Project
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster, NoData
from tessera_core.render.canvas import photograph
from tessera_core.sources.local.open import open_embeddings
from tests.factories import make_grid

GRID = make_grid((40, 50))


def raster(year: int) -> EmbeddingRaster:
    rng = np.random.default_rng(year)
    codes = rng.integers(-127, 128, (40, 50, 16)).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, (40, 50)).astype(np.float32)
    scales[:3] = np.nan
    codes[:3] = 0
    reasons = np.where(np.isfinite(scales), NoData.VALID, NoData.WATER).astype(np.uint8)
    return EmbeddingRaster(codes, scales, GRID, Provenance("tessera", "2.0", "2B-L", dim=16, year=year), reasons)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "here"))
    made = Project.new("Wicken fen", opacity=0.4, region={"kind": "box", "name": "Wicken"})
    for year, folder in ((2023, tmp_path / "elsewhere"), (2024, made.folder / "data" / "2024")):
        one = raster(year)
        photo = pack._png(np.full((40, 50, 3), 90, np.uint8)) if year == 2023 else None
        made.attach_embeddings(
            year, one.save(folder, pictures={} if photo is None else {"truecolour": photo}), one.provenance, one.grid
        )
    wood = made.log.add_class("Wood")
    made.log.add("point", wood.id, [(500_105, 5_599_795)])
    (made.folder / "validation-2023.json").write_text('{"sample": [1, 2]}')
    return made


def no_network(*_: object) -> None:
    raise AssertionError("the network was used")


def test_a_pack_opens_elsewhere_when_all_else_is_gone(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[int, int, str]] = []
    made = pack.make_pack([project], tmp_path / "workshop", progress=lambda *step: steps.append(step))
    assert made.name == "workshop.tesserapack"
    assert steps[-1][0] == steps[-1][1]
    (entry,) = pack.look_into(made)
    assert (entry.name, entry.years, entry.labels) == ("Wicken fen", (2023, 2024), 1)
    carried = tmp_path / "stick" / made.name
    carried.parent.mkdir()
    shutil.move(made, carried)
    shutil.rmtree(tmp_path / "here")
    shutil.rmtree(tmp_path / "elsewhere")
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "there"))
    monkeypatch.setattr(socket.socket, "connect", no_network)
    (again,) = pack.open_pack(carried)
    shutil.rmtree(carried.parent)
    assert (again.origin, again.name, again.region["name"]) == (project.id, "Wicken fen", "Wicken")
    assert again.settings.to_json() == {"opacity": 0.4}
    assert [label.xy for label in again.log.labels] == [label.xy for label in project.log.labels]
    assert json.loads((again.folder / "validation-2023.json").read_text()) == {"sample": [1, 2]}
    for year in (2023, 2024):
        path = again.embeddings_path(year)
        # People look at a photograph where there was one, not at embeddings as colours.
        photo = photograph(path, None, (40, 50))
        assert (photo is not None) == (year == 2023)
        assert photo is None or (photo == 90).all()
        assert path.is_relative_to(tmp_path / "there")
        got, right = open_embeddings(path), raster(year)
        np.testing.assert_array_equal(got.codes, right.codes)
        np.testing.assert_array_equal(got.scales, right.scales)
        np.testing.assert_array_equal(got.reasons, right.reasons)
        assert got.provenance.dataset == right.provenance.dataset
        assert isinstance(got.codes, np.memmap)
        picture = np.asarray(Image.open(again.folder / "pictures" / f"{year}.png"))
        assert picture.shape == (40, 50, 4)
        if photo is None:
            assert not picture[:3, :, 3].any()
            assert picture[3:, :, :3].std() > 10
        else:
            assert (picture[..., :3] == 90).all()
        place = [float(line) for line in (again.folder / "pictures" / f"{year}.pgw").read_text().split()]
        assert place == [10, 0, 0, -10, 500_005, 5_599_995]


def test_two_projects_in_one_pack_and_a_name_that_is_taken(project: Project, tmp_path: Path) -> None:
    other = Project.new("Without data")
    made = pack.make_pack([project, other], tmp_path / "two.tesserapack")
    first, second = pack.open_pack(made)
    assert first.folder != project.folder
    assert (first.name, second.name, second.years) == ("Wicken fen", "Without data", [])
    third, _ = pack.open_pack(made, into=tmp_path / "mine")
    assert third.folder.parent == tmp_path / "mine"
    fourth, _ = pack.open_pack(made, into=tmp_path / "mine")
    assert len({each.key for each in (project, first, third, fourth)}) == 4
    assert {each.origin for each in (project, first, third, fourth)} == {project.id}


def test_the_command_line_packs_and_describes(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(project.folder), "--to", "pack", "--out", str(tmp_path / "x"), "--json"]) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert main(["info", file]) == 0
    told = capsys.readouterr().out
    assert "Wicken fen: tessera 2.0/2B-L (16-d), years 2023, 2024, 1 labels" in told


def test_time_series_travel_when_asked_for(
    project: Project, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tile = shared / "data" / "treesatai-stand"
    tile = next(path.parent for path in tile.rglob("bands.npy"))
    one = EmbeddingRaster(
        np.ones((6, 6, 4), np.int8), np.ones((6, 6), np.float32), Grid.local((6, 6)), Provenance(dim=4)
    )
    made = Project.new("Stand")
    made.attach_embeddings(2020, one.save(tmp_path / "stand"), one.provenance, one.grid, dpixels=tile)
    (light,) = pack.open_pack(pack.make_pack([made], tmp_path / "light"))
    assert light.embeddings[2020].dpixels is None
    full = pack.make_pack([made], tmp_path / "full", timeseries=True)
    assert full.stat().st_size > (tmp_path / "light.tesserapack").stat().st_size
    (again,) = pack.open_pack(full)
    got = again.embeddings[2020].dpixels
    assert got is not None
    assert got.is_relative_to(again.folder)
    np.testing.assert_array_equal(DPixelTile.open(got).bands, DPixelTile.open(tile).bands)
    # With the time series at hand the picture is the true colour, which is opaque.
    assert (np.asarray(Image.open(light.folder / "pictures" / "2020.png"))[..., 3] == 255).all()


def test_an_upload_opens(project: Project, tmp_path: Path) -> None:
    made = pack.make_pack([project], tmp_path / "x")
    (again,) = pack.upload(io.BytesIO(made.read_bytes()))
    assert again.years == [2023, 2024]


def test_what_is_damaged_is_refused_and_leaves_nothing(project: Project, tmp_path: Path) -> None:
    made = pack.make_pack([project], tmp_path / "x")
    data = bytearray(made.read_bytes())
    at = data.index(np.asarray(raster(2023).codes[20]).tobytes()[:64])
    data[at] ^= 1
    made.write_bytes(data)
    with pytest.raises(ProjectError, match="damaged"):
        pack.open_pack(made, into=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []
    made.write_bytes(data[: len(data) // 2])
    with pytest.raises(ProjectError, match="not a readable pack"):
        pack.open_pack(made)
    with pytest.raises(ProjectError, match="There is no file"):
        pack.open_pack(tmp_path / "nothing.tesserapack")


def rewritten(made: Path, change: dict[str, object]) -> Path:
    """The pack with another manifest."""
    with zipfile.ZipFile(made) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    facts = json.loads(members[pack.MANIFEST]) | change
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, json.dumps(facts) if name == pack.MANIFEST else data)
    return made


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "tessera-pack/9"}, "newer version"),
        ({"format": "other"}, "not a pack"),
        ({"files": {"../evil": {"bytes": 1, "sha256": "0" * 64}}}, "tampered"),
        ({"files": {"projects/C:/evil": {"bytes": 1, "sha256": "0" * 64}}}, "tampered"),
        ({"files": []}, "not a pack"),
        ({"projects": [{"folder": "projects/7"}]}, "list of projects"),
    ],
)
def test_manifests_that_lie_are_refused(
    project: Project, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    made = rewritten(pack.make_pack([project], tmp_path / "x"), change)
    with pytest.raises(ProjectError, match=words):
        pack.open_pack(made, into=tmp_path / "mine")
    assert not (tmp_path / "evil").exists()


def test_a_zip_of_something_else_is_no_pack(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.tesserapack", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ProjectError, match="not a pack of this program"):
        pack.look_into(tmp_path / "x.tesserapack")


def test_cancelling_leaves_nothing(project: Project, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        pack.make_pack([project], tmp_path / "out" / "x", cancelled=lambda: True)
    assert list((tmp_path / "out").iterdir()) == []
    made = pack.make_pack([project], tmp_path / "out" / "x")
    with pytest.raises(Cancelled):
        pack.open_pack(made, into=tmp_path / "mine", cancelled=lambda: True)
    assert list((tmp_path / "mine").iterdir()) == []


def test_no_room_and_nothing_to_pack_are_told(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="at least one"):
        pack.make_pack([], tmp_path / "x")
    made = pack.make_pack([project], tmp_path / "x")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(pack.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ExportError, match="GB are free"):
        pack.open_pack(made)
    shutil.rmtree(tmp_path / "elsewhere")
    with pytest.raises(ProjectError, match="no longer at"):
        pack.make_pack([project], tmp_path / "y")
