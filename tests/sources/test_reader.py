"""A format that a stranger adds: this file is all of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tessera_core.cli import main
from tessera_core.errors import RasterError
from tessera_core.grid import Grid
from tessera_core.provenance import Provenance
from tessera_core.raster import EmbeddingRaster
from tessera_core.sources.local import open as opening
from tessera_core.sources.local import reader as readers
from tessera_core.sources.local.open import find_pieces, find_years, left_out, open_embeddings
from tessera_core.sources.local.reader import Description, Reader

# ------------------------------------------------------------- the stranger's format: NumPy's archives of several arrays


@dataclass(frozen=True)
class ArchivePiece:
    path: Path

    @property
    def name(self):
        return self.path.stem

    @property
    def source(self):
        return self.path

    @property
    def year(self):
        return self.describe().provenance.year

    def describe(self):
        with np.load(self.path) as file:
            facts = json.loads(str(file["facts"]))
        return Description(Grid.from_json(facts["grid"]), Provenance.from_json(facts["provenance"]), what="An archive")

    def open(self, *, progress=None, cancelled=None):
        described = self.describe()
        with np.load(self.path) as file:
            return EmbeddingRaster(file["codes"], file["scales"], described.grid, described.provenance)


class ArchiveReader(Reader):
    wanted = "an archive of NumPy arrays (.npz)"
    suffixes = (".npz",)

    def find(self, path, problems):
        try:
            with np.load(path) as file:
                names = file.files
        except ValueError as error:
            raise RasterError(f"{path.name} is damaged.") from error
        return [ArchivePiece(path)] if "codes" in names else []


# ------------------------------------------------------------------------------------------------------------- its tests


def write(path, year=2023, col=0, seed=0):
    rng = np.random.default_rng(seed)
    grid = _grid(col)
    stamp = Provenance("tessera", "2.0", "2B-L", year=year, dim=16)
    codes = rng.integers(-127, 128, (6, 8, 16)).astype(np.int8)
    facts = json.dumps({"grid": grid.to_json(), "provenance": stamp.to_json()})
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, codes=codes, scales=np.full((6, 8), 0.01, np.float32), facts=facts)
    return codes


def _grid(col):
    from affine import Affine

    return Grid("EPSG:32631", Affine(10, 0, 500_000 + 10 * col, 0, -10, 5_600_000), (6, 8))


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setattr(readers, "_registered", [])
    readers.register(ArchiveReader())


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))


def test_a_format_that_nobody_added_is_unknown(tmp_path):
    write(tmp_path / "in" / "a.npz")
    with pytest.raises(RasterError, match="Nothing in") as error:
        open_embeddings(tmp_path / "in")
    assert "npz" not in str(error.value)


def test_an_added_format_is_opened_by_file_and_by_folder_and_told_of_where_nothing_is_found(added, tmp_path):
    codes = write(tmp_path / "in" / "a.npz")
    for path in (tmp_path / "in", tmp_path / "in" / "a.npz"):
        np.testing.assert_array_equal(open_embeddings(path).codes, codes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RasterError, match=r"an archive of NumPy arrays \(\.npz\), a saved raster"):
        open_embeddings(tmp_path / "empty")


def test_its_years_are_known_and_its_tiles_become_one_raster(added, tmp_path):
    first, second = write(tmp_path / "2023" / "a.npz"), write(tmp_path / "2023" / "b.npz", col=8, seed=1)
    write(tmp_path / "2024" / "a.npz", year=2024)
    assert find_years(tmp_path) == [2023, 2024]
    raster = open_embeddings(tmp_path, year=2023)
    np.testing.assert_array_equal(raster.codes, np.concatenate([first, second], axis=1))


def test_a_damaged_one_of_many_is_left_out_and_named(added, tmp_path):
    write(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"no archive")
    assert left_out(open_embeddings(tmp_path)) == [{"what": "b.npz", "why": "b.npz is damaged."}]


def test_the_command_info_knows_it(added, tmp_path, capsys):
    write(tmp_path / "a.npz")
    assert main(["info", str(tmp_path / "a.npz"), str(tmp_path)]) == 0
    assert "An archive of 6 x 8 pixels in 16 dimensions, tessera 2.0/2B-L (16-d), 2023" in capsys.readouterr().out


def test_an_installed_package_adds_one_by_its_entry_point(tmp_path, monkeypatch, caplog):
    package = tmp_path / "site"
    about = package / "npz_reader-1.0.dist-info"
    about.mkdir(parents=True)
    (package / "npz_reader.py").write_text("from tests.sources.test_reader import ArchiveReader\n")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: npz-reader\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[tessera_core.readers]\nnpz = npz_reader:ArchiveReader\nbroken = npz_reader:Nothing\n"
    )
    monkeypatch.syspath_prepend(package)
    readers._installed.cache_clear()
    try:
        codes = write(tmp_path / "a.npz")
        np.testing.assert_array_equal(open_embeddings(tmp_path / "a.npz").codes, codes)
        assert "broken" in caplog.text
    finally:
        monkeypatch.undo()
        readers._installed.cache_clear()


@pytest.mark.parametrize("reader", opening.readers(), ids=lambda reader: type(reader).__name__)
def test_every_reader_says_what_it_looks_for_and_claims_nothing_of_another(reader, tmp_path):
    assert reader.wanted
    (tmp_path / "notes.txt").write_text("nothing")
    assert not reader.claims(tmp_path / "notes.txt")
    assert not reader.claims(tmp_path / "absent")
    assert reader.resolve(tmp_path / "notes.txt") == tmp_path / "notes.txt"


def test_pieces_are_described_by_their_headers_alone(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(6, 8, 16)))
    ((piece,), problems) = find_pieces(tmp_path)
    described = piece.describe()
    assert (described.grid.shape, described.provenance.dim, described.mapped) == ((6, 8), 16, False)
    assert not problems
    assert not (tmp_path / "home").exists()


def test_published_npy_tiles_are_read_and_said_once_to_be_given_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tessera_core.cli import main
    from tessera_core.project import library
    from tessera_core.sources.local.npy import DEPRECATED

    for name in ("grid_0.15_52.05", "grid_0.25_52.05"):
        folder = tmp_path / "2024" / name
        folder.mkdir(parents=True)
        np.save(folder / f"{name}.npy", np.ones((4, 5, 128), np.int8))
        np.save(folder / f"{name}_scales.npy", np.ones((4, 5), np.float32))
    assert main(["info", str(tmp_path / "2024")]) == 0
    assert capsys.readouterr().out.count(DEPRECATED) == 1
    assert library.identify(str(tmp_path / "2024" / "grid_0.15_52.05")).npy_tiles
